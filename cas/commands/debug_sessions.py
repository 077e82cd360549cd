"""The sessions of ``cas debug``: crash or drgn, on a terminal or between pipes."""

from __future__ import annotations

import codecs
import math
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from cas.catalogue.extraction.kmod_search import Found
from cas.choices import EngineChoice
from cas.commands.debug_input import Input
from cas.commands.debug_options import ForCrash
from cas.commands.invocation import World
from cas.database.store import Store
from cas.engines.crash.conversation import HowEnded, Opening, Preparation, Read
from cas.engines.crash.failover import Failover
from cas.engines.crash.kaslr import crash_options
from cas.engines.crash.place import Place
from cas.engines.crash.rungs import MINIMAL, options_in_ladder
from cas.engines.drgn import terminal as drgn
from cas.engines.piped import PipedDebugger
from cas.errors import CasError, EngineError, UsageError
from cas.files import shipped
from cas.hosts.demand import CrashDemand
from cas.hosts.registry import HostRegistry
from cas.jobs.job import Job
from cas.model.case import Case
from cas.model.dump import Dump
from cas.report.result import load as load_result
from cas.snippets import snippets
from cas.supervise import Confinement, describe_status, find_sandbox
from cas.terminal import Relay, Screen, Window
from cas.text import nearest, printable, short_line
from cas.triage.crash_places import CrashPlaces

SIGNALLED = 128
"""What a shell adds to the number of the signal that ended a program."""
STDOUT = 1
WRONG = 1
"""Exit status: something of the input is nothing that the debugger has."""
INTRODUCTION = b"sys\n"
"""crash's command for what ``-s`` leaves out at its start; ``--minimal`` does not have it."""

