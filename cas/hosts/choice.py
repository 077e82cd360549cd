"""Which analysis host gets a dump: the least loaded of those whose crash reads it.

All that may serve are asked at once, while this machine does something else; those that do not
answer are not waited for as long as another one is there.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Self

from cas.errors import CasError, EngineError
from cas.frozen import dataclass
from cas.hosts.crash_versions import needed_for, parsed
from cas.hosts.demand import CrashDemand
from cas.hosts.inventory import Load, load_of
from cas.hosts.link import Link, open_link
from cas.hosts.place import RemoteFiles, RemotePlace
from cas.hosts.session.session import HostBusy, session
from cas.hosts.shared import files_there, see_the_same
from cas.hosts.transfer.copies import Copies
from cas.model.case import Case
from cas.model.host import CrashProgram, Host
from cas.progress import Progress
from cas.settings.config import Config

UNKNOWN = Load(0, 0.0, 0, 0)
CLOSED = ""
"""Instead of an answer: nobody waits any more."""
ROUND_S = 1.0
"""Seconds for other hosts' answers once one has answered."""
KMODS_COPIED = 16
"""Files of kernel modules, at most, where storage is not shared."""
PAUSE_S = 2.0
"""Seconds between two attempts while all hosts are busy."""


@dataclass(frozen=True, slots=True)
class FittingHost:
    """A host that may serve, and the crash on it."""

    host: Host
    program: CrashProgram


@dataclass(frozen=True, slots=True)
class _Reached:
    candidate: FittingHost
    link: Link
    load: Load
    is_shared: bool
    """It sees dump and vmlinux under the same names as we do."""

    @property
    def rank(self) -> tuple[float, ...]:
        return (self.load.sessions, round(self.load.load_per_cpu, 1), -self.load.memory_bytes)


def fitting_hosts(
    hosts: Sequence[Host], demand: CrashDemand
) -> tuple[list[FittingHost], list[str]]:
    """The hosts that may serve, and why others of the right architecture may not."""
    fit, problems = [], []
    for host in hosts:
        if demand.host not in (None, host.name, str(host)):
            continue
        programs = [program for program in host.crashes if program.arch == demand.dump.arch]
        new = [program for program in programs if demand.accepts(program)]
        if not host.is_enabled:
            problems += [f"{host}: it is disabled"] if programs or demand.host else []
        elif new:
            fit.append(FittingHost(host, max(new, key=lambda each: parsed(each.version) or ())))
        elif (programs and not demand.newer_than) or demand.host:
            dump = demand.dump
            why = f"it has no crash for {dump.arch}"
            if programs:
                needed = ".".join(map(str, needed_for(dump.osrelease) or ()))
                had = ", ".join(program.version for program in programs)
                why = f"its crash {had} is too old for Linux {dump.osrelease}, which needs {needed}"
            problems.append(f"{host}: {why}")
    return fit, problems


