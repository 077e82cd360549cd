"""Blocked tasks, grouped by where they wait, and for what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from cas.detectors.case import Case
from cas.detectors.waits import BRIEF_S, Locks, Wait, frame_line
from cas.model.evidence import Evidence
from cas.text import count
from cas.units import human_span

NAMED = 5
"""Tasks of a group that are named."""
SHOWN_FRAMES = 12


def detect(case: Case) -> Iterator[Evidence]:
    """Groups of tasks in uninterruptible sleep, the largest first."""
    locks = Locks.of(case)
    groups: dict[tuple[str, ...], list[Wait]] = defaultdict(list)
    brief = 0
    for wait in locks.blocked():
        if wait.is_brief:
            brief += 1
        else:
            groups[tuple(frame.function for frame in wait.frames)].append(wait)
    if brief:
        case.remark(f"{count(brief, 'task')} blocked for less than {BRIEF_S:g} s left out")
    for members in sorted(groups.values(), key=lambda group: -len(group)):
        members.sort(key=lambda wait: -(wait.waited_s or 0))
        head = members[0]
        who = ", ".join(wait.seen.name for wait in members[:NAMED])
        more = len(members) - NAMED
        who += f" and {more:,} more" if more > 0 else ""
        where = f" in {head.at.function}" if head.at else " (its stack cannot be read)"
        span = ""
        if head.waited_s is not None:
            span = f" for {'up to ' if len(members) > 1 else ''}{human_span(head.waited_s)}"
        if len(members) == 1:
            sentence = f"{who} is blocked{where}{span}{head.purpose}"
        else:
            sentence = f"{len(members):,} tasks are blocked{where}{span}{head.purpose}: {who}"
        yield Evidence(
            sentence,
            f"task {head.seen.task.value_():#x}",
            f"bt {head.seen.pid}",
            details=tuple(frame_line(frame) for frame in head.frames[:SHOWN_FRAMES]),
        )
