"""The verdict on a crash, by what a site knows; whether it was seen before; that on a job."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from cas import findings
from cas.choices import Verdict
from cas.database.records import Crashed
from cas.errors import CasError
from cas.model.answer import FirstAnswer
from cas.model.dump import Dump
from cas.model.evidence import Detection
from cas.model.finding import Finding
from cas.model.kernel import Match
from cas.model.occurrence import Seen
from cas.model.report import Report
from cas.settings.config import Config
from cas.triage.context import Context

if TYPE_CHECKING:
    from cas.findings.known import Issue

FAULTS = 5
"""Of the files of known issues, that are told one by one."""


class Judge:
    """Judges crashes; what the site has is read once, what is broken of it costs only itself."""

    def __init__(
        self, config: Config, warn: Callable[[str], None], remark: Callable[[str], None]
    ) -> None:
        """Prepare; nothing is read yet.

        :param warn: told of a file of functions that cannot be used
        :param remark: told of known issues that cannot be used, which the report says, too
        """
        self._config, self._warn, self._remark = config, warn, remark

    def get_ready(self, dump: Dump) -> None:
        """Read what verdicts are made by; nothing is made of the dump's log, which may be long."""
        findings.find(replace(dump, dmesg=None), None, None, self.functions, self.known_issues)

    def judged(self, dump: Dump, answer: FirstAnswer | None, match: Match | None) -> Finding:
        """The verdict on a crash."""
        return findings.find(dump, answer, match, self.functions, self.known_issues)

    def detections_of_log(self, dump: Dump, finding: Finding) -> tuple[Detection, ...]:
        """What the kernel log alone has of what detectors look for."""
        return findings.detections_of_log(dump, finding.kind)

    def advised(self, report: Report) -> Finding | None:
        """The verdict of a report, with what to do next by all that was found in the dump."""
        dump, finding = report.dump, report.finding
        found = (*report.detections, *findings.as_detections(report.fault))
        if dump and finding and found:
            crash = findings.crash_of(dump, report.answer, self.functions)
            finding = findings.advised(finding, crash, dump, report.match, found)
        return finding and findings.with_advice(finding, report.fault)

    @cached_property
    def functions(self) -> findings.Functions | None:
        """What is known of kernel functions, where the site adds to it."""
        if self._config.functions is None:
            return None
        try:
            return findings.functions_with(self._config.functions)
        except findings.BadPatterns as error:
            self._warn(f"{error}; the verdict does without")
            return None

    @cached_property
    def known_issues(self) -> Sequence[Issue]:
        """What the site knows of crashes."""
        if not self._config.known_issues:
            return ()
        from cas.findings.known import load_known

        known = load_known(self._config.known_issues)
        for fault in known.faults[:FAULTS]:
            self._remark(f"known issues: {fault}")
        if len(known.faults) > FAULTS:
            self._remark(f"known issues: {len(known.faults) - FAULTS} more; see: cas-admin known")
        return known.issues


def seen_before(report: Report, digest: str | None, context: Context) -> Seen | None:
    """Earlier occurrences of a crash; a database of no use costs only this.

    :param digest: the dump's: it tells another crash from the same dump
    """
    try:
        return context.store.jobs.seen(Crashed.of(report, digest))
    except CasError as error:
        context.progress.warn(f"similar crashes cannot be looked up: {error}")
        return None


def job_verdict(
    report: Report, own_snippets: Collection[str], context: Context
) -> tuple[Verdict, str | None]:
    """The verdict on a job that came to its end, and why it is not ``complete``.

    :param own_snippets: names of those that the site has written
    """
    damage = findings.assess(report)
    lacking = findings.shortfall(report.sections, own_snippets, context.problems)
    if lacking.skipped:
        context.note(lacking.skipped)
    if lacking.unanswered:
        context.remark(lacking.unanswered)
    if lacking.reason:
        context.degrade(lacking.reason)
    reasons = (*([damage.reason] if damage else []), *context.problems)
    if reasons:
        return Verdict.PARTIAL, "; ".join(reasons)
    return Verdict.COMPLETE, None
