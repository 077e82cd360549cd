"""The first screen of a report: one value, which text, HTML, mail and JSON draw.

Its order is that in which a reader asks: what is it, how far did we come, where, who, when, what
else was going on, what shows it, how sure, seen before, what next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cas.choices import Checked, Level, Verdict, Weight
from cas.frozen import dataclass
from cas.model.dump import Missing
from cas.model.finding import Finding
from cas.model.report import Report
from cas.report.before_crash import first_before
from cas.report.evidence import evidence_of
from cas.report.seen_before import named_jobs, seen_on, seen_phrases
from cas.text import is_link, known_issue, located, one_line, short_line, wholeness
from cas.units import human_size, utc

LACKS = 20
"""Missing things that are listed; ``result.json`` has them all."""
KNOWN = 5
"""ShownIssue issues that text tells; ``result.json`` has them all."""


@dataclass(frozen=True, slots=True)
class Point:
    """One thing to say, printable, on one line."""

    text: str
    command: str = ""
    """What shows it in ``cas debug``."""
    source: str = ""
    """What it rests on."""
    details: tuple[str, ...] = ()
    """More of it, a line each."""
    level: Level | None = None
    """How sure it is, where that is what is said."""
    jobs: tuple[str, ...] = ()
    """Jobs that the text names: ``TICKET`` or ``TICKET/STAMP``."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is said under one label."""

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class ShownIssue:
    """A known issue that the crash is; all text is printable."""

    text: str
    """All of it on one line."""
    name: str
    advice: str
    fixed_in: str
    doubt: str
    link: str
    """Empty, or a link that a reader can be given."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The first screen; all text is printable."""

    ticket: str
    started: str
    title: str
    """What the crash is called; of a job without one, how it ended."""
    is_named: bool
    """The title is that of a crash."""
    verdict: str
    reason: str
    known: tuple[ShownIssue, ...]
    facts: tuple[Fact, ...]
    next_steps: tuple[str, ...]
    go_on: str
    """The command that opens the debugger; empty where there is nothing to open."""
    machine: tuple[Fact, ...]
    """What the crash happened on, and what is known of it: of use once the rest was read."""
    directory: str
    server: str


def summary(report: Report) -> Summary:
    """The first screen of a report."""
    finding = report.finding
    title = finding.title or finding.what if finding else report.reason or ""
    known = [
        ShownIssue(
            text=short_line(known_issue(issue)),
            name=short_line(issue.name),
            advice=short_line(issue.advice),
            fixed_in=short_line(", ".join(issue.fixed_in)),
            doubt=short_line(issue.doubt or ""),
            # such as nothing but a link to a page is, wherever the record came from
            link=one_line(issue.link) if issue.link and is_link(issue.link) else "",
        )
        for issue in (finding.known if finding else ())
    ]
    steps = finding.next_steps if finding else ()
    if report.hint:
        # a job that waits for its kernel tells which one in its reason, how to get it in the hint
        dump = report.dump if report.verdict is Verdict.WAITING else None
        build_id = dump.build_id if dump else None
        steps = (report.hint, *(step for step in steps if not (build_id and build_id in step)))
    directory = report.directory
    # of an upload, which is no job, the crash's id has the ticket's place
    is_job = directory.parent.name == report.ticket
    job = f"{directory.parent.name}/{directory.name}" if is_job else report.ticket
    can_debug = report.dump is not None and report.match is not None
    if report.dump and report.dump.checked is Checked.RANGES and report.verdict is Verdict.PARTIAL:
        from cas.fetch.url import is_whole, to_fetch  # for few jobs

        steps = (f"fetch the rest of the dump: {to_fetch(report.ticket, report.upload)}", *steps)
        can_debug = can_debug and is_whole(report.upload)
    return Summary(
        ticket=one_line(report.ticket),
        started=utc(report.started),
        title=short_line(title or report.verdict),
        is_named=finding is not None,
        verdict=one_line(report.verdict),
        reason=short_line(report.reason or ""),
        known=tuple(known),
        facts=tuple(_crash_facts(report)),
        next_steps=tuple(short_line(step) for step in steps if step),
        go_on=one_line(f"cas debug {job}") if can_debug else "",
        machine=tuple(_machine_facts(report)),
        directory=one_line(str(report.directory)),
        server=one_line(report.server),
    )


