"""What the snippets did not give, and whether that costs the verdict: a sentence, by kind of gap.

A command that no debugger here answers costs nothing, unless it is one of the first that anybody
looks at; memory that the dump does not have, a broken limit, and a snippet of the site's that
cannot be used as it is make a job ``partial``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum

from cas.choices import Engine, SectionStatus
from cas.frozen import dataclass
from cas.model.snippet import Outcome, Section
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
        is_own, is_vital = section.name in own, section.name in VITAL
        gaps = [
            gap for each in section.commands if (gap := _gap_of_command(each, is_own, is_vital))
        ]
        if not section.commands and section.status not in _FINE:
            gaps = [Gap.BROKEN]
        if gaps:
            gravest = min(gaps, key=list(Gap).index)
            found.setdefault(gravest, []).append(section)
    said = [
        f"{len(found[gap])} {gap.value} ({_names_and_reason(found[gap], told)})"
        for gap in Gap
        if gap in found
    ]
    reason = f"of {count(len(ran), 'snippet')} {', '.join(said)}" if said else None
    skipped = None
    if names := [each.name for each in sections if each.status is SectionStatus.SKIPPED]:
        skipped = f"skipped, since this kernel has nothing of the kind: {', '.join(names)}"
    return Shortfall(reason, skipped, _unanswered(sections, own))


def _gap_of_command(outcome: Outcome, is_own: bool, is_vital: bool) -> Gap | None:
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


def _names_and_reason(sections: Sequence[Section], told: Sequence[str]) -> str:
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


def _unanswered(sections: Sequence[Section], own: Collection[str]) -> str | None:
    lost = [
        (section.name, outcome)
        for section in sections
        for outcome in section.commands
        if outcome.status is SectionStatus.FAILED
        and _gap_of_command(outcome, section.name in own, section.name in VITAL) is None
    ]
    if not lost:
        return None
    if len(lost) <= FEW:
        reasons = (f"{name}: {_short_reason(one)}" for name, one in lost)
        return f"no debugger here answers {'; '.join(reasons)}"
    names = list(dict.fromkeys(name for name, _ in lost))
    return f"no debugger here answers {_some(names, ', ')}{_reasons_told([one for _, one in lost])}"


def given_up(instead: Sequence[tuple[Outcome, Engine]]) -> tuple[str, ...]:
    """What one engine could not answer and another did, a sentence for each of these.

    :param instead: how commands ended, each with the engine that did them in the end
    """
    grouped: dict[tuple[Engine, Engine], list[Outcome]] = {}
    for lost, engine in instead:
        grouped.setdefault((lost.engine, engine), []).append(lost)
    said = []
    for (first, second), outcomes in grouped.items():
        if second in DEBUGGERS:
            number = count(len(outcomes), "command")
            said.append(f"{first} could not answer {number}, {second} did{_reasons_told(outcomes)}")
        else:
            names = dict.fromkeys(outcome.command for outcome in outcomes)
            said.append(f"read from the dump without a debugger: {_some(list(names))}")
    return tuple(said)


def _short_reason(lost: Outcome) -> str:
    return short_line(lost.error or lost.command, WHY_LIMIT)


def _reasons_told(lost: Sequence[Outcome]) -> str:
    """Why commands were not answered, where that is short; the job's log has each."""
    told = list(dict.fromkeys(map(_short_reason, lost)))
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
