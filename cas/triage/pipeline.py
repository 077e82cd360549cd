"""The pipeline: one short list of steps from an uploaded dump to the ticket's results.

Only :mod:`cas.triage.triage` imports this, once drgn is on its way in a process of its own.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cas.catalogue.extraction import extract
from cas.choices import Checked, DetectorStatus, Stage
from cas.dump import SEARCH_BYTES, glance, identify, require_modest
from cas.dump.reassemble import with_reason
from cas.engines.drgn.prestart import Prestart
from cas.errors import (
    AmbiguousKernel,
    CasError,
    ConfigError,
    DumpChanged,
    EngineError,
    LimitExceeded,
    NotPermitted,
    TryAgain,
    shortage,
)
from cas.files.whole import writing_below
from cas.jobs.job import Job
from cas.model import Case, Dump, FirstAnswer, Match, Stored
from cas.progress import Progress
from cas.report.evidence import causes
from cas.settings import users
from cas.settings.config import Config
from cas.triage.debugger import Debugging
from cas.triage.kernel import Supply
from cas.triage.kmods import FIRST_ANSWER_S, FOR_DETECTORS

if TYPE_CHECKING:
    from cas.dump.checking import Checking


class Pipeline(Debugging):
    """The steps of one run, each adding to what it knows."""

    def __init__(self, job: Job, config: Config, progress: Progress, prestart: Prestart) -> None:
        """Prepare a run; nothing is done yet."""
        super().__init__(job, config, progress, prestart)
        self.said: dict[str, str | None] = {}
        self.found: set[str] = set()
        self.checking: Checking | None = None

    def analyse(self) -> CasError | None:
        """Everything between the upload and the last section; what stopped it."""
        try:
            # crash ends with it: what it writes is complete before anything is published
            with ExitStack() as self.stack, self.arrival, writing_below(self.job.directory):
                self.supply = Supply(self, self.stack)
                self.run()
        except CasError as error:
            self.progress.note(str(error), logging.ERROR)
            self.progress.note("it came from here", logging.DEBUG, error=error)
            if isinstance(error, DumpChanged):
                self.disown()
            if isinstance(error, NotPermitted):
                error.hint = users.hint(error, self.config)
            self.know(verdict=error.verdict, reason=str(error), hint=error.hint or None)
            self.know(offset=error.offset)
            if isinstance(error, AmbiguousKernel):
                self.know(rivals=error.rivals)
            if isinstance(error, LimitExceeded):
                self.know(limits_hit=(*self.report.limits_hit, error.limit))
            # what the site mends, the job can wait for
            is_ours = isinstance(error, ConfigError)
            self.is_over = error.exit_code != TryAgain.exit_code and not is_ours
            return error
        self.judge()
        return None

    def run(self) -> None:
        """The stages; whatever stops them but an interruption, the dump is kept."""
        try:
            self.run_stages()
        except (CasError, MemoryError, RuntimeError, OSError) as error:
            told = error if isinstance(error, CasError) else shortage(error)
            if told is None:
                raise
            self.finish_source()
            self.finish_check()
            self.keep()
            if told is error:
                raise
            raise told from error
        self.finish_source()
        self.finish_check()
        self.keep()

    def run_stages(self) -> None:
        """The stages in order; each adds to the report what it found out."""
        head = self.receive()
        early = self.foresee(head)
        dump = self.identify(self.open(head))
        case = self.fitting.fitted(dump, partial(self.kernel_for, early=early))
        beginning = self.prepare_crash(case)
        answer = self.answer(case)
        self.detect(answer)
        if self.job.order.wants_kmods:
            self.kmods.extract_all(answer)
        crash = beginning.result() if beginning else self.begin_crash()
        self.run_snippets(crash, self.render(case.dump, answer))
        self.reached(Stage.ANALYSED)

    def receive(self) -> Path:
        """A file that begins as the dump does; the rest may still be copied or unpacked."""
        with self.timed("store"):
            return self.arrival.begin()

    def foresee(self, head: Path) -> Match | None:
        """The kernel of a dump that is still being unpacked, found and extracted meanwhile."""
        if self.job.stored or self.arrival.is_plain(head):
            return None
        dump = glance(head)
        if dump is None or dump.build_id is None:
            return None
        self.tell_identity(dump)
        try:
            with self.timed("foresight"):
                match = self.supply.find(dump)
                self.tell_kernel(match)
                self.supply.prepare(match, FOR_DETECTORS)
        except CasError as error:
            self.progress.note(f"not found beforehand: {error}")
            return None
        return match

    def tell_identity(self, dump: Dump) -> None:
        """Say once which kernel it is; again only where the whole dump says another."""
        facts = {"release": dump.osrelease, "arch": dump.arch, "build_id": dump.build_id}
        if facts != self.said:
            known = (dump.arch, dump.build_id and f"build-id {dump.build_id}", dump.format)
            release = f"Linux {dump.osrelease or 'of unknown release'}"
            self.progress.say(", ".join((release, *filter(None, known))))
        self.said = facts

    def tell_kernel(self, match: Match) -> None:
        """Say once by what the kernel was found, and where."""
        line = f"Kernel found by {match.evidence}: {match.kernel.source.name}"
        if line not in self.found:
            self.progress.say(line)
            self.found.add(line)

    def keep(self) -> None:
        """Note that the dump is safe in the job directory, once it is what was received.

        :raises DumpChanged: it is not
        """
        if not self.job.stored and not self.arrival.has_begun:
            return
        stored, files = self.arrival.kept()
        if not self.job.stored:
            self.reached(Stage.STORED, stored=stored, files=files)
            self.job.save()
            self.arrival.forget_download()

    def open(self, head: Path) -> Path:
        """A file that holds all of the dump; what its wrapping lost is told."""
        if self.arrival.is_plain(head):
            return head
        with self.timed("store"):
            stored = self.arrival.stored()
        self.admit(stored)
        return stored.vmcore

    def admit(self, stored: Stored) -> None:
        """What came, and what the way here cost it."""
        self.know(stored=stored)
        for remark in stored.remarks:
            self.progress.warn(remark)
        for missing in stored.missing:
            self.progress.warn(f"the upload is damaged: {missing.what}")

    def identify(self, path: Path) -> Dump:
        """What the dump says about itself."""
        with self.timed("identify"), self.progress.bar("Reading the dump", None):
            dump = identify(path, self.config.buffer_size_bytes or SEARCH_BYTES)
        stored = self.report.stored
        if stored and stored.parts:
            dump = with_reason(dump, stored.missing)
        self.know(dump=dump)
        self.begin_check(dump)
        self.reached(Stage.IDENTIFIED)
        self.tell_identity(dump)
        for remark in dump.remarks:
            self.progress.warn(remark)
        for missing in dump.missing:
            self.progress.warn(f"the dump is damaged: {missing.what}")
        require_modest(dump)
        return dump

    def begin_check(self, dump: Dump) -> None:
        """Have all pages checked beside everything else, where they are too many to wait for."""
        if dump.checked is Checked.SAMPLED:
            from cas.dump.checking import Checking  # most dumps in ELF need none

            checking = Checking(dump, self.arrival.settled, self.job.directory)
            self.checking = self.stack.enter_context(checking)

    def finish_check(self) -> None:
        """What was found of the pages, and what that makes of the verdict on the crash."""
        dump, checking = self.report.dump, self.checking
        if dump is None or checking is None:
            return
        with self.timed("page check"):
            self.wait_for(checking)
        for problem in checking.problems():
            self.progress.note(problem)
        judged = checking.judged(dump)
        for missing in judged.missing:
            if missing not in dump.missing:
                self.progress.warn(f"the dump is damaged: {missing.what}")
        self.know(dump=judged)
        self.reconsider()

    def wait_for(self, checking: Checking) -> None:
        """Wait while pages are checked still, and show it."""
        with ExitStack() as shown:
            advance, seen = None, 0
            for _ in checking.until_over():
                if advance is None and checking.count:
                    text = f"Checking {checking.count:,} pages"
                    advance = shown.enter_context(self.progress.bar(text, checking.count, "pages"))
                if advance is not None:
                    advance(checking.checked - seen)
                    seen = checking.checked

    def match(self, dump: Dump, early: Match | None) -> Match:
        """The kernel that crashed, and why it is believed to be the right one."""
        match = early
        if match is None or match.kernel.build_id != dump.build_id:
            with self.timed("match"):
                match = self.supply.find(dump)
        self.know(match=match, remarks=(*self.report.remarks, *match.remarks))
        for remark in match.remarks:
            self.progress.warn(remark)
        self.reached(Stage.MATCHED)
        self.tell_kernel(match)
        return match

    def extract(self, dump: Dump, match: Match) -> extract.Extraction:
        """The vmlinux, and the kmods of the log's call traces for their file and line."""
        with self.timed("extract"):
            found = self.supply.extract(dump, match, self.kmods.foreseen(dump))
        self.know(vmlinux=found.vmlinux)
        self.kmods.take_foreseen(dump, found.found)
        self.reached(Stage.PREPARED)
        return found

    def kernel_for(self, dump: Dump, *, early: Match | None) -> Case:
        """The dump with the kernel that its words name, and what else drgn needs."""
        found = self.extract(dump, self.match(dump, early))
        kept = replace(dump, path=self.arrival.stored().vmcore)
        traced = self.kmods.traced(dump, found.found)
        return Case(kept, found.vmlinux, traced)

    def answer(self, case: Case) -> FirstAnswer | None:
        """What crashed, where and why, told as soon as it is known."""
        answer = None
        if self.fitting.misfit is not None:
            self.degrade(str(self.fitting.misfit))
            self.conclude(case.dump, None)
            return None
        try:
            with self.timed("first answer"), self.progress.bar("Asking drgn what crashed", None):
                answer = self.worker.answer(case, FIRST_ANSWER_S)
        except EngineError as error:
            self.degrade(f"drgn gave no first answer: {error}")
        if answer is not None:
            answer = self.kmods.look_closer(answer)
        self.conclude(case.dump, answer)
        return answer

    def detect(self, answer: FirstAnswer | None) -> None:
        """What the detectors find in the dump; what explains the crash is told at once."""
        if answer is None:
            return
        kind = self.report.finding.kind if self.report.finding else ""
        self.kmods.supply_detectors(answer)
        try:
            with self.timed("detectors"), self.progress.bar("Looking for evidence", None):
                detections = self.worker.detect(answer, kind)
        except EngineError as error:
            self.remark(f"no detector ran: {error}")
            return
        self.know(detections=detections)
        for line in causes(detections):
            self.progress.say(line)
        for each in detections:
            if each.status in (DetectorStatus.FAILED, DetectorStatus.TIMEOUT):
                self.progress.note(f"{each.detector}: {each.status}: {each.remark}")