def known_issues(finding: Finding | None) -> tuple[str, ...]:
    """The known issues that a crash is, and how many more there are."""
    known = finding.known if finding else ()
    return some_known(tuple(map(known_issue, known)))


def some_known(told: Sequence[str]) -> tuple[str, ...]:
    """The first of many known issues, and how many more there are."""
    more = len(told) - KNOWN
    return (*told[:KNOWN], *([f"and {more} more in result.json"] * (more > 0)))


def missing_phrase(missing: Sequence[Missing]) -> str:
    """What is missing and where that begins; of very many things the first."""
    told = [located(lack.what, lack.offset) for lack in missing[:LACKS]]
    more = len(missing) - LACKS
    return "; ".join([*told, f"and {more:,} more"] if more > 0 else told)


def _fact(label: str, *texts: str | None) -> Iterator[Fact]:
    """A fact, where there is something to say."""
    points = tuple(Point(short_line(text)) for text in texts if text)
    if points:
        yield Fact(label, points)


def _crash_facts(report: Report) -> Iterator[Fact]:
    finding = report.finding
    if finding is None:
        return
    yield from _fact("What", finding.what)
    yield from _fact("Where", finding.where or "unknown")
    yield from _fact("Task", finding.who or "unknown")
    yield from _fact("When", finding.when or "unknown")
    yield from _fact("Before", *first_before(finding))

    # what explains the crash, then what else the dump shows of that time
    fault = report.fault.evidence if report.fault else ()
    found = (*fault, *evidence_of(report.detections))
    is_log = bool(report.dump and report.dump.is_log)
    for label, weight in (("Evidence", Weight.CAUSE), ("Besides", Weight.CONTEXT)):
        shown = tuple(
            Point(
                short_line(each.sentence),
                command="" if is_log else one_line(each.command),  # nothing to run it in
                source=one_line(each.source),
                details=tuple(map(short_line, each.details)),
            )
            for each in found
            if each.weight is weight
        )
        if shown:
            yield Fact(label, shown)

    yield Fact("Sure", _sureness(finding))
    jobs = named_jobs(finding)
    before = seen_phrases(finding, is_log=is_log)
    yield Fact("Seen before", tuple(Point(short_line(text), jobs=jobs) for text in before))
    yield from _fact("Seen on", *seen_on(finding))


def _sureness(finding: Finding) -> tuple[Point, ...]:
    """How sure the choice is, and the data that it was made from."""
    if finding.choice is None or finding.data is None:
        return (Point(short_line(finding.confidence or "unknown")),)
    told = (("choice", finding.choice), ("data", finding.data))
    return tuple(
        Point(short_line(f"{what} {sure.level}: {', '.join(sure.why)}"), level=sure.level)
        for what, sure in told
    )


def _machine_facts(report: Report) -> Iterator[Fact]:
    finding, dump, match = report.finding, report.dump, report.match
    if finding is not None:
        machine = finding.machine
        if machine is not None:
            bios = f", BIOS {machine.bios}" if machine.bios else ""
            made = f" of {machine.bios_date}" if machine.bios_date else ""
            yield from _fact("Machine", f"{machine.model}{bios}{made}")
        yield from _fact("Taint", finding.taint)
        yield from _fact("Modules", finding.kmods)
    if dump is not None:
        kernel = [f"{dump.osrelease or 'unknown release'} {dump.arch}"]
        build_id = dump.build_id or (match.kernel.build_id if match else None)
        if build_id:
            kernel.append(f"build-id {build_id}")
        kernel.append(f"matched by {match.evidence}" if match else "no debuginfo")
        yield from _fact("Kernel", ", ".join(kernel))

        words = [f"{dump.format}, {human_size(dump.size_bytes)}"]
        if dump.compression:
            words.append(dump.compression)
        if dump.dump_level is not None:
            words.append(f"dump level {dump.dump_level}")
        words.append(
            f"damaged: {missing_phrase(dump.missing)}" if dump.missing else wholeness(dump)
        )
        yield from _fact("Dump", ", ".join(words))
    yield from _fact("Recovered", ", ".join(report.recovered))
