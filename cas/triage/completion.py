"""The report as it is published, whatever ended its run."""

from __future__ import annotations

from dataclasses import replace

from cas import findings
from cas.choices import Engine, Verdict
from cas.dump.log_file import is_of_kdump, tail_of
from cas.engines import salvage
from cas.engines.crash.wrapper import COMMANDS, TRANSCRIPT, WRAPPER
from cas.errors import AmbiguousKernel, CasError, ConfigError, LimitExceeded, TryAgain
from cas.jobs.job import Job
from cas.jobs.layout import DEEP_TRACE
from cas.klog.log_text import TEXT_LIMIT, kernel_lines
from cas.model.report import Report
from cas.triage.context import Context


def stopped(report: Report, error: CasError) -> Report:
    """The report of a run that an error has stopped."""
    # what the site mends, the job can wait for
    goes_on = isinstance(error, ConfigError) or error.exit_code == TryAgain.exit_code
    limits = (error.limit,) if isinstance(error, LimitExceeded) else ()
    return replace(
        report,
        verdict=Verdict.INTERRUPTED if goes_on else error.verdict,
        reason=str(error),
        hint=error.hint or None,
        offset=error.offset,
        rivals=error.rivals if isinstance(error, AmbiguousKernel) else (),
        limits_hit=(*report.limits_hit, *limits),
    )


def completed(report: Report, job: Job, arrived_bytes: int | None, context: Context) -> Report:
    """A report whose crash has been judged, with what follows from all of it.

    Where no debugger came to run, what the dump says without one becomes its sections.

    :param arrived_bytes: size of the upload as it came; ``None``: it is not there any more
    """
    if report.dump and not report.sections:
        sections = salvage.salvaged_sections(report.dump, job.directory)
        if sections:
            engine = Engine.LOG if report.dump.is_log else Engine.SALVAGE
            sections = tuple(replace(each, engine=engine) for each in sections)
            rungs = (*report.ladder, engine)
            report = replace(report, sections=sections, engine=engine, ladder=rungs)
    if damage := findings.assess(report, arrived_bytes):
        report = replace(
            report,
            recovered=damage.recovered,
            customer_note=damage.customer_note,
            offset=damage.offset if report.offset is None else report.offset,
        )
    report = _with_kdump_failure(report, context)
    if report.dump and job.stored:
        report = replace(report, dump=replace(report.dump, path=job.stored.vmcore))
    return replace(report, stage=job.stages[-1], remarks=tuple(context.remarks))


def _with_kdump_failure(report: Report, context: Context) -> Report:
    """A report on a dump that is not whole, or is none, with the reason that came beside it."""
    sidecars = report.stored.sidecars if report.stored else ()
    log = next((path for path in sidecars if is_of_kdump(path.name)), None)
    is_whole = report.dump and report.dump.is_whole and not report.dump.is_log
    if log is None or (is_whole and not (report.stored and report.stored.missing)):
        return report
    failure = findings.kdump_failure(kernel_lines(tail_of(log, TEXT_LIMIT)))
    if failure is None:
        return report
    context.remark(f"why there is no whole dump: the crash kernel says that {failure.what}")
    paragraphs = (report.customer_note, findings.failure_paragraph(failure))
    return replace(report, customer_note="\n\n".join(filter(None, paragraphs)))


def remove_results(report: Report) -> None:
    """Remove the files that say something of a dump: it is not what was received."""
    for section in report.sections:
        section.path.unlink(missing_ok=True)
    for name in (COMMANDS, TRANSCRIPT, WRAPPER, *DEEP_TRACE, *salvage.TITLES):
        (report.directory / name).unlink(missing_ok=True)
