"""The one-screen verdict that opens every report: at most 24 lines of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cas.model import Dump, Finding, Machine, Missing, Report
from cas.report.before import first_before
from cas.report.seen import seen, seen_on
from cas.text import known_issue, located, one_line, short_line, wholeness
from cas.units import human_size, utc

WIDTH = 80
HEIGHT = 24
LACKS = 20
"""Missing things that are listed; ``result.json`` has them all."""
KNOWN = 5
"""Known issues that are told; ``result.json`` has them all."""
_LABEL = 12


@dataclass(frozen=True, slots=True)
class Row:
    """A label and what there is to say; a paragraph for each text."""

    label: str
    texts: tuple[str, ...]


def rows(report: Report) -> tuple[Row, ...]:
    """The facts of the verdict, printable, in the order in which they are read."""
    said = (
        ("Known issue", known_issues(report.finding)),
        ("Verdict", (_verdict(report),)),
        *_finding_rows(report.finding),
        ("Kernel", (_kernel(report),)),
        ("Dump", (_dump(report.dump),)),
        ("Recovered", (", ".join(report.recovered),)),
        *_judgement_rows(report),
        ("Next", _next_steps(report)),
    )
    cleaned = [(label, tuple(short_line(text) for text in texts if text)) for label, texts in said]
    return tuple(Row(label, texts) for label, texts in cleaned if texts)


def screen(report: Report) -> str:
    """The verdict as text, below a title."""
    return f"{_title(report)}\n{'-' * WIDTH}\n{verdict(report)}"


def verdict(report: Report) -> str:
    """The verdict as text; rows that are too long for one screen end in ``…``."""
    said = rows(report)
    blocks = [_wrapped(row) for row in said]
    limits = _fit([len(block) for block in blocks], HEIGHT - 2)
    lines: list[str] = []
    for row, block, limit in zip(said, blocks, limits, strict=True):
        lines += _labelled(row.label, _cut(block, limit))
    return "\n".join(lines) + "\n"


def cut_rows(report: Report) -> tuple[Row, ...]:
    """The rows of which the screen shows only a part."""
    said = rows(report)
    heights = [len(_wrapped(row)) for row in said]
    limits = _fit(heights, HEIGHT - 2)
    return tuple(
        row for row, height, limit in zip(said, heights, limits, strict=True) if height > limit
    )


def in_full(row: Row) -> str:
    """A row as text, whatever its length."""
    return "\n".join(_labelled(row.label, _wrapped(row)))


def _title(report: Report) -> str:
    left = f"CAS report for {one_line(report.ticket)}"
    started = utc(report.started)
    return f"{left}  {started:>{max(0, WIDTH - len(left) - 2)}}"


def _verdict(report: Report) -> str:
    return f"{report.verdict}: {report.reason}" if report.reason else report.verdict


def known_issues(finding: Finding | None) -> tuple[str, ...]:
    """The known issues that a crash is, and how many more there are."""
    known = finding.known if finding else ()
    more = len(known) - KNOWN
    return (*map(known_issue, known[:KNOWN]), *([f"and {more} more in result.json"] * (more > 0)))


def _finding_rows(finding: Finding | None) -> Iterator[tuple[str, tuple[str, ...]]]:
    if finding is None:
        return
    yield "What", (finding.what,)
    yield "Where", (finding.where or "unknown",)
    yield "Task", (finding.who or "unknown",)
    yield "When", (finding.when or "unknown",)
    yield "Machine", (_machine(finding.machine),)
    yield "Before", first_before(finding)
    yield "Taint", (finding.taint,)
    yield "Modules", (finding.kmods,)


def _machine(machine: Machine | None) -> str:
    if machine is None:
        return ""
    bios = f", BIOS {machine.bios}" if machine.bios else ""
    return f"{machine.model}{bios}{f' of {machine.bios_date}' if machine.bios_date else ''}"


def _judgement_rows(report: Report) -> Iterator[tuple[str, tuple[str, ...]]]:
    if report.finding is None:
        return
    yield "Sure", (report.finding.confidence,)
    yield "Seen before", seen(report.finding)
    yield "Seen on", seen_on(report.finding)


def _kernel(report: Report) -> str:
    dump, match = report.dump, report.match
    if dump is None:
        return ""
    words = [f"{dump.osrelease or 'unknown release'} {dump.arch}"]
    build_id = dump.build_id or (match.kernel.build_id if match else None)
    if build_id:
        words.append(f"build-id {build_id}")
    words.append(f"matched by {match.evidence}" if match else "no debuginfo")
    return ", ".join(words)


def _dump(dump: Dump | None) -> str:
    if dump is None:
        return ""
    words = [f"{dump.format}, {human_size(dump.size_bytes)}"]
    if dump.compression:
        words.append(dump.compression)
    if dump.dump_level is not None:
        words.append(f"dump level {dump.dump_level}")
    words.append(f"damaged: {lacks(dump.missing)}" if dump.missing else wholeness(dump))
    return ", ".join(words)


def lacks(missing: Sequence[Missing]) -> str:
    """What is missing and where that begins; of very many things the first."""
    told = [located(lack.what, lack.offset) for lack in missing[:LACKS]]
    more = len(missing) - LACKS
    return "; ".join([*told, f"and {more:,} more"] if more > 0 else told)


def _next_steps(report: Report) -> tuple[str, ...]:
    steps = report.finding.next_steps if report.finding else ()
    hint = (report.hint,) if report.hint else ()
    return (*hint, *steps)


def _wrapped(row: Row) -> list[str]:
    mark = len(row.texts) > 1
    lines: list[str] = []
    for text in row.texts:
        lines += textwrap.wrap(
            text,
            WIDTH - _LABEL,
            initial_indent="- " if mark else "",
            subsequent_indent="  " if mark else "",
            break_on_hyphens=False,
        )
    return lines


def _fit(heights: list[int], room: int) -> list[int]:
    """How many lines each row may have: the tallest give way first, the last of them soonest."""
    limits = list(heights)
    while sum(limits) > room and max(limits) > 1:
        tallest = max(limits)
        limits[len(limits) - 1 - limits[::-1].index(tallest)] -= 1
    return limits


def _cut(lines: list[str], limit: int) -> list[str]:
    if len(lines) <= limit:
        return lines
    last = lines[limit - 1][: WIDTH - _LABEL - 2]
    return [*lines[: limit - 1], f"{last} …"]


def _labelled(label: str, lines: list[str]) -> list[str]:
    return [f"{label if not number else '':<{_LABEL}}{line}" for number, line in enumerate(lines)]
