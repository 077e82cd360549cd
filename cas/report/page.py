"""Everything that a report shows: one value, which one function makes of a `Report`.

Text, HTML and mail draw it; all of its text is printable.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import escape

from cas.choices import Engine, SectionStatus
from cas.frozen import dataclass
from cas.model.report import Report
from cas.model.snippet import Section
from cas.report.before_crash import before_phrases
from cas.report.evidence import looking_limits
from cas.report.excerpt import READ_LIMIT, excerpt
from cas.report.fault import FaultPart, fault_parts
from cas.report.kernel_log import KernelLog, kernel_log, log_section
from cas.report.picture import Pictures, pictures
from cas.report.section_order import by_use
from cas.report.stack import Stack, stacks
from cas.report.summary import Summary, missing_phrase, summary
from cas.text import one_line, short_line
from cas.units import human_span

SIDECARS = 100
PROCESSORS = 64
"""Whose registers are shown; result.json has all."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a form of the report shows; the rest is in the files of the job."""

    lines: int
    """Lines that are shown of each section, and of the kernel log."""
    section: int = READ_LIMIT
    """Characters of a section."""
    all_sections: int | None = None
    """Characters of all sections together, escaped; ``None``: as many as there are."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A section as a report shows it."""

    anchor: str
    title: str
    name: str
    state: str
    """``ok`` or ``bad``."""
    status: str
    text: str
    file: str
    """Below the job's directory; empty: the section has no file."""


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report."""

    summary: Summary
    customer: tuple[str, ...]
    """Paragraphs to send to the customer of a damaged dump."""
    before: tuple[str, ...]
    """What the kernel log says of the time before the crash."""
    stacks: tuple[Stack, ...]
    fault: tuple[FaultPart, ...]
    """The code that was stopped, its source and the registers."""
    log: KernelLog | None
    log_section: Shown | None
    """The section that is the kernel log."""
    pictures: Pictures
    remarks: tuple[str, ...]
    limits: tuple[str, ...]
    """How far detectors looked, where that was not all."""
    sidecars: tuple[str, ...]
    registers: tuple[str, ...]
    """Lines; where no debugger shows them."""
    sections: tuple[Shown, ...]
    """In the order in which they are of use."""
    deep_trace: Shown | None


def page(report: Report, extent: Limits) -> Page:
    """The report, as far as a form of it shows it."""
    log, in_log = kernel_log(report, extent.lines), log_section(report)
    sections = shown_sections(by_use(report.sections), extent)
    return Page(
        summary=summary(report),
        customer=customer_note(report),
        before=tuple(short_line(text) for text in before_phrases(report.finding)),
        stacks=tuple(stacks(report)),
        fault=fault_parts(report),
        log=log,
        log_section=next((each for each in sections if in_log and each.name == in_log.name), None),
        pictures=pictures(report),
        remarks=report_remarks(report),
        limits=tuple(looking_limits(report.detections)),
        sidecars=sidecars(report),
        registers=register_lines(report),
        sections=sections,
        deep_trace=shown_section(report.glide, extent.lines) if report.glide else None,
    )


def shown_sections(sections: Sequence[Section], extent: Limits) -> tuple[Shown, ...]:
    """Sections as they are shown; those that come first have the room for all."""
    left, several = extent.all_sections, []
    for section in sections:
        room = extent.section if left is None else min(extent.section, max(0, left))
        several.append(shown_section(section, extent.lines, room))
        if left is not None:
            left -= len(escape(several[-1].text))
    return tuple(several)


def shown_section(section: Section, lines: int, room: int = READ_LIMIT) -> Shown:
    """A section, with so many lines and characters of its output."""
    file = one_line(section.path.name)
    return Shown(
        anchor=f"section-{one_line(section.name)}",
        title=short_line(section.title),
        name=one_line(section.name),
        state="ok" if section.status in (SectionStatus.OK, SectionStatus.SKIPPED) else "bad",
        status=status(section),
        text=excerpt(section, lines, room).text_with_note(file),
        file=file if section.size_bytes else "",
    )


def status(section: Section) -> str:
    """How a section ended: ``ok, crash, 0.4 s``."""
    words = f"{section.status}, {section.engine}, {human_span(section.seconds)}"
    if section.status is SectionStatus.SKIPPED:
        words = section.status
    return short_line(f"{words}: {section.error}" if section.error else words)


def report_remarks(report: Report) -> tuple[str, ...]:
    """What a reader should know besides the verdict: limits, rungs, contradictions, problems."""
    said = [f"limit reached: {limit}" for limit in report.limits_hit]
    if len(report.ladder) > 1:
        said.append(f"tried in turn: {', '.join(report.ladder)}")
    if report.match:
        said.append(f"kernel: {report.match.detail}")
    if report.stored and report.stored.missing:
        said.append(f"the upload: {missing_phrase(report.stored.missing)}")
    said += report.stored.remarks if report.stored else ()
    said += report.dump.remarks if report.dump else ()
    said += report.answer.problems if report.answer else ()
    said += report.finding.undecided if report.finding else ()
    said += report.fault.problems if report.fault else ()
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


def customer_note(report: Report) -> tuple[str, ...]:
    """What to send to the customer: paragraphs, each on one line."""
    paragraphs = (report.customer_note or "").split("\n\n")
    return tuple(filter(None, map(short_line, paragraphs)))


def register_lines(report: Report) -> tuple[str, ...]:
    """Each processor's registers, where no debugger shows them."""
    show_them = (
        section.name == "registers" or section.engine in (Engine.CRASH, Engine.DRGN)
        for section in report.sections
        if section.size_bytes
    )
    if report.dump is None or report.answer is not None or any(show_them):
        return ()
    lines: list[str] = []
    for held in report.dump.registers[:PROCESSORS]:
        lines.append(f"CPU {held.cpu}" if held.pid is None else f"CPU {held.cpu}, pid {held.pid}")
        values = [f"{one_line(name):>8} {value:016x}" for name, value in held.values.items()]
        lines += (" ".join(values[first : first + 3]) for first in range(0, len(values), 3))
    return tuple(lines)
