"""Whether somebody whom the administrator trusts vouches for a package, before it is used.

A site has hundreds of GB of packages: a signature is checked when its package is wanted, and what
came of that is remembered with the file's row. A vmlinux that is installed on this machine is not
checked: its package manager has done so.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from cas.catalogue.packages.deb import MAGIC as DEB_MAGIC
from cas.catalogue.trust import deb as trust_deb
from cas.catalogue.trust import keys as trust_keys
from cas.catalogue.trust import rpm as trust_rpm
from cas.catalogue.trust.keys import Desk, Unable
from cas.catalogue.trust.signature_state import Verdict
from cas.database.records import FileStamp
from cas.database.store import Store
from cas.errors import DatabaseDamaged, PackageNotTrusted, TryAgain, plain_reason
from cas.files.patient_calls import answering
from cas.settings.rules import PackageRules, Supervision
from cas.supervise import Confinement, scratch
from cas.text import one_line

__all__ = ["UNSIGNED", "Verdict", "check_signature", "doubt"]

UNSIGNED = Verdict(ok=False, text="is a plain file, for which no signature vouches")
_ELF_MAGIC = b"\x7fELF"
_MEMORY_BYTES = 1 << 30
_CPU_S = 600.0
"""For digests of some GB."""


def check_signature(path: Path, rules: PackageRules) -> Verdict:
    """Whether a file is signed with one of the keys in ``rules.keys``, directly or by its archive.

    Never longer than about a minute and the time that the file can take to be read. What keeps the
    check from being made is a verdict too, which does not last.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(DEB_MAGIC))
        if magic.startswith(_ELF_MAGIC):
            return UNSIGNED
        if rules.keys is None:
            raise Unable("`keys` names no directory of public keys")
        with scratch() as directory:
            limits = Supervision(
                memory_bytes=_MEMORY_BYTES, cpu_s=_CPU_S, watchdog_s=rules.timeout_s
            )
            desk = Desk(directory, Confinement(directory, limits), rules.timeout_s)
            keys = trust_keys.read_keys(rules.keys, desk)
            check = trust_deb.check_deb if magic == DEB_MAGIC else trust_rpm.check_rpm
            return check(path.absolute(), keys, desk)
    except Unable as error:
        return _unchecked_verdict(str(error))
    except OSError as error:
        return _unchecked_verdict(plain_reason(error))


def doubt(path: Path, rules: PackageRules, store: Store) -> str | None:
    """The remark on a package that nobody vouches for; ``None``: somebody does, or need not.

    :raises PackageNotTrusted: nobody does, and ``rules`` demand it
    """
    if rules.signatures == "ignore":
        return None
    verdict = _verdict_on(path, rules, store)
    if verdict.ok:
        return None
    if rules.signatures == "require":
        raise not_trusted(str(path), verdict, rules)
    return one_line(f"{path} {verdict.text}")


def _unchecked_verdict(why: str) -> Verdict:
    return Verdict(ok=False, text=f"cannot be checked: {why}", is_lasting=False)


def not_trusted(what: str, verdict: Verdict, rules: PackageRules) -> PackageNotTrusted:
    """The error for something that ``signatures = require`` keeps from being used."""
    hint = (
        "get the package from its distribution"
        if verdict.is_lasting
        else "remove what keeps the check from being made, then run the same command again"
    )
    if verdict.is_lasting and rules.keys:
        hint = f"if its signer can be trusted, put the public key into {rules.keys}; else {hint}"
    return PackageNotTrusted(
        one_line(f"{what} {verdict.text}, and `signatures = require`"), hint=hint
    )


def _verdict_on(path: Path, rules: PackageRules, store: Store) -> Verdict:
    try:
        stamp = FileStamp.of(answering(path, rules.timeout_s))
        keys_stamp = trust_keys.keys_stamp(rules.keys) if rules.keys else ""
    except OSError as error:
        return _unchecked_verdict(plain_reason(error))
    except Unable as error:
        return _unchecked_verdict(str(error))
    try:
        remembered = store.packages.trust_of(path, stamp)
    except (DatabaseDamaged, TryAgain):  # which costs only the time of another check
        remembered = None
    verdict = Verdict.recalled(remembered, keys_stamp)
    if verdict is None:
        verdict = check_signature(path, rules)
        if verdict.is_lasting and verdict != UNSIGNED:
            # the next run checks once more
            with suppress(DatabaseDamaged, TryAgain):
                store.packages.set_trust(path, stamp, verdict.remembered(keys_stamp))
    return verdict
