"""crash for a run: begun where it may run, opened, and which places were lost on the way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

from cas.choices import EngineChoice
from cas.engines.crash.conversation import Preparation
from cas.engines.crash.failover import CrashAnywhere
from cas.engines.crash.kaslr import crash_options
from cas.engines.crash.place import Place
from cas.engines.crash.rungs import ZERO_EXCLUDED
from cas.engines.crash.start_failures import ExpectedDump
from cas.engines.crash.wrapper import TRANSCRIPT, Installation, write_wrapper
from cas.engines.drgn.starting import PACKAGES
from cas.errors import EngineError
from cas.files.whole import create
from cas.hosts.demand import CrashDemand
from cas.model.case import Case
from cas.model.report import Report
from cas.supervise import Confinement
from cas.triage.context import Context
from cas.triage.crash_places import CrashPlaces
from cas.triage.kmods import Kmods


class CrashRun:
    """A context manager, at whose end crash has ended and what it wrote is complete."""

    def __init__(
        self,
        case: Case,
        kmods: Kmods,
        engine: EngineChoice,
        confinement: Confinement,
        context: Context,
    ) -> None:
        """Look where it may run; hosts are asked in the background.

        :param case: with the dump in the job directory
        :param kmods: whose files become part of the case when a place is taken
        :param confinement: of a crash on this machine
        """
        self._context = context
        self._case = case
        self._kmods = kmods
        self._is_demanded = engine is EngineChoice.CRASH
        config, progress, directory = context.config, context.progress, context.directory
        demand = CrashDemand(
            case.dump, case.vmlinux, engine, options=crash_options(case.dump, case.vmlinux)
        )
        with ExitStack() as stack:
            transcript = stack.enter_context(create(directory / TRANSCRIPT))
            self.crash = stack.enter_context(
                CrashAnywhere(
                    self._next_place,
                    config.supervision,
                    directory,
                    transcript,
                    progress.note,
                )
            )
            self._pool = stack.enter_context(ThreadPoolExecutor(1, "crash"))
            self._places = stack.enter_context(
                CrashPlaces(demand, config, confinement, context.store, progress)
            )
            self._stack = stack.pop_all()
        self._beginning: Future[bool] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin_on_host(self, written: Callable[[], object]) -> bool:
        """Begin at once, in the background, if a host is tried first; whether it is.

        On this machine drgn and crash would only hinder one another.

        :param written: waits until the dump is in the job directory
        """
        if self._places.hosts_come_first:
            self._beginning = self._pool.submit(self._begin, written)
        return self._beginning is not None

    def begin(self, written: Callable[[], object]) -> bool:
        """Start crash, unless it was; it reads the dump meanwhile.

        :param written: waits until the dump is in the job directory
        :return: whether there is any place for it
        """
        return self._beginning.result() if self._beginning else self._begin(written)

    def lack(self) -> EngineError | None:
        """Why there is no place for it; ``None``: nobody has asked for one."""
        is_of_note = self._is_demanded or self._places.problems
        return self._places.nowhere() if is_of_note else None

    def open(self, expected: ExpectedDump, preparation: Preparation) -> None:
        """Wait until crash has read the dump somewhere; what it was opened without is told.

        :raises EngineError: it has in no place
        """
        self.crash.expected, self.crash.preparation = expected, preparation
        context = self._context
        try:
            with context.timed("crash start"), context.progress.bar("Opening it with crash", None):
                options = self.crash.open()
        except EngineError as error:
            raise self._places.nowhere(str(error)) from error
        opened_with = f"crash opened the dump only with {options}"
        if ZERO_EXCLUDED in options:
            context.degrade(f"{opened_with}: memory that it lacks reads as 0")
        elif options:
            rest = "it answers little so" if self._is_demanded else "drgn does the rest"
            context.remark(f"{opened_with}; {rest}")
        if not self.crash.sees_all_tasks:
            context.progress.warn(
                "this crash does not see all tasks of this kernel: drgn lists them"
            )

    def lost(self) -> EngineError | None:
        """Why it runs nowhere any more, if it does not."""
        if self.crash.losses and self.crash.place is None:
            return self._places.nowhere("; ".join(self.crash.losses))
        return None

    def places_told(self) -> Iterator[str]:
        """Where crash ran in the end, and which places were lost on the way, in sentences."""
        place = self.crash.place
        if place and place.name:
            yield f"crash ran on the analysis host {place.name}"
        if place and place.sandbox not in (None, "bwrap"):
            told = f"sandbox of crash on {place.name}: {place.sandbox}"
            self._context.progress.warn(told)
            yield told
        for loss in self.crash.losses:
            yield f"crash had to move on: {loss}"

    def _next_place(self) -> Place | None:
        return self._places.next_place(replace(self._case, kmods=self._kmods.files))

    def _begin(self, written: Callable[[], object]) -> bool:
        if not self._places:
            return False
        written()
        with self._context.timed("crash start"):
            self.crash.begin()
        return True


def expected_dump(report: Report, engine: EngineChoice) -> ExpectedDump:
    """What is known of a dump before crash has opened it.

    :param engine: who wants crash and nothing else wants all of its rungs
    """
    dump, match, stored = report.dump, report.match, report.stored
    releases = (dump.osrelease if dump else None, match.kernel.release if match else None)
    is_whole = bool(dump and dump.is_whole and not (stored and stored.missing))
    has_drgn = report.answer is not None and engine is not EngineChoice.CRASH
    return ExpectedDump(tuple(filter(None, releases)), is_whole=is_whole and has_drgn)


def leave_wrapper(context: Context, engine: EngineChoice | None) -> None:
    """Leave ``./crash`` for the user who goes on by hand.

    :param engine: where another than the configuration's serves
    """
    here = Installation(sys.executable, PACKAGES / "cas", context.config.file)
    write_wrapper(context.directory, here, ("--engine", engine) if engine else ())
