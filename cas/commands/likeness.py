"""Crashes of the archive that are called as another one is."""

from __future__ import annotations

from collections.abc import Mapping

from cas.archive.archive import Archive
from cas.archive.record import Info
from cas.commands.crash_listing import crashes_with
from cas.errors import UsageError
from cas.frozen import dataclass
from cas.model.archived import Comparison, Constraint, CrashLine, Selection
from cas.model.finding import SAME, SIMILAR

_FINEST_FIRST = ("full", "top 5", SAME)


@dataclass(frozen=True, slots=True)
class Alike:
    """Another crash, and how alike it is."""

    line: CrashLine
    alike: str
    """``same`` or ``similar``."""
    by: str
    """The finest granularity at which both have one signature."""


def alike_crashes(info: Info, archive: Archive) -> list[Alike]:
    """The other crashes with the same signature, then those that are similar; oldest first.

    :raises UsageError: nothing is known of it that others could have as well
    """
    own = info.facts.get("signatures") or {}
    if not own:
        raise UsageError(
            f"the crash {info.id} has no signature: nothing says what it is like",
            hint=f"what is known of it: cas info {info.id}",
        )
    same, similar = (_found(own, each, archive) for each in (SAME, SIMILAR))
    ids = {info.id, *(each.line.id for each in same)}
    same = [each for each in same if each.line.id != info.id]
    return same + [each for each in similar if each.line.id not in ids]


def _found(own: dict[str, str], granularity: str, archive: Archive) -> list[Alike]:
    key = _key(granularity)
    if key not in own:
        return []
    wanted = Constraint(f"signatures.{key}", Comparison.EQUAL, own[key])
    found = list[Alike]()
    for line, (theirs,) in crashes_with(Selection((wanted,)), ["signatures"], archive):
        by = granularity
        if granularity == SAME:
            by = next(each for each in _FINEST_FIRST if _is_equal(own, theirs, _key(each)))
        found.append(Alike(line, "same" if granularity == SAME else "similar", by))
    return found


def _is_equal(own: Mapping[str, str], theirs: Mapping[str, str], key: str) -> bool:
    return key in own and own[key] == theirs.get(key)


def _key(granularity: str) -> str:
    return granularity.replace(" ", "_")
