"""The report as text: the verdict on one screen, then the backtrace, then the sections."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from cas.model import Frame, Registers, Report, Section
from cas.report.before import before
from cas.report.evidence import evidence_lines
from cas.report.excerpt import excerpt, tail
from cas.report.screen import WIDTH, cut_rows, in_full, lacks, screen
from cas.text import one_line, short_line
from cas.units import human_span

LINES = 200
"""Of each section; the whole is in the section's file."""
SIDECARS = 100
PROCESSORS = 64
"""Whose registers are shown; result.json has all."""


_RULE = "-" * WIDTH


def render_text(report: Report) -> str:
    """The whole of ``report.txt``."""
    return "\n".join(part.rstrip("\n") + "\n" for part in _parts(report) if part.strip())


def location(report: Report) -> str:
    """Where the results are, in the two lines of the original's mail."""
    directory = one_line(str(report.directory))
    return f"Location: {directory}\nServer: {one_line(report.server)}\n"


def stacks(report: Report) -> Iterator[tuple[str, tuple[Frame, ...]]]:
    """What there is of stacks, that of the crash first: a headline and the frames of each."""
    trace = report.finding.trace if report.finding else ()
    if trace:
        yield "Trace in the kernel log", trace
    if report.answer and report.answer.backtrace:
        title = "Backtrace of the task that panicked" if trace else "Backtrace"
        yield title, report.answer.backtrace


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
    if report.stored and report.stored.missing:
        said.append(f"the upload: {lacks(report.stored.missing)}")
    said += report.stored.remarks if report.stored else ()
    said += report.dump.remarks if report.dump else ()
    said += report.answer.problems if report.answer else ()
    said += report.finding.undecided if report.finding else ()
    said += report.remarks
    if report.sandbox not in (None, "bwrap") and (report.answer or report.sections):
        said.append(f"sandbox of the debuggers: {report.sandbox}")
    return tuple(short_line(text) for text in said)


def sidecars(report: Report) -> tuple[str, ...]:
    """Names of the files that came with the dump; of very many the first."""
    paths = report.stored.sidecars if report.stored else ()
    names = [one_line(f"{path.parent.name}/{path.name}") for path in paths[:SIDECARS]]
    more = len(paths) - len(names)
    return (*names, f"and {more:,} more") if more else tuple(names)


def register_lines(report: Report) -> tuple[str, ...]:
    """Each processor's registers, where no debugger shows them."""
    if report.dump is None or _is_debugged(report):
        return ()
    return tuple(_register_lines(report.dump.registers[:PROCESSORS]))


def customer_note(report: Report) -> str:
    """What to send to the customer: printable paragraphs, each on one line."""
    paragraphs = (report.customer_note or "").split("\n\n")
    return "\n\n".join(filter(None, map(short_line, paragraphs)))


def customer_box(report: Report) -> str:
    """What to send to the customer, between two rules; empty for a dump that is whole."""
    note = customer_note(report)
    if not note:
        return ""
    paragraphs = (textwrap.fill(text, WIDTH) for text in note.split("\n\n"))
    return "\n".join(("To the customer", _RULE, "\n\n".join(paragraphs), _RULE, ""))


def status(section: Section) -> str:
    """How a section ended: ``ok, crash, 0.4 s``."""
    words = f"{section.status}, {section.engine}, {human_span(section.seconds)}"
    if section.status == "skipped":
        words = section.status
    return short_line(f"{words}: {section.error}" if section.error else words)


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
    if lines := list(evidence_lines(report.detections)):
        yield _headed("Evidence", "\n".join(lines))
    if earlier := before(report.finding):
        yield _headed("Before the crash", "\n".join(f"- {short_line(text)}" for text in earlier))
    for title, frames in stacks(report):
        yield _headed(title, "\n".join(backtrace_lines(frames)))
    if said := remarks(report):
        yield _headed("Remarks", "\n".join(f"- {text}" for text in said))
    yield from _damage_parts(report)
    for section in report.sections:
        shown = excerpt(section, LINES).text(one_line(section.path.name))
        title = f"{short_line(section.title)} ({one_line(section.name)}: {status(section)})"
        yield _headed(title, shown)
    if dmesg := dmesg_of(report):
        yield _headed("Kernel log", tail(dmesg, LINES).text("the dump"))


def _damage_parts(report: Report) -> Iterator[str]:
    yield customer_box(report)
    if names := sidecars(report):
        yield _headed("Came with the dump", "\n".join(f"- {name}" for name in names))
    if lines := register_lines(report):
        yield _headed("Registers", "\n".join(lines))


def _is_debugged(report: Report) -> bool:
    """Whether a debugger had its say: its output shows the registers in their place."""
    told = (section.engine for section in report.sections if section.size_bytes)
    return report.answer is not None or any(engine in ("crash", "drgn") for engine in told)


def _register_lines(processors: Sequence[Registers]) -> Iterator[str]:
    for held in processors:
        yield f"CPU {held.cpu}" if held.pid is None else f"CPU {held.cpu}, pid {held.pid}"
        values = [f"{one_line(name):>8} {value:016x}" for name, value in held.values.items()]
        for first in range(0, len(values), 3):
            yield " ".join(values[first : first + 3])


def _headed(title: str, text: str) -> str:
    return f"{title}\n{'-' * min(WIDTH, len(title))}\n{text}\n"
