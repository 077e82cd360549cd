"""The sessions of ``cas debug``: crash or drgn, on a terminal or between pipes."""

from __future__ import annotations

import codecs
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Self

from cas.choices import EngineChoice
from cas.commands.debug_input import Input
from cas.commands.debug_options import ForCrash
from cas.commands.debug_order import DebugOrder
from cas.commands.invocation import World
from cas.database.store import Store
from cas.engines.crash.conversation import HowEnded, Opening, Preparation, Read
from cas.engines.crash.failover import Failover
from cas.engines.crash.kaslr import crash_options
from cas.engines.crash.place import Place
from cas.engines.crash.rungs import MINIMAL, options_in_ladder
from cas.engines.drgn import terminal as drgn
from cas.engines.drgn.glide import usable_modules
from cas.engines.piped import PipedDebugger
from cas.errors import CasError, EngineError, UsageError
from cas.files import shipped
from cas.frozen import dataclass
from cas.hosts.demand import CrashDemand
from cas.hosts.registry import HostRegistry
from cas.jobs.job import Job
from cas.model.case import Case
from cas.report.result import load as load_result
from cas.snippets import snippets
from cas.supervise import Confinement, describe_status
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
class DebugSession:
    """What is debugged, and how."""

    order: DebugOrder
    job: Job | None
    """Whose dump it is; ``None``: a file of the archive that no job has."""
    case: Case
    """With the kernel modules that were loaded, of the same builds."""
    debuginfo: frozenset[str]
    """The names of those whose file has debug information; drgn gets no others."""
    store: Store
    confinement: Confinement
    served: int | None = None
    """Descriptor of a socket that the dump is read through, where it is no file here."""


def in_drgn(session: DebugSession, feed: Input, world: World) -> int:
    """A session of drgn; its exit status.

    :raises EngineError: drgn cannot open the dump
    """
    is_forced, theirs = session.order.is_forced, session.order.for_crash
    if theirs.words:
        world.progress.warn(f"this is drgn, which has no {' '.join(theirs.words)}: left out")
    kmods = {name: path for name, path in session.case.kmods.items() if name in session.debuginfo}
    case, confinement = replace(session.case, kmods=kmods), session.confinement
    modules = usable_modules(world.config.glide, world.progress.warn)
    beginning = drgn.Beginning(feed.first, theirs.is_silent, is_forced, modules, session.served)
    if not feed.is_for_a_person:
        with drgn.drgn_between_pipes(case, confinement, beginning) as child:
            piped = PipedDebugger(child, "drgn")
            with world.progress.bar("Opening it with drgn", None):
                remarks = piped.greeting(world.config.supervision.start_s)
            for remark in remarks:
                world.progress.warn(remark)
            return _shell_status("drgn", piped.converse(feed.chunks(), _shower()), world)
    screen = Screen()
    window = Window(screen.size, world.environment.get("TERM", ""))
    started = drgn.drgn_on_terminal(case, confinement, window, beginning)
    with started as terminal:
        return _shell_status("drgn", Relay(terminal, screen).relay(), world)


def in_crash(session: DebugSession, feed: Input, world: World) -> int:
    """A session of crash, here or on an analysis host; its exit status.

    drgn serves where nobody has asked for crash and a crash for this machine is simply missing.

    :raises UsageError: there is no such host
    :raises EngineError: there is no crash for the dump, or none opens it
    """
    order, case, name = session.order, session.case, session.order.host
    hosts = HostRegistry(session.store).for_analysis() if name else ()
    if name and not any(name in (host.name, str(host)) for host in hosts):
        raise UsageError(
            f"no analysis host {name!a} is registered",
            hint="see: cas-admin host list; to register one: cas-admin host add NAME[:PORT]",
        )
    options = crash_options(case.dump, case.vmlinux)
    demand = CrashDemand(case.dump, case.vmlinux, host=name, options=options)
    beginning, store = _Beginning.of(session, world), session.store
    is_typed = feed.is_for_a_person and not order.for_crash.is_question
    kind = _CrashOnTerminal if is_typed else _CrashBetweenPipes
    with (
        CrashPlaces(demand, world.config, session.confinement, store, world.progress) as places,
        Failover(
            lambda: places.next_place(case), lambda place: kind(beginning, place, feed)
        ) as failover,
    ):
        is_asked_for = order.engine is not EngineChoice.AUTO or name is not None
        if not places and not is_asked_for and case.dump.arch == platform.machine():
            why = "; ".join(places.problems) or "there is no crash here"
            world.progress.warn(f"{why}: this is drgn, which knows most of its commands")
            return in_drgn(session, feed, world)
        try:
            converse = failover.open(lambda crash: crash.open())
        except EngineError as error:
            nowhere = places.nowhere(str(error))
            if str(error):
                raise EngineError(str(nowhere), hint=error.hint) from error
            said = f"no crash can be used for {case.dump.arch}: {nowhere}"
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
    def of(cls, session: DebugSession, world: World) -> Self:
        dump, theirs = session.case.dump, session.order.for_crash
        kmods, ladder = list[str](), tuple[str, ...]()
        if session.job is not None:
            with suppress(CasError):  # the job has not come to its end
                result = load_result(session.job.directory)
                kmods = [kmod.name for kmod in result.answer.kmods] if result.answer else []
                ladder = result.ladder
        facts = snippets.Facts(dump.arch, dump.osrelease, kmods, dump.size_bytes)
        directories = (shipped.shipped("snippets") / "crash", *world.config.snippets)
        loaded = snippets.load_prelude(directories, facts, session.confinement)
        for broken in loaded.unusable:
            world.progress.warn(broken.reason)
        first = Preparation(session.case.kmods, world.config.extensions, loaded.prelude)
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
