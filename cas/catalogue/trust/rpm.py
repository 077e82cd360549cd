"""Whether an RPM is signed with one of the administrator's keys, by ``rpmkeys``.

Source: rpmkeys(8); rpm's ``_pkgverify_level``, which asks for a signature, not only for digests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cas.catalogue.trust.keys import SHOWN, Desk, Keys, Unable, named_plainly
from cas.catalogue.trust.signature_state import Verdict, by_key
from cas.supervise import Finished
from cas.text import short_line

_LINE = re.compile(r"\s+(?P<what>[A-Za-z][^:]*): (?P<status>[A-Z]+)\b")
_KEY = re.compile(r"key (?:ID |fingerprint: )?([0-9A-Fa-f]{8,40})\b")
_DEFINES = ("--define", "_keyring fs", "--define", "_pkgverify_level all")
"""A keyring of plain files needs no database of ours to be made."""


def check_rpm(path: Path, keys: Keys, desk: Desk) -> Verdict:
    """What rpm says of a package.

    :raises Unable: rpmkeys is not there, or did not come to an end
    """
    database = desk.directory / "rpm"
    (database / "pubkeys").mkdir(parents=True)
    ours = ("rpmkeys", *_DEFINES, "--dbpath", database)
    imported = desk.run(*ours, "--import", *keys.files.values())
    if not any((database / "pubkeys").iterdir()):
        raise Unable(f"rpm takes none of the keys: {short_line(imported.stderr.strip(), SHOWN)}")
    done = desk.run(*ours, "--checksig", "-v", named_plainly(path, desk), reads=path)
    lines = [
        found.groups()
        for line in done.stdout.decode("utf-8", "replace").splitlines()
        if (found := _LINE.match(line))
    ]
    signed = [_KEY.search(what) for what, status in lines if status == "OK"]
    identities = [found[1] for found in signed if found]
    if done.status == 0 and identities:
        return by_key(keys, identities[0])
    return Verdict(ok=False, text=_signature_flaw(lines, done, keys))


def _signature_flaw(lines: Sequence[tuple[str, ...]], done: Finished, keys: Keys) -> str:
    """What is wrong, the worst first."""
    bad = [what for what, status in lines if status == "BAD"]
    digests = [what for what in bad if "digest" in what]
    if digests:
        return short_line(f"is damaged or was changed: {', '.join(digests)} is wrong", SHOWN)
    if bad:
        return short_line(f"was changed after it was signed: {', '.join(bad)} is wrong", SHOWN)
    for what, status in lines:
        found = _KEY.search(what)
        if found and status != "OK":
            by = f"is signed with key {found[1]}, which"
            if keys.key_named(found[1]):
                return f"{by} this rpm does not accept ({status})"
            return f"{by} is not in {keys.directory}"
    if lines and done.status != 0:
        return "is not signed"
    return f"cannot be checked by rpmkeys: {short_line(done.reason, SHOWN)}"
