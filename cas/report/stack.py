"""The stacks of a report, and where the verdict points on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import groupby

from cas.frozen import dataclass
from cas.model.code import Frame
from cas.model.finding import Culprit
from cas.model.report import Report
from cas.text import one_line

RECURSION = 4
"""Equal frames in a row that are told as one."""


class Part(StrEnum):
    """What a frame is to the verdict."""

    MACHINERY = "machinery"
    """It reports, dies, or is everybody's code above the one that the verdict is about."""
    INNER = "inner"
    """Everybody's code in which the processor was."""
    CULPRIT = "culprit"
    """The verdict is about it."""
    CALLER = "caller"
    """Who called that; every frame of a stack that the verdict is not about."""


@dataclass(frozen=True, slots=True)
class StackFrame:
    """One line of a stack; all text is printable."""

    number: int
    text: str
    part: Part


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack, innermost frame first."""

    anchor: str
    title: str
    frames: tuple[StackFrame, ...]
    role: str = ""
    """What the culprit is, e.g. ``at fault``; empty: the verdict is not about this stack."""
    is_aside: bool = False
    """Another stack is the one that the verdict is about."""

    @property
    def machinery(self) -> tuple[StackFrame, ...]:
        """The frames above what the verdict is about."""
        return tuple(frame for frame in self.frames if frame.part is Part.MACHINERY)

    @property
    def rest(self) -> tuple[StackFrame, ...]:
        """All other frames."""
        return tuple(frame for frame in self.frames if frame.part is not Part.MACHINERY)


def stacks(report: Report) -> Iterator[Stack]:
    """What there is of stacks, that of the crash first."""
    finding, answer = report.finding, report.answer
    culprit = finding.culprit if finding else None
    if finding and finding.trace:
        yield _marked_stack("trace", "Trace in the kernel log", finding.trace, culprit)
    if answer and answer.backtrace:
        is_other = bool(finding and finding.trace)
        title = "Backtrace of the task that panicked" if is_other else "Backtrace"
        stack = _marked_stack("backtrace", title, answer.backtrace, None if is_other else culprit)
        yield replace(stack, is_aside=is_other)


def frame_text(frame: Frame) -> str:
    """One frame: function, offset, kernel module, file and line, and whether it is inlined."""
    offset = "" if frame.offset is None else f"+{frame.offset:#x}"
    kmod = f" [{frame.kmod}]" if frame.kmod else ""
    file = f" at {frame.file}:{frame.line}" if frame.file else ""
    inlined = " (inlined)" if frame.inlined else ""
    return one_line(f"{frame.function}{offset}{kmod}{file}{inlined}")


def _marked_stack(
    anchor: str, title: str, frames: Sequence[Frame], culprit: Culprit | None
) -> Stack:
    first = _position(frames, culprit.frames[0]) if culprit and culprit.frames else None
    if culprit is None or first is None:
        parts = [Part.CALLER] * len(frames)
        return Stack(anchor, title, _stack_frames(frames, parts))
    last = first + len(culprit.frames)
    inner = _position(frames[:first], culprit.inner) if culprit.inner else None
    parts = [
        Part.CULPRIT
        if first <= number < last
        else Part.CALLER
        if number >= last
        else Part.INNER
        if inner is not None and number >= inner
        else Part.MACHINERY
        for number in range(len(frames))
    ]
    return Stack(anchor, title, _stack_frames(frames, parts), one_line(culprit.role))


def _position(frames: Sequence[Frame], wanted: Frame) -> int | None:
    """Where a frame stands; what the kernel log names has no program counter."""
    alike = [n for n, frame in enumerate(frames) if frame == wanted]
    alike = alike or [
        n
        for n, frame in enumerate(frames)
        if (frame.function, frame.offset) == (wanted.function, wanted.offset)
    ]
    return alike[0] if alike else None


def _stack_frames(frames: Sequence[Frame], parts: Sequence[Part]) -> tuple[StackFrame, ...]:
    """Frames as lines; of a recursion one for many."""
    both = zip(frames, parts, strict=True)
    lines = [StackFrame(n, frame_text(frame), part) for n, (frame, part) in enumerate(both)]
    told: list[StackFrame] = []
    for _, group in groupby(lines, key=lambda line: (line.text, line.part)):
        same = list(group)
        if len(same) < RECURSION:
            told += same
        else:
            text = f"{same[0].text} ({len(same):,} times, to #{same[-1].number})"
            told.append(replace(same[0], text=text))
    return tuple(told)