class HostChoice:
    """The hosts for one dump, best first; a context manager that lets go of all of them."""

    def __init__(
        self, hosts: Sequence[Host], demand: CrashDemand, config: Config, progress: Progress
    ) -> None:
        """Ask all that may serve; returns at once."""
        self._demand = demand
        self._config = config
        self._progress = progress
        self._stack = ExitStack()
        self._closing = threading.Lock()
        self._closed = threading.Event()
        self._has_said_busy = False
        self._answers: queue.Queue[_Reached | str] = queue.Queue()
        self._reached: list[_Reached] = []
        self._candidates, self.problems = fitting_hosts(hosts, demand)
        """Why hosts could not be taken, a sentence each."""
        for problem in self.problems:
            progress.warn(problem)
        self._asked = len(self._candidates)
        asked = ", ".join(str(each.host) for each in self._candidates) or "nobody"
        progress.note(f"asking {asked}", logging.DEBUG)
        for candidate in self._candidates:
            threading.Thread(
                target=self._log_in_and_ask,
                args=(candidate,),
                name=f"host {candidate.host}",
                daemon=True,
            ).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all hosts; whoever waits for one hears of it."""
        with self._closing:
            self._closed.set()
        self._answers.put(CLOSED)
        self._stack.close()

    def __bool__(self) -> bool:
        """Whether any host may serve."""
        return bool(self._candidates)

    def next_place(self, case: Case) -> RemotePlace | None:
        """The best host that is left, with dump and vmlinux in reach and a session of our own.

        A host that was taken once is not taken again.
        """
        deadline = time.monotonic() + self._config.hosts.wait_s
        while not self._closed.is_set():
            # the first that answers is waited for, and then the others for a moment
            while self._asked and not self._reached:
                self._take_answer(None)
            round_ends = time.monotonic() + ROUND_S
            with suppress(queue.Empty):
                while self._asked:
                    self._take_answer(max(0.0, round_ends - time.monotonic()))
            if not self._reached:
                return None
            best = min(self._reached, key=lambda reached: reached.rank)
            self._reached.remove(best)
            try:
                return self._open_place(best, case)
            except HostBusy:
                if not self._put_back_busy_host(best, deadline):
                    self._add_problem(f"{best.candidate.host}: it has had no room for too long")
            except EngineError as error:
                self._add_problem(str(error))
        return None

    def _log_in_and_ask(self, candidate: FittingHost) -> None:
        """In a thread: log in, ask how busy it is, and whether it sees our files."""
        with ExitStack() as stack:
            try:
                link = stack.enter_context(open_link(candidate.host, self._config))
                is_only = len(self._candidates) == 1
                load = UNKNOWN if is_only else load_of(link, self._config)
                is_shared = see_the_same(link, [self._demand.vmlinux, self._demand.dump.path])
                storage = "shared" if is_shared else "not shared"
                self._progress.note(f"{link.name}: {load}, storage {storage}", logging.DEBUG)
            except CasError as error:
                self._answers.put(_host_problem(candidate.host, error))
                return
            except Exception as error:  # whoever waits for this thread must hear of it
                self._progress.note(f"asking {candidate.host}", logging.ERROR, error=error)
                self._answers.put(f"{candidate.host}: internal error: {type(error).__name__}")
                return
            with self._closing:
                if self._closed.is_set():
                    return
                self._stack.push(stack.pop_all())
            self._answers.put(_Reached(candidate, link, load, is_shared))

    def _take_answer(self, timeout_s: float | None) -> None:
        answer = self._answers.get(timeout=timeout_s)
        self._asked -= 1
        if answer is CLOSED:
            self._asked = 0
        elif isinstance(answer, str):
            self._add_problem(answer)
        else:
            self._reached.append(answer)

    def _open_place(self, reached: _Reached, case: Case) -> RemotePlace:
        """Files and a session on a host."""
        link, program = reached.link, reached.candidate.program
        files = vmlinux, vmcore = case.vmlinux, case.dump.path
        with ExitStack() as stack:
            # where dump and vmlinux are shared, so is what stands beside the vmlinux
            kmods = list(case.kmods.values())
            shared = (path for path in kmods if path.is_relative_to(vmlinux.parent))
            there = {path: str(path) for path in [*files, *shared]}
            if not reached.is_shared:
                copies = Copies(link, self._config.hosts, self._progress)
                there = {path: copies.place_copy(path) for path in [*files, *kmods[:KMODS_COPIED]]}
            opened = stack.enter_context(session(link, self._config, list(there.values())))
            self._progress.say(f"Using {program.path} on {link.name}")
            extensions = files_there(link, self._config.extensions)
            remote = RemoteFiles(vmlinux, vmcore, there, self._demand.options)
            return RemotePlace(program, link, opened, remote, extensions, stack.pop_all())

    def _put_back_busy_host(self, busy: _Reached, deadline: float) -> bool:
        """Put a host without room back, its load renewed; ``False`` when time is over."""
        if not self._reached and not self._has_said_busy:
            self._has_said_busy = True
            self._progress.say("all analysis hosts are busy")
        if time.monotonic() > deadline:
            return False
        if not self._reached:
            self._closed.wait(PAUSE_S)
        try:
            load = load_of(busy.link, self._config)
        except CasError as error:
            self._add_problem(_host_problem(busy.candidate.host, error))
        else:
            self._reached.append(replace(busy, load=load))
        return True

    def _add_problem(self, problem: str) -> None:
        self._progress.warn(problem)
        self.problems.append(problem)


def _host_problem(host: Host, error: CasError) -> str:
    text = str(error)
    return text if text.startswith(str(host)) else f"{host}: {text}"
