"""Whether a DEB carries a signature of its own, or its archive vouches for it.

Source: debsig-verify(1) and dpkg's ``policy-syntax.txt``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from cas.catalogue.trust import release as trust_release
from cas.catalogue.trust.keys import Desk, Keys, named_plainly, ring
from cas.catalogue.trust.signature_state import Verdict, by_key
from cas.streams import ar
from cas.streams.flow import Damaged

_ORIGIN = "_gpgorigin"
_ORIGIN_ID = re.compile(r"(?:policies/|directory for )([0-9A-F]{16,40})$", re.MULTILINE)
_UNKNOWN_KEY = 11
"""debsig-verify's exit status for a signature of a key that has no policy."""
_POLICY = """<?xml version="1.0"?>
<!DOCTYPE Policy SYSTEM "https://www.debian.org/debsig/1.0/policy.dtd">
<Policy xmlns="https://www.debian.org/debsig/1.0/">
<Origin Name="cas" id="{id}" Description="A key of cas.conf"/>
<Selection><Required Type="origin" File="keys.gpg" id="{id}"/></Selection>
<Verification MinOptional="0"><Required Type="origin" File="keys.gpg" id="{id}"/></Verification>
</Policy>
"""


def check_deb(path: Path, keys: Keys, desk: Desk) -> Verdict:
    """What vouches for a package: its own signature, else the archive that it lies in.

    :raises Unable: a program is not there, or did not come to an end
    :raises OSError: the package cannot be read
    """
    try:
        with path.open("rb") as file:
            members = {member.name for member in ar.members(file, path.stat().st_size)}
    except Damaged as error:
        return Verdict(ok=False, text=f"is damaged: {error.reason}")
    own = _verdict_on_own_signature(path, keys, desk) if _ORIGIN in members else None
    if own is not None and own.ok:
        return own
    archive = trust_release.check_release(path, keys, desk)
    if own is None or archive.ok:
        return archive
    return replace(own, is_lasting=False)  # the archive may come


def _verdict_on_own_signature(path: Path, keys: Keys, desk: Desk) -> Verdict:
    policies, keyrings = desk.directory / "policies", desk.directory / "keyrings"
    for key in keys.all:
        content = ring(keys, desk, key.fingerprint)
        (policies / key.identity).mkdir(parents=True)
        (policies / key.identity / "cas.pol").write_text(_POLICY.format(id=key.identity))
        (keyrings / key.identity).mkdir(parents=True)
        (keyrings / key.identity / "keys.gpg").symlink_to(content)
    places = ("--policies-dir", policies, "--keyrings-dir", keyrings)
    done = desk.run("debsig-verify", "-v", *places, named_plainly(path, desk), reads=path)
    said = f"{done.stdout.decode('utf-8', 'replace')}\n{done.stderr}"
    found = _ORIGIN_ID.search(said)
    identity = found[1] if found else "unknown"
    if done.status == 0:
        return by_key(keys, identity)
    if done.status == _UNKNOWN_KEY:
        text = f"is signed with key {identity}, which is not in {keys.directory}"
        return Verdict(ok=False, text=text)
    return Verdict(ok=False, text="was changed after it was signed, or its signature is damaged")
