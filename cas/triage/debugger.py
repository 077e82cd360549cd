"""The debuggers of a run: where crash may run, the snippets, and what of them costs the verdict."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

from cas import findings
from cas.catalogue.extraction.source_packages import Search, Wanted, is_built_with
from cas.catalogue.source_lines import source_lines
from cas.choices import Engine, EngineChoice, SectionStatus, Verdict, Weight
from cas.engines.crash.conversation import Preparation
from cas.engines.crash.failover import CrashAnywhere
from cas.engines.crash.kaslr import crash_options
from cas.engines.crash.place import Place
from cas.engines.crash.rungs import ZERO_EXCLUDED
from cas.engines.crash.start_failures import ExpectedDump
from cas.engines.crash.wrapper import (
    TRANSCRIPT,
    Installation,
    write_commands,
    write_transcript,
    write_wrapper,
)
from cas.engines.drgn import process
from cas.engines.drgn.prestart import Prestart
from cas.engines.ladder import Ladder, Session
from cas.engines.outcome import LIMITS, skipped_section, with_skipped
from cas.errors import EngineError
from cas.fault_reading import Reading
from cas.files import shipped as resources
from cas.files.whole import create, put
from cas.hosts.demand import CrashDemand
from cas.jobs.job import Job
from cas.model import Case, Dump, Fault, FirstAnswer, Need, Section, Snippet
from cas.progress import Progress
from cas.settings.config import Config
from cas.snippets import snippets
from cas.triage.context import Run
from cas.triage.crash_places import Venues
from cas.triage.kernel_check import Fitting
from cas.triage.kmods import Kmods


class Debugging(Run):
    """A run with its debuggers: drgn, whose process runs already, and crash wherever it can."""

    stack: ExitStack
    """Ends what the run starts."""

    def __init__(self, job: Job, config: Config, progress: Progress, prestart: Prestart) -> None:
        """Take over what was prepared; nothing is asked of a debugger yet."""
        super().__init__(job, config, progress, prestart.sandbox)
        progress.note(f"sandbox of the debuggers: {prestart.sandbox}")
        if prestart.confinement.sandbox is None and config.supervision.sandbox != "none":
            progress.warn(f"sandbox of the debuggers: {prestart.sandbox}")
        self.worker = prestart.worker
        self.worker.trace_into(job.directory, progress.note)
        self.confinement = prestart.confinement
        self.kmods = Kmods(self, prestart.worker)
        self.engine = job.order.engine or config.engine
        self.fitting = Fitting(self, prestart.worker)
        self.source_search: Search | None = None
        self.own: frozenset[str] = frozenset()
        """Names of the snippets that the site has written."""

    def conclude(self, dump: Dump, answer: FirstAnswer | None) -> None:
        """The verdict on the crash, told at once; then what the fault itself gives away."""
        super().conclude(dump, answer)
        case = findings.fault_case(dump, answer)
        if case is None:
            return
        with self.timed("fault"):
            reading = self.reading(case, answer) if case.was_stopped else None
            fault = self.with_source(case.explained(reading), dump, answer)
        self.know(fault=fault)
        for each in fault.evidence if fault else ():
            if each.weight is Weight.CAUSE:
                self.progress.say(f"fault: {each.sentence}")

    def with_source(
        self, fault: Fault | None, dump: Dump, answer: FirstAnswer | None
    ) -> Fault | None:
        """A fault with the lines of its source, where a configured tree has them.

        Else packages are looked into meanwhile, see `finish_source`.
        """
        at = next((each for each in fault.code if each.is_fault), None) if fault else None
        match = self.report.match
        if fault is None or at is None or self.is_foreign(fault, answer):
            return fault
        release = match.kernel.release if match else dump.osrelease
        lines = source_lines(self.config.sources, release, at.file, at.line)
        if lines is None and match and at.file and at.line:
            wanted = Wanted(match.kernel, dump.banner, at.file, at.line)
            self.source_search = Search(wanted, self.catalogue.doubt)
        return findings.with_source(fault, lines) if lines else fault

    def is_foreign(self, fault: Fault, answer: FirstAnswer | None) -> bool:
        """Whether the code is a kmod's that was not built together with the kernel.

        Its source may have the name of a file of the kernel, as of a driver that it replaces.
        """
        kmods = answer.kmods if answer else ()
        if not any(kmod.name == fault.kmod and "O" in kmod.taint for kmod in kmods):
            return False
        match, file = self.report.match, self.kmods.files.get(fault.kmod or "")
        timeout_s = self.config.packages.timeout_s
        return not (match and file and is_built_with(match.kernel, file, timeout_s))

    def finish_source(self) -> None:
        """The lines of the fault's source that packages had."""
        search, fault = self.source_search, self.report.fault
        if search is None or fault is None:
            return
        with ExitStack() as shown:
            if search.is_slow():
                shown.enter_context(self.timed("source"))
                shown.enter_context(self.progress.bar("Looking for the source", None))
            found = search.finish(self.config.packages.timeout_s)
        if found.lines:
            self.know(fault=findings.with_source(fault, found.lines))
        for text in found.remarks:
            self.remark(text)

    def reading(self, case: findings.FaultCase, answer: FirstAnswer | None) -> Reading | None:
        """What the dump has of the fault, else what the code in the kernel log gives."""
        problem = None
        if answer is not None:
            try:
                return self.worker.fault(case.wanted())
            except EngineError as error:
                problem = str(error)
                self.progress.note(str(error))
        code = case.code()
        if code is None:
            return None
        try:
            reading = self.worker.decode(code)
        except EngineError as error:
            self.progress.note(str(error))
            return None
        return replace(reading, problems=(*reading.problems, *([problem] if problem else [])))

    def prepare_crash(self, case: Case) -> Future[CrashAnywhere | None] | None:
        """Everywhere that crash may run; on a host it begins now, beside drgn.

        On this machine the two would only hinder one another.
        """
        case = replace(case, kmods=self.kmods.files)
        options = crash_options(case.dump, case.vmlinux)
        demand = CrashDemand(case, self.engine, options=options)
        transcript = self.stack.enter_context(create(self.job.directory / TRANSCRIPT))
        rules = self.config.supervision
        crash = CrashAnywhere(
            self.next_place, rules, self.job.directory, transcript, self.progress.note
        )
        self.crash = self.stack.enter_context(crash)
        pool = self.stack.enter_context(ThreadPoolExecutor(1, "crash"))
        venues = Venues(demand, self.config, self.confinement, self.store, self.progress)
        self.venues = self.stack.enter_context(venues)
        if venues.hosts_come_first and not self.job.order.wants_kmods:
            return pool.submit(self.begin_crash)
        self.store.preload()
        return None

    def next_place(self) -> Place | None:
        """Where crash is tried next."""
        return self.venues.next_place()

    def begin_crash(self) -> CrashAnywhere | None:
        """A crash session, which reads the dump while the snippets are prepared."""
        crash, venues = None, self.venues
        if venues:
            crash = self.crash
            with self.timed("crash start"):
                crash.begin()
        elif self.engine is EngineChoice.CRASH or venues.problems:
            self.give_up_crash(venues.nowhere())
        self.hand_over(None if crash else EngineChoice.DRGN)
        return crash

    def hand_over(self, engine: EngineChoice | None) -> None:
        """Leave ``./crash`` for the user who goes on by hand.

        :param engine: where another than the configuration's serves
        """
        here = Installation(sys.executable, process.PACKAGES / "cas", self.config.file)
        write_wrapper(self.job.directory, here, ("--engine", engine) if engine else ())

    def render(self, dump: Dump, answer: FirstAnswer | None) -> snippets.Loaded:
        """The snippets that apply to this dump, as commands; ``crash.in`` has them too."""
        facts = snippets.Facts(
            dump.arch,
            dump.osrelease,
            [kmod.name for kmod in answer.kmods] if answer else [],
            dump.size_bytes,
        )
        shipped = resources.shipped("snippets") / "crash"
        loaded = snippets.load((shipped, *self.config.snippets), facts, self.confinement)
        self.own = snippets.outside(shipped, loaded)
        for remark in loaded.remarks:
            self.progress.note(remark)
        for broken in loaded.unusable:
            self.note_unusable(broken)
        return loaded

    def is_met(self, chosen: Sequence[Snippet]) -> Callable[[Need], bool]:
        """Tells whether the kernel meets a need of these snippets, as its vmlinux says."""
        needs = tuple({need for each in chosen for wanted in each.needs for need in wanted})
        lacking: frozenset[Need] = frozenset()
        try:
            lacking = self.worker.unmet(needs)
        except EngineError as error:
            self.progress.note(f"what the kernel has cannot be looked up: {error}")
        return lambda need: need not in lacking

    def note_unusable(self, broken: snippets.Unusable) -> None:
        """A snippet that gave no commands has a section that says why."""
        path = self.job.directory / broken.name
        put(path, b"")
        self.take(
            Section(
                broken.name,
                broken.title,
                SectionStatus.FAILED,
                Engine.NONE,
                path,
                error=broken.reason,
            )
        )

    def run_snippets(self, crash: CrashAnywhere | None, loaded: snippets.Loaded) -> None:
        """Each snippet into its file: in crash where it serves, else in drgn."""
        met = self.is_met(loaded.snippets)
        fitting = [(each, *snippets.fitting(each, met)) for each in loaded.snippets]
        chosen = [snippet for _, snippet, _ in fitting if snippet.commands]
        write_commands(self.job.directory, chosen)
        opened = crash if crash and self.is_opened(crash, loaded.prelude) else None
        if self.fitting.misfit is not None and (opened is None or opened.is_minimal):
            raise self.fitting.misfit  # --minimal does not look whether the kernel fits
        engine = Engine.CRASH if opened else Engine.DRGN
        assert self.report.dump is not None  # noqa: S101  it was identified long ago
        walking = [snippet for snippet in chosen if snippets.walks_tasks(snippet)]
        session = Session(opened, walking, self.engine is EngineChoice.CRASH) if opened else None
        ladder = Ladder(session, self.worker, self.report.dump)
        answer = self.report.answer
        ladder.is_drgn_blind = answer is None
        ladder.log = ladder.log or (answer.dmesg if answer else None)
        self.know(engine=engine)
        text = f"Running {len(chosen)} snippets with {engine}"
        with self.timed("snippets"), self.progress.bar(text, len(chosen), "snippets") as step:
            for whole, snippet, why in fitting:
                path = self.job.directory / snippet.name
                if not snippet.commands:
                    self.take(skipped_section(whole, why, path))
                    continue
                self.take(with_skipped(ladder.run_snippet(snippet, path), whole, why))
                step(1)
        for section in ladder.finish(self.job.directory):
            self.take(section)
        if opened:
            self.tell_losses(opened)
        else:
            write_transcript(self.job.directory, self.report.sections)
        self.tell_rungs(ladder, crash)

    def tell_rungs(self, ladder: Ladder, crash: CrashAnywhere | None) -> None:
        """Which rungs were tried, and what the higher ones could not do."""
        self.know(ladder=(*(crash.ladder if crash else ()), *ladder.rungs))
        lost = (outcome for outcome, _ in ladder.given_up if outcome.status in LIMITS)
        limits = (f"{outcome.command}: {outcome.status}" for outcome in lost)
        self.know(limits_hit=(*self.report.limits_hit, *limits))
        for outcome, engine in ladder.given_up:
            self.progress.note(f"{outcome.engine} did not answer, {engine} did: {outcome.error}")
        for text in findings.given_up(ladder.given_up):
            self.remark(text)

    def tell_losses(self, crash: CrashAnywhere) -> None:
        """Which places were lost on the way, and where crash ran in the end."""
        if crash.losses and crash.place is None:
            self.give_up_crash(self.venues.nowhere("; ".join(crash.losses)))
            return
        place = crash.place
        host = place.name if place else None
        told = [f"crash ran on the analysis host {host}"] if host else []
        if place and place.sandbox not in (None, "bwrap"):
            told.append(f"sandbox of crash on {host}: {place.sandbox}")
            self.progress.warn(told[-1])
        told += [f"crash had to move on: {loss}" for loss in crash.losses]
        for text in told:
            self.progress.note(text)
        self.know(host=host, remarks=(*self.report.remarks, *told))

    def is_opened(self, crash: CrashAnywhere, prelude: Sequence[str]) -> bool:
        """Wait until crash has read the dump; whether it could, somewhere."""
        crash.preparation = Preparation(self.kmods.certain, self.config.extensions, prelude)
        crash.expected = self.expected_dump()
        self.preload()
        try:
            with self.timed("crash start"), self.progress.bar("Opening it with crash", None):
                options = crash.open()
        except EngineError as error:
            self.know(ladder=crash.ladder)
            self.give_up_crash(self.venues.nowhere(str(error)))
            self.hand_over(EngineChoice.DRGN)
            return False
        if ZERO_EXCLUDED in options:
            self.degrade(
                f"crash opened the dump only with {options}: memory that it lacks reads as 0"
            )
        elif options:
            rest = (
                "it answers little so"
                if self.engine is EngineChoice.CRASH
                else "drgn does the rest"
            )
            self.remark(f"crash opened the dump only with {options}; {rest}")
        if not crash.sees_all_tasks:
            self.progress.warn("this crash does not see all tasks of this kernel: drgn lists them")
        return True

    def expected_dump(self) -> ExpectedDump:
        """What is known of the dump before crash has opened it."""
        dump, match, stored = self.report.dump, self.report.match, self.report.stored
        releases = (dump.osrelease if dump else None, match.kernel.release if match else None)
        is_whole = bool(dump and dump.is_whole and not (stored and stored.missing))
        # who wants crash and nothing else wants all of its rungs
        has_drgn = self.report.answer is not None and self.engine is not EngineChoice.CRASH
        return ExpectedDump(tuple(filter(None, releases)), is_whole=is_whole and has_drgn)

    def take(self, section: Section) -> None:
        """A section into the report; what it costs the verdict is judged with all the others."""
        self.know(sections=(*self.report.sections, section))
        if section.error:
            self.progress.note(f"{section.name}: {section.status}: {section.error}")
        if section.status in LIMITS:
            self.know(limits_hit=(*self.report.limits_hit, f"{section.name}: {section.status}"))

    def give_up_crash(self, error: EngineError) -> None:
        """Go on with drgn, unless the user wants crash and nothing else."""
        if self.engine is EngineChoice.CRASH:
            raise error
        if self.fitting.misfit is not None:
            raise self.fitting.misfit from error
        self.remark(f"{error}: drgn did it" if self.report.answer else str(error))

    def judge(self) -> None:
        """The verdict on a job that came to its end, and why it is not ``complete``."""
        damage = findings.assess(self.report)
        lacking = findings.shortfall(self.report.sections, self.own, self.problems)
        if lacking.skipped:
            self.progress.note(lacking.skipped)
            self.know(remarks=(*self.report.remarks, lacking.skipped))
        if lacking.unanswered:
            self.remark(lacking.unanswered)
        if lacking.reason:
            self.degrade(lacking.reason)
        reason = "; ".join((*([damage.reason] if damage else []), *self.problems)) or None
        self.know(verdict=Verdict.PARTIAL if reason else Verdict.COMPLETE, reason=reason)
