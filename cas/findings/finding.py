"""The one-screen answer: what, where, which task, since when, how sure, what next."""

from __future__ import annotations

from datetime import datetime

from cas.findings.advice import confidence, next_steps
from cas.findings.crash import Crash, crash_of
from cas.findings.kinds import Kind
from cas.findings.machinery import BORROWED
from cas.findings.signature import signature
from cas.findings.stack import plain_name
from cas.findings.taint import describe_kmods, describe_taint
from cas.model import Dump, Finding, FirstAnswer, Frame, Match, Task

_UNITS_S = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


_SILENCE = {
    True: "nothing announces a crash: the dump shows a system that was running",
    False: "neither the kernel log nor a backtrace can be read from this dump",
}
"""What is said of a dump in which no crash is announced: by whether there is anything to read."""


def find(dump: Dump, answer: FirstAnswer | None, match: Match | None) -> Finding:
    """Judge a crash.

    :param answer: ``None`` when no debugger could open the dump: the kernel log must do
    :param match: ``None`` when no kernel was found for the dump
    """
    crash = crash_of(dump, answer)
    return Finding(
        what=_what(crash, dump),
        where=_where(crash),
        who=_who(crash),
        when=_when(crash.time, crash.uptime_s),
        taint=describe_taint(crash.taint),
        kmods=describe_kmods(crash.kmods),
        confidence=confidence(crash, dump, match),
        next_steps=next_steps(crash, dump, match),
        signature=signature(crash.kind, crash.frames),
    )


def _what(crash: Crash, dump: Dump) -> str:
    message = crash.event.message
    if crash.kind is Kind.NONE:
        return message or _SILENCE[bool(dump.dmesg or crash.frames)]
    if crash.kind is Kind.SYSRQ:
        return f"{message} (deliberate)"
    owner = crash.owner
    if owner is None or plain_name(owner.function) in message:
        return message
    return f"{message} in {_name(owner)}"


def _where(crash: Crash) -> str | None:
    """The innermost function, and what it is inlined in or called from."""
    if not crash.frames:
        return None
    fault, owner = crash.frames[0], crash.owner
    text = _place(fault)
    if fault.inlined and owner is not None:
        return f"{text}, inlined in {_code(owner)}"
    if plain_name(fault.function) in BORROWED and (caller := _caller(crash)):
        return f"{text}, called from {_place(caller)}"
    return text


def _caller(crash: Crash) -> Frame | None:
    """The first frame that is not everybody's code."""
    names = (frame for frame in crash.frames if plain_name(frame.function) not in BORROWED)
    return next(names, None)


def _name(frame: Frame) -> str:
    name = plain_name(frame.function)
    return f"{name} [{frame.kmod}]" if frame.kmod else name


def _place(frame: Frame) -> str:
    kmod = f" [{frame.kmod}]" if frame.kmod else ""
    file = f" at {frame.file}:{frame.line}" if frame.file else ""
    return _code(frame) + kmod + file


def _code(frame: Frame) -> str:
    offset = "" if frame.offset is None else f"+{frame.offset:#x}"
    return plain_name(frame.function) + offset


def _who(crash: Crash) -> str | None:
    if crash.blocked is None:
        return _task(crash.task) if crash.task else None
    noticed = f"; noticed by {_task(crash.task)}" if crash.task else ""
    return f"{_task(crash.blocked)}, blocked{noticed}"


def _task(task: Task) -> str:
    cpu = "" if task.cpu is None else f", CPU {task.cpu}"
    return f"{' '.join(task.comm.split())}, pid {task.pid}{cpu}"


def _when(time: datetime | None, uptime_s: float | None) -> str | None:
    said = []
    if time is not None:
        said.append(f"{time:%Y-%m-%d %H:%M:%S} UTC")
    if uptime_s is not None:
        said.append(f"{_span(uptime_s)} after boot")
    return ", ".join(said) or None


def _span(seconds: float) -> str:
    """The two largest units that count."""
    rest, words = int(seconds), []
    for unit, length in _UNITS_S:
        count, rest = divmod(rest, length)
        if count:
            words.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return " ".join(words[:2]) or "less than a second"
