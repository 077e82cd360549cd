"""The pipeline: one short list of steps from an uploaded dump to the ticket's results.

A step takes values and gives one. Only here they become the report, so that whatever stops a run,
what it has found out by then is published.

Only :mod:`cas.triage.triage` imports this, once drgn is on its way in a process of its own.
"""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property, partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from cas.choices import Checked, Engine, EngineChoice, Fetch, Stage, Verdict
from cas.dump import SEARCH_BYTES, glance, identify, require_modest
from cas.dump.reassemble import with_reason
from cas.engines.drgn.prestart import Prestart
from cas.engines.drgn.process import NOTHING
from cas.errors import (
    CasError,
    DumpChanged,
    EngineError,
    KernelMisfit,
    NotADump,
    NotPermitted,
    shortage,
)
from cas.files.whole import writing_below
from cas.jobs.attempt import begin_anew
from cas.jobs.job import Job
from cas.jobs.layout import DOWNLOAD
from cas.model.answer import FirstAnswer
from cas.model.case import Case
from cas.model.dump import Dump
from cas.model.evidence import Detection
from cas.model.finding import Finding
from cas.model.kernel import FOR_DETECTORS, Match
from cas.model.report import Report
from cas.model.snippet import Snippet
from cas.progress import Progress
from cas.settings import users
from cas.settings.config import Config
from cas.triage import page_check
from cas.triage.asking_drgn import detections, first_answer
from cas.triage.context import Context
from cas.triage.early_answer import EarlyAnswer, leave_rest
from cas.triage.kernel import KernelSupply
from cas.triage.kernel_choice import KernelChoice
from cas.triage.kmods import Kmods
from cas.triage.telling import Announcer
from cas.triage.upload import Arrival

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cas.dump.checking import Checking
    from cas.model.host import Host
    from cas.triage.crash_run import CrashRun
    from cas.triage.fault import FaultReader
    from cas.triage.snippets import ChosenSnippets
    from cas.triage.verdict import Judge

JUDGING = ("cas.klog.fault_lines", "cas.klog.oom_report", "cas.findings", "cas.triage.verdict")
"""Modules that judge, the slowest to import one by one."""
CRASH_RUN = "cas.triage.crash_run"
"""The module that has crash run somewhere, which may begin before the first answer."""
REPORTS = "cas.report.report"
"""The module that draws the reports."""


