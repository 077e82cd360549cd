"""Which frame of a backtrace is the code at fault."""

from __future__ import annotations

from collections.abc import Sequence

from cas.findings.kinds import EXCEPTIONS, Kind
from cas.findings.machinery import (
    DYING,
    EXCEPTION_ENTRIES,
    EXCEPTION_ENTRY,
    MACHINERY,
    REPORTING_TOO,
    WAITING,
)
from cas.model import Frame

ELSEWHERE = frozenset({Kind.HUNG_TASK, Kind.RCU_STALL, Kind.HARD_LOCKUP})
"""Kinds in which the task that panics can be another than the one at fault."""


def plain_name(function: str) -> str:
    """A function's name as in its source: without ``.cold``, ``.isra.0``, ``.part.1`` and so on."""
    return function.lstrip(".").partition(".")[0]


def frames_at_fault(frames: Sequence[Frame], kind: Kind) -> tuple[Frame, ...]:
    """The part of a stack, innermost first, that begins with the code at fault.

    :return: empty when there is nothing but machinery
    """
    names = [plain_name(frame.function) for frame in frames]
    dying = [index for index, name in enumerate(names) if name in DYING]
    start = dying[-1] + 1 if dying else 0
    if dying and kind in EXCEPTIONS:
        start = _below_exception(names, start)
    return tuple(frames[_below_machinery(names, start, kind) :])


def frames_from(frames: Sequence[Frame], function: str, kind: Kind) -> tuple[Frame, ...]:
    """The part of a stack that begins with a function, and with what is inlined there.

    :param function: as the kernel log names it
    :return: empty when the function is not on the stack
    """
    names = [plain_name(frame.function) for frame in frames]
    for index, frame in enumerate(frames):
        if names[index] == plain_name(function) and not frame.inlined:
            start = _with_inlined(frames, index)
            return tuple(frames[_below_machinery(names, start, kind) :])
    return ()


def _below_exception(names: Sequence[str], start: int) -> int:
    for index in range(start, len(names)):
        if names[index] in EXCEPTION_ENTRIES or EXCEPTION_ENTRY.match(names[index]):
            return index + 1
    return start


def _below_machinery(names: Sequence[str], start: int, kind: Kind) -> int:
    index = start
    while index < len(names) and _is_machinery(names[index], kind):
        index += 1
    return index


def _is_machinery(name: str, kind: Kind) -> bool:
    return (
        name in MACHINERY
        or (kind is Kind.HUNG_TASK and name in WAITING)
        or EXCEPTION_ENTRY.match(name) is not None
        or REPORTING_TOO.match(name) is not None
    )


def _with_inlined(frames: Sequence[Frame], index: int) -> int:
    while index > 0 and frames[index - 1].inlined:
        index -= 1
    return index
