"""The kernel log of a report: the lines that the verdict rests on, and those around them."""

from __future__ import annotations

from cas.frozen import dataclass
from cas.klog.choice import choose
from cas.klog.events import last_line
from cas.klog.lines import Log
from cas.model.report import Report
from cas.model.snippet import Section
from cas.report.excerpt import shown_line
from cas.text import one_line

NAMES = ("log", "dmesg")
"""Sections that are the kernel log."""
READ_LIMIT = 2 << 20
"""Bytes of the log's end that are looked at; a kernel's default ring holds 1 MiB at most."""
OOPS_LINES = 150
"""Lines of the kernel's report of the crash that are shown."""
BEFORE = 40
"""Lines before that report that are shown, where it is far from the end."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the log; printable."""

    text: str
    is_oops: bool
    """It belongs to the report of the crash."""


@dataclass(frozen=True, slots=True)
class KernelLog:
    """What a report shows of the kernel log."""

    where: str
    """The file that has all of it, or ``the dump``."""
    oops: tuple[str, ...] = ()
    """The kernel's own report of the crash; empty: there is none."""
    is_oops_cut: bool = False
    lines: tuple[LogLine, ...] = ()
    earlier: int = 0
    """Lines before those that are shown."""
    later: int = 0
    """Lines behind them."""


def kernel_log(report: Report, limit: int) -> KernelLog | None:
    """The kernel log, from its section or else from the dump; ``None``: there is none.

    :param limit: lines that are shown
    """
    text, left_out, where = _end_of_log(report)
    if not text.strip("\n"):
        return None
    raw = text.strip("\n").split("\n")
    log = Log("\n".join(raw))
    # the reader of events looks at the end of a log of many lines
    skipped = len(raw) - len(log)
    choice = choose(log)
    crash, panic = choice.crash, choice.panic
    oops = range(0)
    if crash.index is not None:
        oops = range(skipped + crash.index, skipped + last_line(log, crash) + 1)
    marked = {*oops}
    if panic is not None and panic.index is not None:
        marked.add(skipped + panic.index)
    start = max(0, len(raw) - limit)
    if oops and oops[0] < start:
        start = max(0, oops[0] - BEFORE)
    end = min(len(raw), start + limit)
    return KernelLog(
        where=where,
        oops=tuple(shown_line(raw[number]) for number in oops[:OOPS_LINES]),
        is_oops_cut=len(oops) > OOPS_LINES,
        lines=tuple(LogLine(shown_line(raw[n]), n in marked) for n in range(start, end)),
        earlier=left_out + start,
        later=len(raw) - end,
    )


def log_section(report: Report) -> Section | None:
    """The section that shows the kernel log."""
    return next((each for each in report.sections if each.name in NAMES and each.size_bytes), None)


def dmesg_of(report: Report) -> str | None:
    """The kernel log, where no section shows it."""
    if log_section(report) is not None:
        return None
    told = report.answer.dmesg if report.answer else None
    return told or (report.dump.dmesg if report.dump else None)


def _end_of_log(report: Report) -> tuple[str, int, str]:
    """The end of the log, how many lines are before that, and where all of it is."""
    section = log_section(report)
    if section is None:
        text = dmesg_of(report) or ""
        cut = max(0, text.find("\n", len(text) - READ_LIMIT) + 1) if len(text) > READ_LIMIT else 0
        return text[cut:], text.count("\n", 0, cut), "the dump"
    where = one_line(section.path.name)
    try:
        with section.path.open("rb") as file:
            size = file.seek(0, 2)
            start = max(0, size - READ_LIMIT)
            file.seek(0)
            earlier, rest = 0, start
            while rest and (block := file.read(min(rest, 1 << 20))):
                earlier += block.count(b"\n")
                rest -= len(block)
            data = file.read(READ_LIMIT)
    except OSError:
        return "", 0, where
    if start:  # the beginning of the first line was not read
        _, _, data = data.partition(b"\n")
        earlier += 1
    return data.decode("utf-8", "surrogateescape"), earlier, where