_MINIMAL = (
    "crash runs with --minimal here, in which it has few commands; "
    "--engine drgn may have more of this dump"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is debugged."""

    job: Job
    dump: Dump
    vmlinux: Path
    store: Store
    directory: Path
    """Empty, and ours alone."""
    host: str | None = None
    """The analysis host that was asked for."""
    is_forced: bool = False
    """Whether the vmlinux may be another kernel's."""
    engine: EngineChoice = EngineChoice.AUTO
    kmods: Found = field(default_factory=Found)
    """Files of the kernel modules that were loaded, of the same builds."""
    for_crash: ForCrash = field(default_factory=ForCrash)
    """crash's own options."""

    def case(self, kmods: Mapping[str, Path]) -> Case:
        """What a debugger is given, with these files of kernel modules."""
        return Case(self.dump, self.vmlinux, kmods)

    def confinement(self, world: World) -> Confinement:
        """Where a debugger runs: it may be silent as long as its user is."""
        sandbox, _ = find_sandbox(world.config.supervision.sandbox)
        rules = replace(world.config.supervision, watchdog_s=math.inf)
        return Confinement(self.directory, rules, sandbox=sandbox)

    def job_facts(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The kernel modules that were loaded, and the ladder, as far as the job found out."""
        try:
            result = load_result(self.job.directory)
        except CasError:  # it has not come to its end
            return (), ()
        kmods = result.answer.kmods if result.answer else ()
        return tuple(kmod.name for kmod in kmods), result.ladder


def in_drgn(subject: Subject, feed: Input, world: World) -> int:
    """A session of drgn; its exit status.

    :raises EngineError: drgn cannot open the dump
    """
    confinement = subject.confinement(world)
    theirs = subject.for_crash
    if theirs.words:
        world.progress.warn(f"this is drgn, which has no {' '.join(theirs.words)}: left out")
    case = subject.case(subject.kmods.debug_files)
    if not feed.is_for_a_person:
        with drgn.drgn_between_pipes(case, confinement, is_forced=subject.is_forced) as child:
            piped = PipedDebugger(child, "drgn")
            with world.progress.bar("Opening it with drgn", None):
                remarks = piped.greeting(world.config.supervision.start_s)
            for remark in remarks:
                world.progress.warn(remark)
            return _shell_status("drgn", piped.converse(feed.chunks(), _shower()), world)
    screen = Screen()
    window = Window(screen.size, world.environment.get("TERM", ""))
    beginning = drgn.Beginning(feed.first, theirs.is_silent, subject.is_forced)
    started = drgn.drgn_on_terminal(case, confinement, window, beginning)
    with started as terminal:
        return _shell_status("drgn", Relay(terminal, screen).relay(), world)


def in_crash(subject: Subject, feed: Input, world: World) -> int:
    """A session of crash, here or on an analysis host; its exit status.

    drgn serves where nobody has asked for crash and a crash for this machine is simply missing.

    :raises UsageError: there is no such host
    :raises EngineError: there is no crash for the dump, or none opens it
    """
    hosts = HostRegistry(subject.store).all() if subject.host else ()
    if subject.host and not any(subject.host in (host.name, str(host)) for host in hosts):
        raise UsageError(
            f"no analysis host {subject.host!a} is registered",
            hint="see: cas-admin host list; to register one: cas-admin host add NAME[:PORT]",
        )
    dump, confinement = subject.dump, subject.confinement(world)
    case, options = subject.case(subject.kmods.files), crash_options(dump, subject.vmlinux)
    demand = CrashDemand(case, host=subject.host, options=options)
    beginning = _Beginning.of(subject, confinement, world)
    is_typed = feed.is_for_a_person and not subject.for_crash.is_question
    kind = _CrashOnTerminal if is_typed else _CrashBetweenPipes
    with (
        CrashPlaces(demand, world.config, confinement, subject.store, world.progress) as places,
        Failover(places.next_place, lambda place: kind(beginning, place, feed)) as failover,
    ):
        is_asked_for = subject.engine is not EngineChoice.AUTO or subject.host is not None
        if not places and not is_asked_for and dump.arch == platform.machine():
            why = "; ".join(places.problems) or "there is no crash here"
            world.progress.warn(f"{why}: this is drgn, which knows most of its commands")
            return in_drgn(subject, feed, world)
        try:
            converse = failover.open(lambda session: session.open())
        except EngineError as error:
            nowhere = places.nowhere(str(error))
            if str(error):
                raise EngineError(str(nowhere), hint=error.hint) from error
            said = f"no crash can be used for {dump.arch}: {nowhere}"
            raise EngineError(said, hint=nowhere.hint) from error
        return _shell_status("crash", converse(), world)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What a session of crash begins with, wherever it is."""

    world: World
    theirs: ForCrash
    options: tuple[str, ...]
    first: Preparation

    @classmethod
    def of(cls, subject: Subject, confinement: Confinement, world: World) -> Self:
        kmods, ladder = subject.job_facts()
        dump = subject.dump
        facts = snippets.Facts(dump.arch, dump.osrelease, kmods, dump.size_bytes)
        directories = (shipped.shipped("snippets") / "crash", *world.config.snippets)
        loaded = snippets.load_prelude(directories, facts, confinement)
        for broken in loaded.unusable:
            world.progress.warn(broken.reason)
        theirs = subject.for_crash
        first = Preparation(subject.kmods.files, world.config.extensions, loaded.prelude)
        return cls(world, theirs, (*options_in_ladder(ladder), *theirs.words), first)

    @property
    def is_minimal(self) -> bool:
        return MINIMAL[0] in self.options

    def wait(self, opening: Opening, read: Read, how_ended: HowEnded) -> None:
        """Until crash has read the dump; what it did not like meanwhile is told.

        :raises EngineError: it did not open the dump
        """
        with self.world.progress.bar("Opening it with crash", None):
            opening.wait_until_open(read, how_ended, self.world.config.supervision.start_s)
        told = [f"before the first prompt: {complaint}" for complaint in opening.complaints]
        for text in (_MINIMAL,) if self.is_minimal else told:
            self.world.progress.warn(text)


class _CrashBetweenPipes:
    """crash that is told what the input holds."""

    def __init__(self, beginning: _Beginning, place: Place, feed: Input) -> None:
        self._beginning = beginning
        self._feed = feed
        first = beginning.first.commands_at(place)
        self._opening = Opening(first, asks_commands=not beginning.is_minimal)
        self._piped = PipedDebugger(place.start(beginning.options), "crash")

    def open(self) -> Callable[[], int]:
        """Wait until crash has read the dump; what holds the conversation then."""
        if self._beginning.theirs.is_question:
            return lambda: self._piped.converse((), _shower())
        self._piped.send(self._opening.text)
        self._beginning.wait(self._opening, self._piped.read, self._piped.end)
        return self._converse

    def _converse(self) -> int:
        """The conversation; 1 if crash lacks a command that was asked for."""
        status = self._piped.converse(self._feed.chunks(), _shower(), self._opening.rest)
        for name in () if self._beginning.is_minimal else self._piped.unknown:
            near = nearest(name, self._opening.known_commands)
            self._beginning.world.progress.warn(
                f"crash has no command {short_line(name, 80)}; there is: {near}"
            )
        return status or (WRONG if self._piped.unknown else 0)


class _CrashOnTerminal:
    """crash for a person."""

    def __init__(self, beginning: _Beginning, place: Place, feed: Input) -> None:
        self._beginning = beginning
        self._screen = Screen()
        window = Window(self._screen.size, beginning.world.environment.get("TERM", ""))
        self._opening = Opening(beginning.first.commands_at(place))
        is_silent = beginning.theirs.is_silent or beginning.is_minimal
        introduction = b"" if is_silent else INTRODUCTION
        first_words = self._opening.text + introduction + feed.first
        self._terminal = place.terminal(beginning.options, first_words, window)

    def open(self) -> Callable[[], int]:
        """Wait until crash has read the dump; what holds the conversation then."""
        terminal, opening = self._terminal, self._opening
        self._beginning.wait(opening, terminal.read, lambda: (terminal.wait(), ""))
        return lambda: Relay(terminal, self._screen).relay(opening.rest)


def _shell_status(name: str, status: int, world: World) -> int:
    """A debugger's status as a shell has it; an end by a signal is said."""
    if status >= 0:
        return status
    world.progress.warn(f"{name} was {describe_status(status)}")
    return SIGNALLED - status


def _shower() -> Callable[[bytes], None]:
    """Writes to stdout, at once; on a terminal everything else than text is escaped.

    Nobody pages or edits there, so no control sequence has a use.
    """
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    is_terminal = os.isatty(STDOUT)

    def show(data: bytes) -> None:
        if is_terminal:
            data = printable(decode(data)).encode()
        while data:
            data = data[os.write(STDOUT, data) :]

    return show
