"""How a snippet's commands end, whatever ran them, as in :class:`cas.model.snippet.Section`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cas.choices import Engine, SectionStatus
from cas.files.whole import put
from cas.frozen import dataclass
from cas.model.snippet import Outcome, Section, Snippet
from cas.settings.rules import Supervision

WEIGHT = {
    SectionStatus.SKIPPED: -1,
    SectionStatus.OK: 0,
    SectionStatus.FAILED: 1,
    SectionStatus.NOT_RUN: 2,
    SectionStatus.CUT: 3,
    SectionStatus.TIMEOUT: 4,
    SectionStatus.MEMORY: 5,
    SectionStatus.CRASHED: 6,
}
"""Which of a snippet's outcomes names its section."""
ENDED = frozenset(
    {SectionStatus.NOT_RUN, SectionStatus.TIMEOUT, SectionStatus.MEMORY, SectionStatus.CRASHED}
)
"""How a command ends that did not come to its end."""
LIMITS = frozenset(
    {SectionStatus.CUT, SectionStatus.TIMEOUT, SectionStatus.MEMORY, SectionStatus.CRASHED}
)
"""How a command ends that broke a limit, or its debugger."""
OUT_OF_MEMORY = re.compile(
    rb"cannot (m|re|c)?alloc|malloc failure|Cannot allocate memory|"
    rb"virtual memory exhausted|std::bad_alloc|MemoryError"
)
"""How crash, gdb, the C library and Python say that they reached their memory limit."""
LATECOMERS = 16
"""Part of a section's limit that a command may write though the ones before it left nothing."""


@dataclass(frozen=True, slots=True)
class Ran:
    """Where and how long a snippet ran."""

    engine: Engine
    path: Path
    """The file with its output."""
    seconds: float


def output_budget(rules: Supervision, written_bytes: int) -> int:
    """How many bytes a section's next command may write."""
    return max(rules.section_bytes - written_bytes, rules.section_bytes // LATECOMERS)


def skipped_section(snippet: Snippet, why: Mapping[int, str], path: Path) -> Section:
    """The section of a snippet that a kernel has nothing for."""
    put(path, b"")
    outcomes = _skipped_outcomes(snippet, why)
    reasons = list(dict.fromkeys(why.values()))
    # what all commands need is not said again with what one of them needs besides
    told = [one for one in reasons if not any(one != o and one.startswith(o) for o in reasons)]
    error = "; ".join(told) or None
    return Section(
        snippet.name,
        snippet.title,
        SectionStatus.SKIPPED,
        Engine.NONE,
        path,
        error=error,
        commands=outcomes,
    )


def section_of(snippet: Snippet, outcomes: Sequence[Outcome], ran: Ran) -> Section:
    """The section that a snippet's commands make."""
    statuses = {outcome.status for outcome in outcomes}
    worst = max(statuses, key=WEIGHT.__getitem__, default=SectionStatus.OK)
    return Section(
        snippet.name,
        snippet.title,
        SectionStatus.PARTLY
        if worst is SectionStatus.FAILED and SectionStatus.OK in statuses
        else worst,
        ran.engine,
        ran.path,
        seconds=ran.seconds,
        size_bytes=ran.path.stat().st_size,
        error="; ".join(dict.fromkeys(each.error for each in outcomes if each.error)) or None,
        commands=tuple(outcomes),
    )


def with_skipped(section: Section, snippet: Snippet, why: Mapping[int, str]) -> Section:
    """A section that also has the commands that were left out, each in its place.

    :param snippet: with all commands
    :param why: each was left out, by its position
    """
    if not why or not section.commands:
        return section
    ran = iter(section.commands)
    left_out = iter(_skipped_outcomes(snippet, why))
    numbers = range(len(snippet.commands))
    whole = tuple(next(left_out if number in why else ran) for number in numbers)
    return replace(section, commands=whole)


def _skipped_outcomes(snippet: Snippet, why: Mapping[int, str]) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(snippet.commands[number], SectionStatus.SKIPPED, Engine.NONE, reason)
        for number, reason in sorted(why.items())
    )
