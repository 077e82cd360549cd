"""The report as text for a terminal of 80 columns: the first screen, then the rest by use."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from cas.model.report import Report
from cas.report.page import Limits, Page, page
from cas.report.screen import WIDTH, cut_rows, in_full, row_of, screen
from cas.report.stack import Part, Stack
from cas.report.summary import Summary

LINES = 200
"""Lines that are shown of each section; the whole is in the section's file."""

_RULE = "-" * WIDTH


def render_text(report: Report) -> str:
    """The whole of ``report.txt``."""
    return text_of(page(report, Limits(LINES)))


def text_of(shown: Page) -> str:
    """A report as text."""
    return "\n".join(part.rstrip("\n") + "\n" for part in _page_parts(shown) if part.strip())


def location(told: Summary) -> str:
    """Where the results are, in the two lines of the original's mail."""
    return f"Location: {told.directory}\nServer: {told.server}\n"


def machine(told: Summary) -> str:
    """What the crash happened on."""
    return "\n".join(in_full(row_of(fact)) for fact in told.machine)


def customer_box(paragraphs: tuple[str, ...]) -> str:
    """What to send to the customer, between two rules; empty for a dump that is whole."""
    if not paragraphs:
        return ""
    text = "\n\n".join(textwrap.fill(paragraph, WIDTH) for paragraph in paragraphs)
    return f"To the customer\n{_RULE}\n{text}\n{_RULE}\n"


def stack_lines(stack: Stack) -> Iterator[str]:
    """Frames, innermost first; an arrow leads to those that the verdict is about."""
    is_marked = any(frame.part is Part.CULPRIT for frame in stack.frames)
    for frame in stack.frames:
        mark = "=> " if frame.part is Part.CULPRIT else "   " if is_marked else ""
        yield f"{mark}#{frame.number:<3} {frame.text}"


def headed(title: str, text: str) -> str:
    """A part with its title."""
    return f"{_filled(title, '', '')}\n{'-' * min(WIDTH, len(title))}\n{text}\n"


def _page_parts(shown: Page) -> Iterator[str]:
    told = shown.summary
    yield screen(told)
    yield location(told)
    yield "\n".join(in_full(row) for row in cut_rows(told))
    if told.machine:
        yield headed("Machine and dump", machine(told))
    yield customer_box(shown.customer)
    if evidence := list(_evidence_lines(told)):
        yield headed("Evidence", "\n".join(evidence))
    if shown.limits:
        yield headed("How far evidence was looked for", "\n".join(map(_paragraph, shown.limits)))
    if shown.before:
        yield headed("Before the crash", "\n".join(map(_paragraph, shown.before)))
    log = shown.log
    if log and log.oops:
        more = (f"… the rest is in {log.where}",) if log.is_oops_cut else ()
        yield headed("What the kernel said", "\n".join((*log.oops, *more)))
    for stack in shown.stacks:
        role = f" (=> {stack.role})" if stack.role else ""
        yield headed(f"{stack.title}{role}", "\n".join(stack_lines(stack)))
    for part in shown.fault:
        yield headed(part.title, "\n".join(part.lines))
    if shown.registers:
        yield headed("Registers", "\n".join(shown.registers))
    if shown.remarks:
        yield headed("Remarks", "\n".join(map(_paragraph, shown.remarks)))
    if shown.sidecars:
        yield headed("Came with the dump", "\n".join(f"- {name}" for name in shown.sidecars))
    for section in shown.sections:
        yield headed(f"{section.title} ({section.name}: {section.status})", section.text)
    if trace := shown.deep_trace:
        yield headed(f"{trace.title} ({trace.name}: {trace.status})", trace.text)
    if log and shown.log_section is None:
        earlier = (f"… {log.earlier:,} earlier lines in {log.where}",) if log.earlier else ()
        later = (f"… {log.later:,} more lines in {log.where}",) if log.later else ()
        lines = (*earlier, *(line.text for line in log.lines), *later)
        yield headed("Kernel log", "\n".join(lines))


def _evidence_lines(told: Summary) -> Iterator[str]:
    """What shows what the first screen says."""
    for fact in told.facts:
        for point in fact.points:
            if point.source or point.details:
                yield _paragraph(point.text)
                how = f"; to see it: {point.command}" if point.command else ""
                yield _filled(f"{point.source}{how}", "  ", "  ")
                yield from (_filled(line, "    ", "      ") for line in point.details)


def _paragraph(text: str) -> str:
    return _filled(text, "- ", "  ")


def _filled(text: str, first: str, others: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
        break_long_words=False,
    )
