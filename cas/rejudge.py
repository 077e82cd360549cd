"""A kept job's crash, judged anew from result.json and its kernel log, without a debugger."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import asdict

from cas.errors import JobFailed
from cas.files import read_regular
from cas.model import Dump, FirstAnswer, Frame, Kmod, Task
from cas.report.result import load
from cas.report.result_record import Result

LOG_SECTIONS = ("log", "dmesg")
"""Snippets whose output is the kernel log."""
LOG_LIMIT = 64 << 20


def evidence(directory: Path) -> tuple[Dump, FirstAnswer | None]:
    """What the verdict of a finished job rests on: what the dump says, and the debugger.

    :param directory: of the job
    :raises JobFailed: the job was not finished, or nothing of a dump was read
    """
    result = load(directory)
    if result.dump is None:
        raise JobFailed(f"{directory} has no dump: there is no crash to name")
    dmesg = _kernel_log(result, directory)
    facts = result.dump
    dump = Dump(
        path=directory / facts.path,
        format=facts.format,
        size_bytes=facts.size_bytes,
        arch=facts.arch,
        osrelease=facts.osrelease,
        banner=facts.banner,
        panic_message=facts.panic_message,
        dmesg=dmesg,
    )
    return dump, _answer(result, dmesg)


def _kernel_log(result: Result, directory: Path) -> str | None:
    names = [each.path for each in result.sections if each.name in LOG_SECTIONS and each.size_bytes]
    if not names:
        return None
    try:
        return read_regular(directory / names[0], LOG_LIMIT).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise JobFailed(f"cannot read {directory / names[0]}: {error.strerror}") from error


def _answer(result: Result, dmesg: str | None) -> FirstAnswer | None:
    told = result.answer
    if told is None:
        return None
    return FirstAnswer(
        panic_message=told.panic_message,
        panic_task=Task(**asdict(told.panic_task)) if told.panic_task else None,
        backtrace=tuple(Frame(**asdict(frame)) for frame in told.backtrace),
        kmods=tuple(Kmod(**asdict(kmod)) for kmod in told.kmods),
        taint=told.taint,
        uptime_s=told.uptime_s,
        crash_time=told.crash_time,
        dmesg=dmesg,
    )
