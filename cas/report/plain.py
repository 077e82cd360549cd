"""The report as text: the verdict on one screen, then the backtrace, then the sections."""

from __future__ import annotations

from collections.abc import Iterator

from cas.model import Frame, Report, Section
from cas.report.excerpt import excerpt, tail
from cas.report.screen import WIDTH, cut_rows, in_full, screen
from cas.text import one_line

LINES = 200
"""Of each section; the whole is in the section's file."""


def render_text(report: Report) -> str:
    """The whole of ``report.txt``."""
    return "\n".join(part.rstrip("\n") + "\n" for part in _parts(report) if part.strip())


def location(report: Report) -> str:
    """Where the results are, in the two lines of the original's mail."""
    directory = one_line(str(report.directory))
    return f"Location: {directory}\nServer: {one_line(report.server)}\n"


def backtrace_lines(frames: tuple[Frame, ...]) -> tuple[str, ...]:
    """Frames, innermost first, with module, offset and line of the source."""
    return tuple(f"#{number:<3} {frame_text(frame)}" for number, frame in enumerate(frames))


def frame_text(frame: Frame) -> str:
    """One frame: function, offset, kernel module, file and line, and whether it is inlined."""
    offset = "" if frame.offset is None else f"+{frame.offset:#x}"
    kmod = f" [{frame.kmod}]" if frame.kmod else ""
    file = f" at {frame.file}:{frame.line}" if frame.file else ""
    inlined = " (inlined)" if frame.inlined else ""
    return one_line(f"{frame.function}{offset}{kmod}{file}{inlined}")


def remarks(report: Report) -> tuple[str, ...]:
    """What a reader should know besides the verdict: limits, rungs, contradictions, problems."""
    said = [f"limit reached: {limit}" for limit in report.limits_hit]
    if len(report.ladder) > 1:
        said.append(f"tried in turn: {', '.join(report.ladder)}")
    if report.match:
        said.append(f"kernel: {report.match.detail}")
    said += report.dump.remarks if report.dump else ()
    said += report.answer.problems if report.answer else ()
    return tuple(one_line(text) for text in said)


def status(section: Section) -> str:
    """How a section ended: ``ok, crash, 0.4 s``."""
    words = f"{section.status}, {section.engine}, {section.seconds:.1f} s"
    return one_line(f"{words}: {section.error}" if section.error else words)


def has_log(report: Report) -> bool:
    """Whether one of the sections shows the kernel log."""
    return any(
        section.name in ("log", "dmesg") and section.size_bytes for section in report.sections
    )


def dmesg_of(report: Report) -> str | None:
    """The kernel log, where no section shows it."""
    if has_log(report):
        return None
    told = report.answer.dmesg if report.answer else None
    return told or (report.dump.dmesg if report.dump else None)


def _parts(report: Report) -> Iterator[str]:
    yield screen(report)
    yield location(report)
    yield "\n".join(in_full(row) for row in cut_rows(report))
    if report.answer and report.answer.backtrace:
        yield _headed("Backtrace", "\n".join(backtrace_lines(report.answer.backtrace)))
    if said := remarks(report):
        yield _headed("Remarks", "\n".join(f"- {text}" for text in said))
    for section in report.sections:
        shown = excerpt(section, LINES).text(one_line(section.path.name))
        yield _headed(f"{one_line(section.title)} ({section.name}: {status(section)})", shown)
    if dmesg := dmesg_of(report):
        yield _headed("Kernel log", tail(dmesg, LINES).text("the dump"))


def _headed(title: str, text: str) -> str:
    return f"{title}\n{'-' * min(WIDTH, len(title))}\n{text}\n"
