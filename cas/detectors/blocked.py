"""Blocked tasks, grouped by where they wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from cas.detectors.case import Case, Seen
from cas.model import Evidence, Frame

NAMED = 5
"""Tasks of a group that are named."""
SHOWN_FRAMES = 12
SCHEDULING = frozenset(
    {"__switch_to", "context_switch", "__schedule", "schedule", "schedule_preempt_disabled"}
)
"""What every sleeping task has on top of its stack."""


def detect(case: Case) -> Iterator[Evidence]:
    """Groups of tasks in uninterruptible sleep, the largest first."""
    groups: dict[tuple[str, ...], list[Seen]] = defaultdict(list)
    for seen in case.tasks("D"):
        groups[stack_names(case.backtrace(seen.task))].append(seen)
    for names, members in sorted(groups.items(), key=lambda group: -len(group[1])):
        yield _group(case, names, members)


def stack_names(frames: tuple[Frame, ...]) -> tuple[str, ...]:
    """The functions of a stack, by which tasks are grouped."""
    return tuple(frame.function for frame in without_scheduler(frames))


def without_scheduler(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """A sleeping task's frames from the one on that went to sleep."""
    first = next((n for n, each in enumerate(frames) if each.function not in SCHEDULING), 0)
    return frames[first:]


def _group(case: Case, names: tuple[str, ...], members: list[Seen]) -> Evidence:
    who = ", ".join(seen.name for seen in members[:NAMED])
    more = len(members) - NAMED
    who += f" and {more:,} more" if more > 0 else ""
    where = f" in {names[0]}" if names else " (its stack cannot be read)"
    head = members[0]
    if len(members) == 1:
        sentence = f"{who} is blocked{where}"
    else:
        sentence = f"{len(members):,} tasks are blocked{where}: {who}"
    frames = without_scheduler(case.backtrace(head.task))[:SHOWN_FRAMES]
    return Evidence(
        sentence,
        f"task {head.task.value_():#x}",
        f"bt {head.pid}",
        details=tuple(frame_line(frame) for frame in frames),
    )


def frame_line(frame: Frame) -> str:
    """A frame in a line: function, kernel module, file and line."""
    kmod = f" [{frame.kmod}]" if frame.kmod else ""
    at = f" at {frame.file}:{frame.line}" if frame.file else ""
    return f"{frame.function}{kmod}{at}"
