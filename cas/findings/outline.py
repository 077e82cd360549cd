"""A verdict as plain values, from a kernel log alone or with a backtrace: for whoever measures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from cas.choices import Kind
from cas.findings.crash import crash_of
from cas.findings.finding import finding_of
from cas.findings.signature import uncounted
from cas.model.answer import FirstAnswer, Task
from cas.model.code import Frame
from cas.model.dump import Dump
from cas.model.finding import LogEvent
from cas.panic import panic_message
from cas.text import log_event

FORM = 1
"""Number of the outline's form; a key that is here stays."""
_TASK = re.compile(r"task (\d{1,10}) (.{1,64}) (\d{1,5})$")
_CRASH_TASK = re.compile(r'PID: (\d{1,10}) .{0,200}CPU: (\d{1,5}) +COMMAND: "(.{1,64})"')
_FRAME = re.compile(
    r"(?:#\d+ +)?(?:\(?\[<?[0-9a-f]{4,16}>?\] *){0,2}([A-Za-z_.][\w.$]{0,127})"
    r"(?:\+0x([0-9a-f]{1,16})(?:/0x[0-9a-f]{1,16})?)?(?: at [0-9a-f]{1,16})?"
    r"(?: \[([\w-]{1,64})\])?$"
)


class Backtrace(NamedTuple):
    """What a debugger says of the panic task."""

    frames: tuple[Frame, ...] = ()
    task: Task | None = None


def read_backtrace(lines: Iterable[str]) -> Backtrace:
    """Read a backtrace: ``task PID COMM CPU``, then a function a line, innermost first.

    The forms ``function``, ``function [kmod]``, ``function+0x1c/0x40 [kmod]`` and those of crash's
    ``bt`` are understood; other lines are passed over.
    """
    frames: list[Frame] = []
    task = None
    for line in lines:
        text = line.strip()
        if found := _TASK.match(text):
            task = Task(int(found[1]), found[2], cpu=int(found[3]))
        elif found := _CRASH_TASK.match(text):
            task = Task(int(found[1]), found[3], cpu=int(found[2]))
        elif found := _FRAME.match(text):
            kmod = found[3].replace("-", "_") if found[3] else None
            offset = int(found[2], 16) if found[2] else None
            frames.append(Frame(found[1], offset=offset, kmod=kmod))
    return Backtrace(tuple(frames), task)


def outline(dmesg: str, backtrace: Backtrace | None = None) -> dict[str, Any]:
    """The verdict on a kernel log.

    :param backtrace: of the panic task, as with a vmlinux; ``None``: there is only the log
    """
    message = panic_message(dmesg)
    dump = Dump(Path("vmcore"), "log", len(dmesg), "unknown", dmesg=dmesg, panic_message=message)
    answer = None
    if backtrace is not None and backtrace.frames:
        answer = FirstAnswer(
            panic_message=message,
            panic_task=backtrace.task,
            backtrace=backtrace.frames,
            dmesg=dmesg,
        )
    return outline_of(dump, answer)


def outline_of(dump: Dump, answer: FirstAnswer | None) -> dict[str, Any]:
    """The verdict on a dump; that no kernel was looked for is no part of it.

    ``confidence`` is that of the choice: nothing is known of the data but the log.
    """
    crash = crash_of(dump, answer)
    finding = finding_of(crash, crash, dump, None)
    sure = finding.choice
    return {
        "form": FORM,
        "state": "running system" if crash.kind is Kind.NONE else "crashed",
        "kind": str(crash.kind),
        "what": finding.what,
        "where": finding.where,
        "task": finding.who,
        "title": finding.title,
        "signature": finding.signature,
        "signatures": {each.granularity: each.value for each in finding.signatures},
        "former": finding.former,
        "confidence": {"level": str(sure.level), "why": list(sure.why)} if sure else None,
        "source": crash.source,
        "panicked": crash.choice.has_panic,
        "frames": [
            {**_frame_values(frame), "uncounted": why}
            for frame, why in zip(crash.frames, uncounted(crash.frames), strict=True)
        ],
        "passed": [{**_frame_values(passed.frame), "why": passed.why} for passed in crash.passed],
        "before": [
            {"kind": str(event.kind), "message": event.message, "uptime_s": event.uptime_s}
            for event in crash.choice.earlier
        ],
        "troubles": [asdict(event) for event in finding.before],
        "next": list(finding.next_steps),
    }


def sentences(told: dict[str, Any]) -> Iterable[str]:
    """An outline for a reader."""
    for label, key in (("What", "what"), ("Where", "where"), ("Task", "task"), ("Kind", "kind")):
        if told[key]:
            yield f"{label + ':':7}{told[key]}"
    if sure := told["confidence"]:
        yield f"Sure:  {sure['level']}: {', '.join(sure['why'])}"
    for event in told["troubles"]:
        yield f"Before: {log_event(LogEvent(**event))}"
    for step in told["next"]:
        yield f"Next:   {step}"


def naming(told: dict[str, Any]) -> Iterable[str]:
    """An outline for who wonders why two crashes are the same or not: title, signatures, frames."""
    yield f"{'title':12} {told['title']}"
    for granularity, value in told["signatures"].items():
        yield f"{granularity:12} {value}"
    if not told["signatures"]:
        yield "no signature: no function is at fault, or none is known"
    for frame in told["passed"]:
        yield f"{'passed over':12} {_function_with_kmod(frame)}: {frame['why']}"
    for frame in told["frames"]:
        if frame["uncounted"]:
            yield f"{'left out':12} {_function_with_kmod(frame)}: {frame['uncounted']}"
        else:
            yield f"{'counts':12} {_function_with_kmod(frame)}"


def _function_with_kmod(frame: dict[str, Any]) -> str:
    return f"{frame['function']} [{frame['kmod']}]" if frame["kmod"] else str(frame["function"])


def _frame_values(frame: Frame) -> dict[str, Any]:
    return {
        "function": frame.function,
        "offset": frame.offset,
        "kmod": frame.kmod,
        "file": frame.file,
        "line": frame.line,
        "inlined": frame.inlined,
    }
