"""Everything that is known about a crash, from the first answer and from the kernel log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cas.findings.kinds import Event, Kind, event_of
from cas.findings.log import read_log
from cas.findings.oops import Oops, oops_of
from cas.findings.stack import ELSEWHERE, frames_at_fault, frames_from
from cas.model import Dump, FirstAnswer, Frame, Kmod, Task


@dataclass(frozen=True, slots=True)
class Crash:
    """One crash; the backtrace and the kernel log put together."""

    event: Event
    frames: tuple[Frame, ...] = ()
    """From the code at fault outwards, innermost first; empty when unknown."""
    source: str | None = None
    """Of the frames: ``backtrace`` or ``kernel log``."""
    agrees: bool | None = None
    """Whether backtrace and kernel log name the same function; ``None``: one of them is missing."""
    logged: Frame | None = None
    """The code at fault as the kernel log names it."""
    task: Task | None = None
    blocked: Task | None = None
    """The task that waits, where another one noticed."""
    taint: str | None = None
    kmods: tuple[Kmod, ...] | None = None
    time: datetime | None = None
    uptime_s: float | None = None
    has_log: bool = False

    @property
    def kind(self) -> Kind:
        """What kind of crash it was."""
        return self.event.kind

    @property
    def owner(self) -> Frame | None:
        """The function at fault that stands on the stack, perhaps with others inlined in it."""
        return next((frame for frame in self.frames if not frame.inlined), None)


def crash_of(dump: Dump, answer: FirstAnswer | None) -> Crash:
    """Put together what the dump and the debugger say."""
    told = answer or FirstAnswer()
    dmesg = told.dmesg or dump.dmesg
    log = read_log(dmesg)
    event = event_of(log, told.panic_message or dump.panic_message)
    oops = oops_of(log, event)
    logged = frames_at_fault(oops.stack, event.kind)
    frames, source = _frames(told.backtrace, logged, event.kind)
    return Crash(
        event=event,
        frames=frames,
        source=source,
        agrees=_agree(told.backtrace, logged, event.kind),
        logged=logged[0] if logged else None,
        task=told.panic_task or oops.task,
        blocked=oops.blocked,
        taint=oops.taint if answer is None else answer.taint or oops.taint or "",
        kmods=oops.kmods if answer is None else answer.kmods or oops.kmods or (),
        time=told.crash_time or dump.crash_time,
        uptime_s=_uptime_s(told, oops),
        has_log=bool(dmesg),
    )


def kmods_in_traces(dmesg: str | None) -> tuple[str, ...]:
    """Kernel modules in the call trace that the kernel printed when it crashed.

    They are those whose debuginfo a debugger needs for file and line.
    """
    log = read_log(dmesg)
    oops = oops_of(log, event_of(log, None))
    return tuple(dict.fromkeys(frame.kmod for frame in oops.stack if frame.kmod))


def _frames(
    backtrace: Sequence[Frame], logged: tuple[Frame, ...], kind: Kind
) -> tuple[tuple[Frame, ...], str | None]:
    if logged and (same := frames_from(backtrace, logged[0].function, kind)):
        return same, "backtrace"
    if logged and kind in ELSEWHERE:
        return logged, "kernel log"
    own = frames_at_fault(backtrace, kind) if kind is not Kind.HUNG_TASK else ()
    if own:
        return own, "backtrace"
    return logged, "kernel log" if logged else None


def _agree(backtrace: Sequence[Frame], logged: tuple[Frame, ...], kind: Kind) -> bool | None:
    if not backtrace or not logged:
        return None
    if frames_from(backtrace, logged[0].function, kind):
        return True
    return None if kind in ELSEWHERE else False


def _uptime_s(answer: FirstAnswer, oops: Oops) -> float | None:
    return oops.uptime_s if answer.uptime_s is None else answer.uptime_s
