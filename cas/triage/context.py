"""What a run of a job knows so far, and how that is published at its end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from typing import Any

from cas import findings
from cas.catalogue import Catalogue
from cas.choices import Engine, Stage, Verdict
from cas.database.records import Crashed, JobRecord
from cas.database.store import Store
from cas.engines import salvage
from cas.engines.crash.wrapper import COMMANDS, TRANSCRIPT, WRAPPER
from cas.errors import CasError
from cas.jobs import seal
from cas.jobs.job import RESULTS, Job
from cas.jobs.sharing import share
from cas.model import Dump, Finding, FirstAnswer, Report
from cas.progress import Progress
from cas.report.evidence import causes
from cas.report.seen_before import sighted
from cas.report.summary import known_issues
from cas.settings.config import Config
from cas.triage.judging import Judge
from cas.triage.upload import Arrival

REPORTS = "cas.report.report"
"""The module that draws the reports."""


class Run:
    """A job under way: its record, its report, and where both end up."""

    def __init__(self, job: Job, config: Config, progress: Progress, sandbox: str) -> None:
        """Begin to know.

        :param sandbox: what the debuggers run in, for the report
        """
        self.job = job
        self.config = config
        self.progress = progress
        self.store = Store.of(config)
        self.catalogue = Catalogue.of(config, self.store)
        self.arrival = Arrival(job, config, progress)
        self.judging = Judge(config, progress.warn, self.remark)
        self.is_over = True
        """Whether the verdict stands; a full disk or a busy database leave the job unfinished."""
        self.problems: list[str] = []
        """Why the verdict cannot be ``complete``, in sentences."""
        self.notes: list[str] = []
        """What a reader should know besides; a list, since crash begins in a thread of its own."""
        self.has_looked_back = False
        """Whether the index was asked for earlier occurrences of the crash."""
        self.seconds: dict[str, float] = {}
        self.report = self._blank = Report(
            ticket=job.order.ticket,
            directory=job.directory,
            upload=job.order.url or str(job.order.upload),
            server=socket.gethostname(),
            started=job.started,
            verdict=Verdict.FAILED,
            stage=job.stages[-1],
            seconds=self.seconds,
            sandbox=sandbox,
        )

    def know(self, **facts: Any) -> None:
        """Add to what the report says."""
        self.report = replace(self.report, **facts)

    def reached(self, stage: Stage, **facts: Any) -> None:
        """Note that a stage is finished; the job's record is saved when results are safe."""
        self.job = self.job.having(stage, **facts)

    def remark(self, text: str) -> None:
        """Tell, once, what a reader should know of how the dump was analysed: it costs nothing."""
        if text not in self.notes:
            self.progress.warn(text)
            self.notes.append(text)

    def degrade(self, problem: str) -> None:
        """Tell something that keeps the verdict from being ``complete``."""
        self.progress.warn(problem)
        self.problems.append(problem)

    def disown(self) -> None:
        """Take back what was said of the dump, and the files with it: it is of something else."""
        for section in self.report.sections:
            section.path.unlink(missing_ok=True)
        for name in (COMMANDS, TRANSCRIPT, WRAPPER, *salvage.TITLES):
            (self.job.directory / name).unlink(missing_ok=True)
        self.report = replace(self._blank, stored=self.report.stored)
        self.problems.clear()
        self.notes.clear()
        self.job = replace(self.job, stages=self.job.stages[:2])

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long a stage took."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - begun

    def conclude(self, dump: Dump, answer: FirstAnswer | None) -> None:
        """The verdict on the crash, told at once."""
        finding = self.judging.judged(dump, answer, self.report.match)
        self.know(answer=answer, finding=finding)
        for line in finding.undecided:
            self.progress.warn(line)
        for line in _headlines(finding):
            self.progress.say(line)
        if answer is None:
            self.know(detections=findings.detections_of_log(dump, finding.kind))
            for line in causes(self.report.detections):
                self.progress.say(line)
        if self.digest:
            self.look_back()

    def reconsider(self) -> None:
        """The verdict on the crash once more, now that more is known of the dump."""
        report = self.report
        if report.dump and report.finding:
            finding = self.judging.judged(report.dump, report.answer, report.match)
            self.know(finding=replace(finding, seen=report.finding.seen))

    @property
    def digest(self) -> str | None:
        """That of the dump, once it is known."""
        return self.job.digest or self.arrival.digest

    def look_back(self) -> None:
        """Whether the crash happened before, told once; a database of no use costs only this.

        The dump's digest tells other crashes from the same dump, so this waits for it.
        """
        finding = self.report.finding
        if finding is None or finding.seen is not None or self.has_looked_back:
            return
        self.has_looked_back = True
        try:
            seen = self.store.jobs.seen(Crashed.of(self.report, self.digest))
        except CasError as error:
            self.progress.warn(f"similar crashes cannot be looked up: {error}")
            return
        finding = replace(finding, seen=seen)
        self.know(finding=finding)
        for line in sighted(finding):
            self.progress.say(f"seen before: {line}")

    def preload(self) -> None:
        """Load the template engine in the background, while a debugger opens the dump."""
        threading.Thread(target=import_module, args=(REPORTS,), name="reports", daemon=True).start()

    def publish(self, now: datetime) -> None:
        """Everything that was found out, into the job directory and the index of jobs."""
        # the template engine is loaded only now: the first answer does not wait for it
        from cas.report.report import write_report

        if self.report.dump and not self.report.finding:
            self.conclude(self.report.dump, None)
        self.know(finding=self.judging.advised(self.report))
        self.look_back()
        if self.report.dump and not self.report.sections:
            self.salvage(self.report.dump)
        if damage := findings.assess(self.report, self.arrival.arrived_bytes):
            self.know(recovered=damage.recovered, customer_note=damage.customer_note)
            self.know(offset=damage.offset if self.report.offset is None else self.report.offset)
        self.know(stage=self.job.stages[-1], remarks=(*self.report.remarks, *self.notes))
        if self.report.dump and self.job.stored:
            self.know(dump=replace(self.report.dump, path=self.job.stored.vmcore))
        if not self.is_over:  # the job goes on: its records say one thing
            self.know(verdict=Verdict.INTERRUPTED)
        with self.timed("report"):
            seal.settle(self.job)
            write_report(self.report)
        told = [self.job.directory / name for name in RESULTS]
        told += [section.path for section in self.report.sections]
        share(self.job, told, self.config, self.progress)
        self.record()
        if self.is_over:
            self.queue_mail(now)
            self.reached(Stage.REPORTED, verdict=self.report.verdict)
            self.job = seal.seal(self.job)
        else:
            self.job = replace(self.job, verdict=Verdict.INTERRUPTED)
        # from here on the job counts as ended
        self.job.save()

    def salvage(self, dump: Dump) -> None:
        """What the dump says without a debugger, where none came to run."""
        if sections := salvage.salvaged_sections(dump, self.job.directory):
            ladder = (*self.report.ladder, Engine.SALVAGE)
            self.know(sections=sections, engine=Engine.SALVAGE, ladder=ladder)

    def record(self) -> None:
        """The job's row in the index; the directory counts, so a busy database is only said."""
        try:
            self.store.jobs.put(JobRecord.of(self.report, self.digest))
        except CasError as error:
            self.progress.warn(f"the job is not in the index: {error}; later run: cas-admin index")

    def queue_mail(self, now: datetime) -> None:
        """The mail, ready to be sent once the job's lock is released."""
        from cas.report.mail import compose
        from cas.report.outbox import queue

        email = self.job.order.email
        if not email:
            return
        try:
            queue(compose(self.report, email, self.config.mail, now), self.job.directory)
        except CasError as error:
            self.progress.warn(f"there is no mail to {email}: {error}")


def _headlines(finding: Finding) -> Iterator[str]:
    for issue in known_issues(finding):
        yield f"known issue: {issue}"
    yield finding.what
    if finding.where:
        yield ", ".join(filter(None, (f"in {finding.where}", finding.who)))
    if finding.choice and finding.data:
        yield f"sure of the choice: {finding.choice.level}, of the data: {finding.data.level}"
