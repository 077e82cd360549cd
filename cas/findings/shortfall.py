"""What the snippets did not give, and whether that costs the verdict: a sentence, by kind of gap.

A command that no debugger here answers costs nothing, unless it is one of the first that anybody
looks at; memory that the dump does not have, a broken limit, and a snippet of the site's that
cannot be used as it is make a job ``partial``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import starmap

from cas.choices import Engine, SectionStatus
from cas.model import Outcome, Section
from cas.text import count, short_line

VITAL = frozenset({"traceback", "log", "ps"})
"""Snippets whose commands must be answered, whatever the kernel."""
NAMED = 5
"""Snippets with one gap, or commands, that are told by name."""
FEW = 2
"""Snippets with one gap that are told with the reason of each."""
WHY_LIMIT = 200
"""Characters of one debugger's reason."""
DEBUGGERS = frozenset({Engine.CRASH, Engine.DRGN})
_FINE = frozenset({SectionStatus.OK, SectionStatus.SKIPPED})


class Gap(Enum):
    """What a snippet lacks, and why; the graver one first."""

    BROKEN = "could not be used"
    NOT_RUN = "did not run"
    LIMIT = "broke a limit or its debugger"
    MEMORY = "wanted memory that the dump does not have"
    UNANSWERED = "got no answer from any debugger"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What is to be said of all sections."""

    reason: str | None
    """Why the verdict cannot be ``complete``, in a sentence."""
    skipped: str | None = None
    """What this kernel has nothing for."""
    unanswered: str | None = None
    """What no debugger could answer, though that costs nothing."""


def shortfall(
    sections: Sequence[Section], own: Collection[str], told: Sequence[str] = ()
) -> Shortfall:
    """Judge what the snippets gave.

    :param own: names of those that the site has written
    :param told: sentences about the job that are said before
    """
    # what is read from the dump's notes besides is nobody's snippet
    ran = [section for section in sections if section.commands or section.status not in _FINE]
    found: dict[Gap, list[Section]] = {}
    for section in ran:
        if gap := _gap(section, section.name in own):
            found.setdefault(gap, []).append(section)
    said = [
        f"{len(found[gap])} {gap.value} ({_names(found[gap], told)})" for gap in Gap if gap in found
    ]
    reason = f"of {count(len(ran), 'snippet')} {', '.join(said)}" if said else None
    return Shortfall(reason, _skipped(sections), _unanswered(sections, own))


def _gap(section: Section, is_own: bool) -> Gap | None:
    """The gravest gap for which a section counts."""
    if not section.commands:
        return None if section.status in _FINE else Gap.BROKEN
    gaps = [
        gap for outcome in section.commands if (gap := _why(outcome, is_own, section.name in VITAL))
    ]
    return min(gaps, key=list(Gap).index, default=None)


def _why(outcome: Outcome, is_own: bool, is_vital: bool) -> Gap | None:
    if outcome.status in _FINE:
        return None
    if outcome.status is SectionStatus.NOT_RUN:
        return Gap.NOT_RUN
    if outcome.status is not SectionStatus.FAILED:
        return Gap.LIMIT
    if outcome.lacks_memory:
        return Gap.MEMORY
    if is_own:
        return Gap.BROKEN
    return Gap.UNANSWERED if is_vital else None


def _names(sections: Sequence[Section], told: Sequence[str]) -> str:
    """Some names, with the reason where it is one and nobody has told it, or theirs are few."""
    more = len(sections) - NAMED
    names = ", ".join(section.name for section in sections[:NAMED])
    names = f"{names} and {more} more" if more > 0 else names
    errors = list(dict.fromkeys(section.error for section in sections if section.error))
    errors = [error for error in errors if not any(error in text for text in told)]
    if len(errors) == 1:
        return f"{names}: {short_line(errors[0], WHY_LIMIT)}"
    lost = [[each for each in one.commands if each.status not in _FINE] for one in sections]
    alike = {_without_name(outcome) for some in lost for outcome in some}
    if errors and all(lost) and len(alike) == 1 and (why := alike.pop()):
        return f"{names}: {short_line(why, WHY_LIMIT)}"
    if errors and len(sections) == FEW:
        each = (f"{one.name}: {short_line(one.error or '', WHY_LIMIT)}" for one in sections)
        return "; ".join(each)
    return names


def _skipped(sections: Sequence[Section]) -> str | None:
    names = [section.name for section in sections if section.status is SectionStatus.SKIPPED]
    return (
        f"skipped, since this kernel has nothing of the kind: {', '.join(names)}" if names else None
    )


def _unanswered(sections: Sequence[Section], own: Collection[str]) -> str | None:
    lost = [
        (section.name, outcome)
        for section in sections
        for outcome in section.commands
        if outcome.status is SectionStatus.FAILED
        and _why(outcome, section.name in own, section.name in VITAL) is None
    ]
    if not lost:
        return None
    if len(lost) <= FEW:
        return (
            f"no debugger here answers {'; '.join(f'{name}: {_told(one)}' for name, one in lost)}"
        )
    names = list(dict.fromkeys(name for name, _ in lost))
    return f"no debugger here answers {_some(names, ', ')}{_reasons([one for _, one in lost])}"


def given_up(instead: Sequence[tuple[Outcome, Engine]]) -> tuple[str, ...]:
    """What one engine could not answer and another did, a sentence for each of these.

    :param instead: how commands ended, each with the engine that did them in the end
    """
    grouped: dict[tuple[Engine, Engine], list[Outcome]] = {}
    for lost, engine in instead:
        grouped.setdefault((lost.engine, engine), []).append(lost)
    return tuple(starmap(_given_up, grouped.items()))


def _given_up(engines: tuple[Engine, Engine], lost: Sequence[Outcome]) -> str:
    first, second = engines
    if second not in DEBUGGERS:
        names = dict.fromkeys(outcome.command for outcome in lost)
        return f"read from the dump without a debugger: {_some(list(names))}"
    number = count(len(lost), "command")
    return f"{first} could not answer {number}, {second} did{_reasons(lost)}"


def _told(lost: Outcome) -> str:
    return short_line(lost.error or lost.command, WHY_LIMIT)


def _reasons(lost: Sequence[Outcome]) -> str:
    """Why commands were not answered, where that is short; the job's log has each."""
    told = list(dict.fromkeys(map(_told, lost)))
    if len(told) <= FEW:
        return f": {'; '.join(told)}"
    alike = {_without_name(outcome) for outcome in lost}
    return f": {short_line(alike.pop(), WHY_LIMIT)}" if len(alike) == 1 else ""


def _without_name(lost: Outcome) -> str:
    """A reason without the command that it is said of."""
    said = lost.error or ""
    for name in (lost.command, "crash", lost.command.partition(" ")[0]):
        said = said.removeprefix(f"{name}: ")
    return said


def _some(told: Sequence[str], between: str = "; ") -> str:
    more = len(told) - NAMED
    return between.join(told[:NAMED]) + (f" and {more} more" if more > 0 else "")
