"""The pipeline: one short list of steps from an uploaded dump to the ticket's results.

Only :mod:`cas.triage` imports this, once drgn is on its way in a process of its own.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cas import findings, resources, snippets, users
from cas.catalogue import extract
from cas.catalogue.cache import lease
from cas.config import Config
from cas.dump import SEARCH_BYTES, glance, identify, require_modest
from cas.engines import drgn
from cas.engines.handover import (
    TRANSCRIPT,
    CachedKernel,
    write_commands,
    write_transcript,
    write_wrapper,
)
from cas.engines.ladder import Ladder, Session
from cas.engines.opening import preparation
from cas.engines.place import Place
from cas.engines.relay import Relay
from cas.engines.workshop import Workshop
from cas.errors import (
    AmbiguousKernel,
    CasError,
    ConfigError,
    DumpChanged,
    EngineError,
    LimitExceeded,
    NotPermitted,
    TryAgain,
)
from cas.files import create, put, writing_below
from cas.fitting import Fitting
from cas.job import Job
from cas.kmods import FIRST_ANSWER_S, Kmods
from cas.model import Checked, Dump, FirstAnswer, Match, Section, Stored
from cas.progress import Progress
from cas.run import Run
from cas.supply import Supply
from cas.venues import Subject, Venues

if TYPE_CHECKING:
    from cas.dump.checking import Checking

log = logging.getLogger("cas")


class Pipeline(Run):
    """The steps of one run, each adding to what it knows."""

    def __init__(self, job: Job, config: Config, progress: Progress, workshop: Workshop) -> None:
        """Prepare a run; nothing is done yet."""
        super().__init__(job, config, progress, workshop.sandbox)
        log.info("sandbox of the debuggers: %s", workshop.sandbox)
        self.worker = workshop.worker
        self.worker.directory = job.directory
        self.room = workshop.room
        self.kmods = Kmods(self, workshop.worker)
        self.engine = job.order.engine or config.engine
        self.fitting = Fitting(self, workshop.worker)
        self.said = ""
        self.checking: Checking | None = None

    def analyse(self) -> CasError | None:
        """Everything between the upload and the last section; what stopped it."""
        try:
            # crash ends with it: what it writes is complete before anything is published
            with ExitStack() as self.stack, self.arrival, writing_below(self.job.directory):
                self.supply = Supply(self, self.stack)
                self.run()
        except CasError as error:
            log.error("%s", error)
            log.debug("it came from here", exc_info=error)
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
        damage = findings.assess(self.report)
        reason = "; ".join((*([damage.reason] if damage else []), *self.problems)) or None
        self.know(verdict="partial" if reason else "complete", reason=reason)
        return None

    def run(self) -> None:
        """The stages; whatever stops them but an interruption, the dump is kept."""
        try:
            self.run_stages()
        except CasError:
            self.finish_check()
            self.keep()
            raise
        self.finish_check()
        self.keep()

    def run_stages(self) -> None:
        """The stages in order; each adds to the report what it found out."""
        head = self.receive()
        early = self.foresee(head)
        dump = self.identify(self.open(head))
        other = partial(self.kernel_for, early=None, is_header_wrong=True)
        opened = self.fitting.fitted(self.kernel_for(dump, early), other)
        beginning = self.prepare_crash(opened)
        answer = self.answer(opened)
        if self.job.order.wants_kmods:
            self.kmods.extract_all(answer)
        relay = beginning.result() if beginning else self.begin_crash()
        self.run_snippets(relay, self.render(opened.dump, answer))
        self.reached("analysed")

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
                self.supply.vmlinux(match)
        except CasError as error:
            log.info("not found beforehand: %s", error)
            return None
        return match

    def tell_identity(self, dump: Dump) -> None:
        """Say once which kernel it is."""
        known = (dump.arch, dump.build_id and f"build-id {dump.build_id}", dump.format)
        line = ", ".join((f"Linux {dump.osrelease or 'of unknown release'}", *filter(None, known)))
        if line != self.said:
            self.progress.say(line)
        self.said = line

    def keep(self) -> None:
        """Note that the dump is safe in the job directory, once it is what was received.

        :raises DumpChanged: it is not
        """
        if not self.job.stored and not self.arrival.has_begun:
            return
        stored, files = self.arrival.kept()
        if not self.job.stored:
            self.reached("stored", stored=stored, files=files)
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
        self.know(dump=dump)
        self.begin_check(dump)
        self.reached("identified")
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
            log.info("%s", problem)
        judged = checking.judged(dump)
        for missing in judged.missing:
            if missing not in dump.missing:
                self.progress.warn(f"the dump is damaged: {missing.what}")
        self.know(dump=judged)
        self.judge()

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
        self.reached("matched")
        self.progress.say(f"Kernel found by {match.evidence}: {match.kernel.source.name}")
        return match

    def extract(self, dump: Dump, match: Match) -> extract.Extraction:
        """The vmlinux, and the kmods of the log's call traces for their file and line."""
        with self.timed("extract"):
            found = self.supply.extract(dump, match, self.kmods.foreseen(dump))
        self.know(vmlinux=found.vmlinux)
        self.kmods.files.update(found.kmods)
        self.reached("prepared")
        return found

    def kernel_for(
        self, dump: Dump, early: Match | None, *, is_header_wrong: bool = False
    ) -> drgn.Opened:
        """The dump with the kernel that its words name, and what else drgn needs."""
        found = self.extract(dump, self.match(dump, early))
        kept = replace(dump, path=self.arrival.stored().vmcore)
        traced = self.kmods.traced(dump, found.found)
        return drgn.Opened(kept, found.vmlinux, traced, is_header_wrong=is_header_wrong)

    def prepare_crash(self, opened: drgn.Opened) -> Future[Relay | None] | None:
        """Everywhere that crash may run; on a host it begins now, beside drgn.

        On this machine the two would only hinder one another.
        """
        dump, files = opened.dump, (opened.vmlinux, opened.dump.path)
        subject = Subject(dump.arch, dump.osrelease, *files, self.engine, kmods=self.kmods.files)
        transcript = self.stack.enter_context(create(self.job.directory / TRANSCRIPT))
        rules = self.config.supervision
        relay = Relay(self.next_place, rules, self.job.directory, transcript)
        self.relay = self.stack.enter_context(relay)
        pool = self.stack.enter_context(ThreadPoolExecutor(1, "crash"))
        venues = Venues(subject, self.config, self.room, self.catalogue, self.progress)
        self.venues = self.stack.enter_context(venues)
        if venues.hosts_come_first and not self.job.order.wants_kmods:
            return pool.submit(self.begin_crash)
        self.catalogue.preload()
        return None

    def next_place(self) -> Place | None:
        """Where crash is tried next."""
        return self.venues.next_place()

    def begin_crash(self) -> Relay | None:
        """A crash session, which reads the dump while the snippets are prepared."""
        relay, venues = None, self.venues
        if venues:
            relay = self.relay
            with self.timed("crash start"):
                relay.begin()
        elif self.engine == "crash" or venues.problems:
            self.give_up_crash(venues.nowhere())
        argv = self.by_hand(relay.place if relay else None)
        write_wrapper(self.job.directory, argv, self.cached_kernel())
        return relay

    def cached_kernel(self) -> CachedKernel | None:
        """The vmlinux as ``./crash`` finds it later; ``None`` for one outside of the cache."""
        vmlinux = self.report.vmlinux or Path()
        held = lease.file_for(self.config.debugs, vmlinux)
        fetch = [*self.debug_words(), "--engine", "drgn", "--script", os.devnull]
        return CachedKernel(vmlinux, held, fetch) if held else None

    def by_hand(self, place: Place | None) -> list[str | Path]:
        """The words that open the same debugger on the same dump."""
        vmcore = self.arrival.stored().vmcore
        vmlinux = self.report.vmlinux or Path()
        if place is None:
            return [sys.executable, "-m", "drgn", "-c", vmcore, "-s", vmlinux]
        if place.name is None and self.venues.here:
            return [self.venues.here.program, *self.kmods.option, vmlinux, vmcore]
        return self.debug_words()

    def debug_words(self) -> list[str | Path]:
        """The words that open a debugger wherever that is possible then."""
        config = self.config.file
        chosen: list[str | Path] = ["--config", config.absolute()] if config else []
        return [sys.executable, "-m", "cas", "debug", *chosen, self.job.directory]

    def answer(self, opened: drgn.Opened) -> FirstAnswer | None:
        """What crashed, where and why, told as soon as it is known."""
        answer = None
        if self.fitting.misfit is not None:
            self.degrade(str(self.fitting.misfit))
            self.conclude(opened.dump, None)
            return None
        try:
            with self.timed("first answer"), self.progress.bar("Asking drgn what crashed", None):
                answer = self.worker.answer(opened, FIRST_ANSWER_S)
        except EngineError as error:
            self.degrade(f"drgn gave no first answer: {error}")
        if answer is not None:
            answer = self.kmods.look_closer(answer)
        self.conclude(opened.dump, answer)
        return answer

    def render(self, dump: Dump, answer: FirstAnswer | None) -> snippets.Loaded:
        """The snippets that apply to this dump, as commands; ``crash.in`` has them too."""
        facts = snippets.Facts(
            dump.arch,
            dump.osrelease,
            [kmod.name for kmod in answer.kmods] if answer else [],
            dump.size_bytes,
        )
        directories = (resources.shipped("snippets") / "crash", *self.config.snippets)
        loaded = snippets.load(directories, facts, self.room)
        for remark in loaded.remarks:
            log.info("%s", remark)
        for broken in loaded.unusable:
            self.note_unusable(broken)
        write_commands(self.job.directory, loaded.snippets)
        return loaded

    def note_unusable(self, broken: snippets.Unusable) -> None:
        """A snippet that gave no commands has a section that says why."""
        path = self.job.directory / broken.name
        put(path, b"")
        self.take(Section(broken.name, broken.title, "failed", "none", path, error=broken.reason))

    def run_snippets(self, relay: Relay | None, loaded: snippets.Loaded) -> None:
        """Each snippet into its file: in crash where it serves, else in drgn."""
        chosen = loaded.snippets
        opened = relay if relay and self.is_opened(relay, loaded.prelude) else None
        if opened is None and self.fitting.misfit is not None:
            raise self.fitting.misfit
        engine = "crash" if opened else "drgn"
        assert self.report.dump is not None  # noqa: S101  it was identified long ago
        walking = [snippet for snippet in chosen if snippets.walks_tasks(snippet)]
        session = Session(opened, walking, self.engine == "crash") if opened else None
        ladder = Ladder(session, self.worker, self.report.dump)
        ladder.is_drgn_blind = self.report.answer is None
        self.know(engine=engine)
        text = f"Running {len(chosen)} snippets with {engine}"
        with self.timed("snippets"), self.progress.bar(text, len(chosen), "snippets") as step:
            for snippet in chosen:
                self.take(ladder.run(snippet, self.job.directory / snippet.name))
                step(1)
        for section in ladder.finish(self.job.directory):
            self.take(section)
        if opened:
            self.tell_losses(opened)
        else:
            write_transcript(self.job.directory, self.report.sections)
        self.tell_rungs(ladder, relay)

    def tell_rungs(self, ladder: Ladder, relay: Relay | None) -> None:
        """Which rungs were tried, and what the higher ones could not do."""
        self.know(ladder=(*(relay.ladder if relay else ()), *ladder.rungs))
        for lost, instead in ladder.given_up:
            if lost.status not in ("failed", "not run"):
                self.know(limits_hit=(*self.report.limits_hit, f"{lost.name}: {lost.status}"))
            self.degrade(f"{lost.name}: {lost.error}; done by {instead} instead")

    def tell_losses(self, relay: Relay) -> None:
        """Which places were lost on the way; that costs the verdict only if none was left."""
        if relay.losses and relay.place is None:
            self.give_up_crash(self.venues.nowhere("; ".join(relay.losses)))
            return
        place = relay.place
        host = place.name if place else None
        told = [f"crash ran on the analysis host {host}"] if host else []
        if place and place.sandbox not in (None, "bwrap"):
            told.append(f"sandbox of crash on {host}: {place.sandbox}")
        told += [f"crash had to move on: {loss}" for loss in relay.losses]
        for text in told:
            log.info("%s", text)
        self.know(host=host, remarks=(*self.report.remarks, *told))

    def is_opened(self, relay: Relay, prelude: Sequence[str]) -> bool:
        """Wait until crash has read the dump; whether it could, somewhere."""
        relay.prelude = preparation(prelude, self.config.extensions)
        relay.kmods = self.kmods.certain
        self.preload()
        try:
            with self.timed("crash start"), self.progress.bar("Opening it with crash", None):
                options = relay.open()
        except EngineError as error:
            self.know(ladder=relay.ladder)
            self.give_up_crash(self.venues.nowhere(str(error)))
            return False
        if options:
            self.degrade(f"crash opened the dump only with {options}")
        if not relay.sees_all_tasks:
            self.progress.warn("this crash does not see all tasks of this kernel: drgn lists them")
        return True

    def take(self, section: Section) -> None:
        """A section into the report; what went wrong is told, a broken limit degrades the job."""
        self.know(sections=(*self.report.sections, section))
        if section.status == "failed":
            # that drgn can read nothing was said once, and 22 times more is noise
            is_said = section.engine == "drgn" and self.report.answer is None
            tell = log.info if is_said else self.progress.warn
            tell(f"{section.name}: {section.error}")
        elif section.status != "ok":
            self.know(limits_hit=(*self.report.limits_hit, f"{section.name}: {section.status}"))
            self.degrade(f"{section.name}: {section.error}")

    def give_up_crash(self, error: EngineError) -> None:
        """Go on with drgn, unless the user wants crash and nothing else."""
        if self.engine == "crash":
            raise error
        if self.fitting.misfit is not None:
            raise self.fitting.misfit from error
        self.degrade(f"{error}; the snippets run through drgn instead")