class Pipeline:
    """One run of a job."""

    def __init__(
        self,
        job: Job,
        config: Config,
        progress: Progress,
        prestart: Prestart,
        again: str | None = None,
    ) -> None:
        """Prepare a run; nothing is done yet.

        :param again: the command to go on with an upload, which ends with the first answer and the
            evidence; ``None``: it is a job
        """
        self.job = job
        self.context = Context(job, config, progress)
        progress.note(f"sandbox of the debuggers: {prestart.sandbox}")
        if prestart.confinement.sandbox is None and config.supervision.sandbox != "none":
            progress.warn(f"sandbox of the debuggers: {prestart.sandbox}")
        self.report = self._blank = Report(
            ticket=job.order.ticket,
            directory=job.directory,
            upload=job.order.url or str(job.order.upload),
            server=socket.gethostname(),
            started=job.started,
            verdict=Verdict.FAILED,
            stage=job.stages[-1],
            seconds=self.context.seconds,
            sandbox=prestart.sandbox,
        )
        self.confinement = prestart.confinement
        self.worker = prestart.worker
        self.worker.trace_into(job.directory, progress.note)
        self.worker.remark_by(self.context.remark)
        self.engine = job.order.engine or config.engine
        self.wants_snippets = again is None
        self.stack = ExitStack()
        """Ends what the run starts."""
        self.arrival = Arrival(job, config, progress, again)
        self.tell = Announcer(progress)
        self.supply = KernelSupply(self.context, self.stack, self.tell)
        self.kmods = Kmods(self.context, self.worker)
        self.misfit: KernelMisfit | None = None
        """Why nothing that is read through the kernel can be believed."""
        self.checking: Checking | None = None
        self.crash: CrashRun | None = None
        self.preparations: Iterator[None] = NOTHING
        """What is left of getting ready for the verdict."""
        self.has_looked_back = False
        """Whether the index was asked for earlier occurrences of the crash."""

    @cached_property
    def judge(self) -> Judge:
        """Who gives the verdicts."""
        from cas.triage.verdict import Judge

        context = self.context
        return Judge(context.config, context.progress.warn, context.remark)

    @cached_property
    def faults(self) -> FaultReader:
        """Who reads the fault."""
        from cas.triage.fault import FaultReader

        return FaultReader(self.context, self.worker, self.kmods)

    def analyse(self) -> CasError | None:
        """Everything between the upload and the last section; what stopped it."""
        progress = self.context.progress
        try:
            # crash ends with it: what it writes is complete before anything is published
            with self.stack, self.arrival, writing_below(self.job.directory):
                own_snippets = self.run()
        except CasError as error:
            progress.note(str(error), logging.ERROR)
            progress.note("it came from here", logging.DEBUG, error=error)
            if isinstance(error, DumpChanged):
                self.disown()
            if isinstance(error, NotPermitted):
                error.hint = users.hint(error, self.context.config)
            if self.job.order.takes and not self.job.stored:
                self.context.remark(f"{self.report.upload} was not moved: it stays where it is")
            from cas.triage.completion import stopped

            self.report = stopped(self.report, error)
            return error
        from cas.triage.verdict import job_verdict

        verdict, reason = job_verdict(self.report, own_snippets, self.context)
        self.report = replace(self.report, verdict=verdict, reason=reason)
        return None

    def run(self) -> frozenset[str]:
        """The stages; whatever stops them but an interruption, the dump is kept.

        :return: names of the snippets that the site has written
        """
        try:
            own_snippets = self.run_on_what_was_copied()
        except (CasError, MemoryError, RuntimeError, OSError) as error:
            told = error if isinstance(error, CasError) else shortage(error)
            if told is None:
                raise
            self.finish()
            if told is error:
                raise
            raise told from error
        self.finish()
        return own_snippets

    def run_on_what_was_copied(self) -> frozenset[str]:
        """The stages; once more of the copy, if what was read where it lay is another file by now.

        What the other file gave counts for nothing, be it a verdict or an error.
        """
        stopped_by, own_snippets = None, frozenset[str]()
        try:
            own_snippets = self.run_stages()
        except CasError as error:
            stopped_by = error
        change = self.arrival.change()
        if change is None:
            if stopped_by is not None:
                raise stopped_by
            return own_snippets
        self.stack.close()
        self.disown()
        self.tell.retract()
        self.context.remark(f"{change}: the copy was read once more")
        return self.run_stages()

    def run_stages(self) -> frozenset[str]:
        """The stages in order; each adds to the report what it found out."""
        early = EarlyAnswer(self.arrival, self.context, self.worker, self.tell, self)
        is_told_before = self.job.is_answer_alone and self.context.fetch is not Fetch.ANSWER
        spent = None if is_told_before else early.by_ranges()
        self.report = replace(self.report, by_ranges=spent)
        answered = self.report.dump if spent else None
        if answered and spent and self.context.fetch is Fetch.ANSWER:
            self.begin_anew()
            leave_rest(answered, spent, self.context)
            return frozenset()
        head = self.receive()
        self.begin_anew()
        if answered:  # all of it is there now, and counts
            self.disown()
        foreseen = self.foresee(head)
        before = early.before_unpacked()
        dump = self.identify(self.unpacked(head))
        if before and self.report.stored and self.report.stored.missing:
            where = f", in {before.where}" if before.where else ""
            self.context.remark(
                f"told by pieces of the damaged upload that unpack alone: {before.what}{where}"
            )
        if answered and (dump.size_bytes, dump.build_id) != (
            answered.size_bytes,
            answered.build_id,
        ):
            self.tell.retract()
            self.report = replace(self.report, by_ranges=None)
            self.context.remark(
                "what was fetched is another dump than the one that was read by ranges: what was"
                " told of that does not count"
            )
        if dump.is_log:
            self.arrival.let_go()
            self.judge_log(dump)
            return frozenset()
        choice = KernelChoice(self.context, self.worker, self.supply, self.kmods, self.arrival)
        case = self.fitting_case(choice, dump, foreseen)
        self.arrival.let_go()
        answer = self.first_answer(case, partial(self.prepare_crash_on_host, case))
        crash = self.prepare_crash(case)
        if answer and self.report.finding:
            kind = self.report.finding.kind
            self.note_detections(detections(answer, kind, self.worker, self.kmods, self.context))
        if crash is None:
            self.reached(Stage.ANALYSED)
            return frozenset()
        if self.job.order.wants_kmods:
            answer = self.extract_all_kmods(answer)
        is_begun = self.begin_crash(crash)
        if answer:
            self.trace_deeply(answer)
        from cas.triage.snippets import choose_snippets

        chosen = choose_snippets(self.context, self.confinement, self.worker, case.dump, answer)
        self.run_snippets(chosen, crash if is_begun else None)
        self.reached(Stage.ANALYSED)
        return chosen.own

    def judge_part(self, dump: Dump, begun: Callable[[Case], None]) -> Finding | None:
        """What crashed, of a dump of which some bytes can be had; each step is told at once."""
        self.describe(dump)
        choice = KernelChoice(self.context, self.worker, self.supply, self.kmods, None)
        answer = self.first_answer(self.fitting_case(choice, dump, None, begun))
        if answer is None and dump.dmesg is None:  # the whole of it can be searched for the log
            raise NotADump(
                "neither the kernel log nor anything else of the kernel's memory is where the dump"
                " says"
            )
        return self.report.finding

    def begin_anew(self) -> None:
        """Let go of the answer of an earlier run, now that there is more to tell."""
        if self.job.is_answer_alone:
            self.job = begin_anew(self.job)

    def receive(self) -> Path:
        """A file that begins as the dump does; the rest may still be copied or unpacked."""
        with self.context.timed("store"):
            return self.arrival.begin()

    def foresee(self, head: Path) -> Match | None:
        """The kernel of a dump that is still being unpacked, found and extracted meanwhile."""
        if self.job.stored or self.arrival.is_plain(head):
            return None
        dump = glance(head)
        if dump is None or dump.build_id is None:
            return None
        self.tell.dump(dump)
        try:
            with self.context.timed("foresight"):
                match = self.supply.find(dump)
                self.supply.extract_beforehand(match, FOR_DETECTORS)
        except CasError as error:
            self.context.progress.note(f"not found beforehand: {error}")
            return None
        return match

    def unpacked(self, head: Path) -> Path:
        """A file that holds all of the dump; what its wrapping lost is told."""
        if self.arrival.is_plain(head):
            return head
        with self.context.timed("store"):
            stored = self.arrival.stored()
        self.report = replace(self.report, stored=stored)
        for remark in stored.remarks:
            self.context.progress.warn(remark)
        for missing in stored.missing:
            self.context.progress.warn(f"the upload is damaged: {missing.what}")
        return stored.vmcore

    def identify(self, path: Path) -> Dump:
        """What the dump says about itself."""
        context, progress = self.context, self.context.progress
        stored = self.report.stored
        sidecars = stored.sidecars if stored else ()
        with context.timed("identify"), progress.bar("Reading the dump", None):
            try:
                dump = identify(path, context.config.buffer_size_bytes or SEARCH_BYTES)
            except NotADump as lack:
                if self.job.directory / DOWNLOAD in path.parents:  # called as it was given
                    lack.args = (str(lack).replace(str(path), path.name),)
                from cas.dump.beside import log_in_place_of  # few dumps are none

                dump = log_in_place_of(lack, path, sidecars)
        if sidecars and not dump.is_log:
            from cas.dump.beside import with_log_beside

            dump, beside = with_log_beside(dump, sidecars)
            if beside:
                context.remark(f"the kernel log is {beside.name}, which came with the dump")
        if stored and stored.parts:
            dump = with_reason(dump, stored.missing)
        if dump.checked is Checked.SAMPLED:  # too many pages to wait for
            from cas.dump.checking import Checking  # most dumps in ELF need none

            self.checking = Checking(dump, self.arrival.settled, self.job.directory)
        self.describe(dump)
        return dump

    def describe(self, dump: Dump) -> None:
        """Tell what a dump says about itself."""
        self.report = replace(self.report, dump=dump)
        self.reached(Stage.IDENTIFIED)
        self.tell.dump(dump)
        self.tell.flaws(dump)
        require_modest(dump)

    def judge_log(self, dump: Dump) -> None:
        """The verdict on the crash of a kernel log, with lines of the source if it has a kernel."""
        from cas.engines.crash.wrapper import write_commands
        from cas.triage.crash_run import leave_wrapper
        from cas.triage.log_alone import located_log

        ready = partial(self.judge.get_ready, dump)
        located = located_log(dump, self.supply, self.worker, self.context, ready)
        self.job = replace(self.job, lacks_kernel=located.lacks_kernel)
        self.report = replace(
            self.report, dump=located.dump, match=located.match, vmlinux=located.vmlinux
        )
        self.conclude(located.dump, None)
        if located.vmlinux and self.wants_snippets:
            places = (each.place for each in located.dump.locations)
            commands = tuple(f"sym {each.function}+{each.offset:#x}" for each in places)
            lines = Snippet("lines", "Lines of the source", commands)
            write_commands(self.job.directory, [lines])
            leave_wrapper(self.context, None)
        self.reached(Stage.ANALYSED)

    def fitting_case(
        self,
        choice: KernelChoice,
        dump: Dump,
        foreseen: Match | None,
        begun: Callable[[Case], None] = lambda _: None,
    ) -> Case:
        """The dump with the kernel that fits it, and what else drgn needs.

        :param foreseen: the kernel that was found for its beginning
        :param begun: called when drgn has begun to open it
        """
        self.preparations = self.prepared(dump)

        def meanwhile(case: Case) -> Iterator[None]:
            begun(case)
            return chain(self.preparations, self.imported((CRASH_RUN,)))

        try:
            return choice.fitting_case(dump, foreseen, meanwhile)
        finally:
            self.misfit = choice.misfit
            self.report = replace(
                self.report, dump=choice.dump, match=choice.match, vmlinux=choice.vmlinux
            )
            if choice.match:
                self.reached(Stage.MATCHED)
            if choice.vmlinux:
                self.reached(Stage.PREPARED)

    def prepared(self, dump: Dump) -> Iterator[None]:
        """Get ready what judges, a part at each step: drgn waits for us no longer than for one."""
        yield from self.imported(JUDGING)
        self.judge.get_ready(dump)
        yield

    @staticmethod
    def imported(names: Iterable[str]) -> Iterator[None]:
        """Import modules, one at each step."""
        for name in names:
            import_module(name)
            yield

    def first_answer(
        self, case: Case, meanwhile: Callable[[], object] = lambda: None
    ) -> FirstAnswer | None:
        """What crashed, where and why, as drgn sees it; the verdict is told at once.

        :param meanwhile: called while drgn looks for it
        """
        answer = None

        def rest() -> Iterator[None]:
            yield from self.preparations
            meanwhile()

        if self.misfit is None:
            tell = partial(self.tell_crash, case.dump)
            answer = first_answer(case, self.worker, self.context, tell, rest())
            if answer and self.report.match:
                answer = self.kmods.look_closer(answer, self.report.match)
        else:
            self.context.degrade(str(self.misfit))
        self.conclude(case.dump, answer)
        return answer

    def tell_crash(self, dump: Dump, answer: FirstAnswer) -> None:
        """Tell the verdict by what of the answer it is made of, while drgn reads the rest."""
        self.tell.verdict(self.judge.judged(dump, answer, self.report.match))
        self.arrival.want_copy()

    def conclude(self, dump: Dump, answer: FirstAnswer | None) -> None:
        """The verdict on the crash, told at once; then what the fault itself gives away."""
        match = self.report.match
        finding = self.judge.judged(dump, answer, match)
        self.report = replace(self.report, answer=answer, finding=finding)
        self.tell.verdict(finding)
        self.arrival.want_copy()
        self.begin_checking()
        self.context.store.preload()
        if answer is None:
            self.note_detections(self.judge.detections_of_log(dump, finding))
        if self.digest:
            self.look_back()
        fault = self.faults.fault(dump, answer, match)
        self.report = replace(self.report, fault=fault)
        self.tell.fault(fault)

    def begin_checking(self) -> None:
        """Have the pages of the dump looked at, if it has any to check; the answer comes first."""
        if self.checking and not self.checking.has_begun:
            self.stack.enter_context(self.checking)

    def note_detections(self, found: tuple[Detection, ...]) -> None:
        """What explains the crash is told at once."""
        self.report = replace(self.report, detections=found)
        self.tell.evidence(found)

    def trace_deeply(self, answer: FirstAnswer) -> None:
        """What panicked and ran, with its variables, while crash reads the dump."""
        if not self.context.config.deep_trace:
            return
        from cas.triage.deep_trace import deep_trace

        traced = deep_trace(answer, self.report.match, self.worker, self.kmods, self.context)
        self.report = replace(self.report, glide=traced)

    def extract_all_kmods(self, answer: FirstAnswer | None) -> FirstAnswer | None:
        """The answer that knows which kmods have debuginfo, now that all are at hand."""
        dump, match = self.report.dump, self.report.match
        if dump and match:
            answer = self.kmods.extract_all(dump, match, answer)
            self.report = replace(self.report, answer=answer)
        return answer

    def prepare_crash_on_host(self, case: Case) -> None:
        """Let crash begin early, if it may on a host; here it would only hinder drgn."""
        hosts: tuple[Host, ...] = ()
        if self.wants_snippets and self.context.config.hosts.use != "never":
            with suppress(CasError):  # whoever needs them says what is wrong
                hosts = self.context.store.registered_hosts()
        if hosts:
            self.prepare_crash(case)

    def prepare_crash(self, case: Case) -> CrashRun | None:
        """crash, wherever it may run; on a host it begins now, beside drgn.

        :return: the same each time; ``None``: no snippets are wanted
        """
        if self.crash or not self.wants_snippets:
            return self.crash
        from cas.triage.crash_run import CrashRun

        kept = replace(case, dump=replace(case.dump, path=self.arrival.vmcore()))
        crash = CrashRun(kept, self.kmods, self.engine, self.confinement, self.context)
        self.stack.enter_context(crash)
        if not self.job.order.wants_kmods:
            crash.begin_on_host(self.arrival.written)
        self.crash = crash
        return crash

    def begin_crash(self, crash: CrashRun) -> bool:
        """Have crash read the dump while the snippets are prepared; whether it can run anywhere."""
        from cas.triage.crash_run import leave_wrapper

        is_begun = crash.begin(self.arrival.stored)
        if not is_begun and (lack := crash.lack()):
            self.go_on_without_crash(lack)
        leave_wrapper(self.context, None if is_begun else EngineChoice.DRGN)
        return is_begun

    def go_on_without_crash(self, error: EngineError) -> None:
        """Go on with drgn, unless the user wants crash and nothing else."""
        if self.engine is EngineChoice.CRASH:
            raise error
        if self.misfit is not None:
            raise self.misfit from error
        self.context.remark(f"{error}: drgn did it" if self.report.answer else str(error))

    def run_snippets(self, chosen: ChosenSnippets, run: CrashRun | None) -> None:
        """Each snippet into its file: in crash where it serves, else in drgn."""
        from cas.engines.crash.wrapper import write_commands, write_transcript
        from cas.triage.snippets import (
            ladder_of,
            run_snippets,
            unusable_sections,
            with_rungs,
            with_section,
        )

        directory, context = self.job.directory, self.context
        for section in unusable_sections(chosen, directory):
            self.report = with_section(self.report, section, context)
        write_commands(directory, chosen.runnable)
        crash = run.crash if run and self.open_crash(run, chosen.prelude) else None
        if self.misfit is not None and (crash is None or crash.is_minimal):
            raise self.misfit  # --minimal does not look whether the kernel fits
        engine = Engine.CRASH if crash else Engine.DRGN
        self.report = replace(self.report, engine=engine)
        ladder = ladder_of(crash, self.worker, chosen, self.report, self.engine)
        for section in run_snippets(chosen, ladder, engine, context):
            self.report = with_section(self.report, section, context)
        if run and crash:
            self.tell_places(run)
        else:
            write_transcript(directory, self.report.sections)
        rungs = run.crash.ladder if run else ()
        self.report = with_rungs(self.report, rungs, ladder, context)

    def open_crash(self, run: CrashRun, prelude: tuple[str, ...]) -> bool:
        """Wait until crash has read the dump; whether it could, somewhere."""
        from cas.engines.crash.conversation import Preparation
        from cas.triage.crash_run import expected_dump, leave_wrapper

        # the template engine is loaded while a debugger opens the dump
        threading.Thread(target=import_module, args=(REPORTS,), name="reports", daemon=True).start()
        extensions = self.context.config.extensions
        preparation = Preparation(self.kmods.certain, extensions, prelude)
        try:
            run.open(expected_dump(self.report, self.engine), preparation)
        except EngineError as error:
            self.report = replace(self.report, ladder=run.crash.ladder)
            self.go_on_without_crash(error)
            leave_wrapper(self.context, EngineChoice.DRGN)
            return False
        return True

    def tell_places(self, run: CrashRun) -> None:
        """Where crash ran in the end, and which places were lost on the way."""
        if lost := run.lost():
            self.go_on_without_crash(lost)
            return
        place = run.crash.place
        self.report = replace(self.report, host=place.name if place else None)
        for text in run.places_told():
            self.context.note(text)

    def finish(self) -> None:
        """What others found beside the debuggers; then the dump is safe in the job directory.

        :raises DumpChanged: it is not what was received
        """
        self.report = replace(self.report, fault=self.faults.finish_source(self.report.fault))
        if self.report.dump and self.checking:
            self.begin_checking()
            dump = page_check.checked(self.report.dump, self.checking, self.context)
            self.report = replace(self.report, dump=dump)
            if finding := self.report.finding:  # more is known of the dump now
                judged = self.judge.judged(dump, self.report.answer, self.report.match)
                self.report = replace(self.report, finding=replace(judged, seen=finding.seen))
        if not self.job.stored and not self.arrival.has_begun:
            return
        stored, files = self.arrival.kept()
        if not self.job.stored:
            self.job = replace(self.job.having(Stage.STORED), stored=stored, files=files)
            self.job.save()
            known = self.report.stored.remarks if self.report.stored else ()
            for remark in stored.remarks[len(known) :]:
                self.context.progress.say(remark)
            self.report = replace(self.report, stored=stored)
        try:
            self.arrival.clear_away()
        except NotPermitted as error:
            self.context.remark(f"{error}; {error.hint}")

    def disown(self) -> None:
        """Take back what was said of the dump, and the files with it: it is of something else."""
        from cas.triage.completion import remove_results

        if not self.job.is_answer_alone:  # an earlier run's are kept
            remove_results(self.report)
        told = self.report
        self.report = replace(self._blank, stored=told.stored, by_ranges=told.by_ranges)
        self.misfit = self.checking = self.crash = None
        self.has_looked_back = False
        self.context.problems.clear()
        self.context.remarks.clear()
        self.job = replace(self.job, stages=self.job.stages[:2])

    def completed_report(self) -> Report:
        """The report as it is published, whatever has stopped the run."""
        from cas.triage.completion import completed

        if self.report.dump and not self.report.finding:
            self.conclude(self.report.dump, None)
        self.report = replace(self.report, finding=self.judge.advised(self.report))
        self.look_back()
        arrived_bytes = self.arrival.arrived_bytes
        return completed(self.report, self.job, arrived_bytes, self.context)

    @property
    def digest(self) -> str | None:
        """That of the dump, once it is known."""
        return self.job.digest or self.arrival.digest

    def look_back(self) -> None:
        """Whether the crash happened before, told once; it waits for the dump's digest."""
        finding = self.report.finding
        if finding is None or finding.seen is not None or self.has_looked_back:
            return
        from cas.triage.verdict import seen_before

        self.has_looked_back = True
        if seen := seen_before(self.report, self.digest, self.context):
            finding = replace(finding, seen=seen)
            self.report = replace(self.report, finding=finding)
            is_log = bool(self.report.dump and self.report.dump.is_log)
            self.tell.seen_before(finding, is_log=is_log)

    def reached(self, stage: Stage) -> None:
        """Note that a stage is finished; the job's record is saved when results are safe."""
        self.job = self.job.having(stage)
