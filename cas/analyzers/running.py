"""One analyzer on one crash: confined and watched as a job's debuggers are."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from cas.analyzers.analyzer import Analyzer
from cas.analyzers.command import CommandRun
from cas.analyzers.prepared import PreparedCrash
from cas.analyzers.sayings import Said, SayingPipe
from cas.analyzers.shell import ShellPlaces, shell_program
from cas.choices import AnalyzerKind
from cas.dump.served_source import SourceServer
from cas.engines.drgn.analyzing import AnalyzerCall, python_program
from cas.engines.drgn.glide import GlideModule, usable_modules
from cas.frozen import dataclass
from cas.settings.config import Config
from cas.supervise import Child, Confinement, VisibleFiles, describe_status, find_program
from cas.text import short_line
from cas.units import human_size

ANALYZER_S = 300.0
"""Seconds that an analyzer may take on one crash."""
EXIT_S = 5.0
"""Seconds between the end of its output and its own."""
LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may cost."""

    timeout_s: float = ANALYZER_S
    output_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Ran:
    """How an analyzer ended."""

    failure: str | None
    """Why it counts as failed; ``None``: it does not."""
    said: Said = field(default_factory=Said)


class Stopped(Exception):
    """Whoever wanted it does not any more."""


@contextmanager
def served(subject: PreparedCrash) -> Iterator[int | None]:
    """Descriptor of a socket that the dump is read through; ``None``: it is a file here."""
    if subject.source is None:
        yield None
        return
    with SourceServer(subject.source) as server:
        yield server.theirs.fileno()


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs analyzers; it may be used from several threads."""

    confinement: Confinement
    """Its directory gets one for each run."""
    limits: Limits
    config: Config
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when all runs shall end at once."""

    def run(self, analyzer: Analyzer, subject: PreparedCrash, output: BinaryIO) -> Ran:
        """Run an analyzer; what it prints goes into a file.

        :raises Stopped: it was told to stop
        """
        if analyzer.kind is AnalyzerKind.COMMAND:
            return self._run_command(analyzer, subject, output)
        if analyzer.kind is AnalyzerKind.PYTHON:
            return self._run_python(analyzer, subject, output)
        with self._room(subject.id) as room, SayingPipe() as pipe:
            crash = find_program(self.config.crash)
            places = ShellPlaces.prepare(room, subject, analyzer, self.confinement, crash)
            words, confinement, view = shell_program(places, pipe.theirs)
            return self._watched(words, confinement, view, pipe, output)

    def _run_command(self, analyzer: Analyzer, subject: PreparedCrash, output: BinaryIO) -> Ran:
        if subject.case is None:
            return Ran(subject.why_no_case)
        with self._room(subject.id) as room:
            run = CommandRun(
                *(analyzer.name, subject.case, subject, self.config),
                *(replace(self.confinement, directory=room), self._read),
                lambda child, into: self._follow(child, None, into),
            )
            return Ran(run.run(output, self.limits.timeout_s, self.limits.output_bytes))

    def _run_python(self, analyzer: Analyzer, subject: PreparedCrash, output: BinaryIO) -> Ran:
        if subject.case is None:
            return Ran(subject.why_no_case)
        death = None
        modules: tuple[GlideModule, ...] = ()
        if b"glide" in analyzer.text:  # the others are spared what is wrong with a module
            modules = usable_modules(
                self.config.glide, lambda why: output.write(f"! {why}\n".encode())
            )
        while True:
            with self._room(subject.id) as room, SayingPipe() as pipe, served(subject) as served_by:
                words, confinement, view = python_program(
                    AnalyzerCall(
                        analyzer.text, subject.shown, modules, pipe.theirs, death, served_by
                    ),
                    subject.case,
                    replace(self.confinement, directory=room),
                )
                ran = self._watched(words, confinement, view, pipe, output)
            if ran.said.failed:
                return replace(ran, failure=f"drgn cannot open the dump: {ran.said.failed}")
            if ran.said.is_opened or ran.failure is None or death:
                return ran
            death = ran.failure  # the dump has killed drgn: our readers feed it then

    def _watched(
        self,
        words: Sequence[str | os.PathLike[str]],
        confinement: Confinement,
        view: VisibleFiles,
        pipe: SayingPipe,
        output: BinaryIO,
    ) -> Ran:
        """Run a program to its end, or to the end of our patience."""
        with Child(words, confinement, view) as child:
            pipe.close_theirs()
            child.close_stdin()
            try:
                failure = self._follow(child, pipe, output)
            finally:
                child.end()
        said = pipe.said()
        return Ran("; ".join(filter(None, (failure, *said.wrong))) or None, said)

    def _read(self, child: Child, timeout_s: float) -> bytes | None:
        """What a program wrote next, as `Child.read`.

        :raises Stopped: it shall end
        """
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            data = child.read(min(LOOK_S, left_s))
            if self.stopping.is_set():
                raise Stopped
            if data is not None or child.fault or left_s <= LOOK_S:
                return data

    def _follow(self, child: Child, pipe: SayingPipe | None, output: BinaryIO) -> str | None:
        """Take what it writes; why it is no good in the end, if so."""
        deadline, left_bytes = time.monotonic() + self.limits.timeout_s, self.limits.output_bytes
        while (data := self._read(child, min(LOOK_S, deadline - time.monotonic()))) != b"":
            if data:
                output.write(data[:left_bytes])
                left_bytes -= len(data)
            if left_bytes < 0:
                return f"it wrote more than {human_size(self.limits.output_bytes)}"
            if pipe and pipe.is_over:
                return None  # which is said
            if data is None and child.fault:
                return child.fault
            if time.monotonic() >= deadline:
                return f"timed out after {self.limits.timeout_s:g} s"
        status = child.wait(EXIT_S)
        if status is None:
            return "its output has ended and it has not"
        if status == 0:
            return None
        last = short_line(child.stderr.strip().rpartition("\n")[2], 300)
        return f"{describe_status(status)}: {last}" if last else describe_status(status)

    @contextmanager
    def _room(self, name: str) -> Iterator[Path]:
        """A directory for one run."""
        with TemporaryDirectory(prefix=f"{name[:8]}-", dir=self.confinement.directory) as room:
            yield Path(room)
