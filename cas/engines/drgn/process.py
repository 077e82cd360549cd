"""The drgn engine: a first answer from any dump of any architecture, and the snippets' commands.

drgn runs in a process of its own, see :mod:`cas.engines.drgn.child.worker`. Start it early: it
loads drgn's libraries while the dump's kernel is still being looked up. At that time nobody knows
what it will read, so its sandbox holds no file of any ticket: it is handed open files, for reading
the dump and the debug information, for writing a snippet's output.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from cas.choices import Engine, Kind, SectionStatus
from cas.engines.drgn.detected import Detections
from cas.engines.drgn.fault_answer import reading_of
from cas.engines.drgn.first_answer import (
    BY_KMODS,
    Facts,
    Message,
    known,
    renewed,
)
from cas.engines.drgn.glide import GlideOrder
from cas.engines.drgn.locations import located_of
from cas.engines.drgn.request import files_of, open_request, unknown_case
from cas.engines.drgn.starting import Running, start_drgn
from cas.engines.outcome import OUT_OF_MEMORY, Ran, output_budget, section_of
from cas.errors import EngineError, KernelMisfit
from cas.fault_reading import Reading
from cas.files.whole import put
from cas.model.answer import FirstAnswer
from cas.model.case import Case
from cas.model.code import CodePlace, Located
from cas.model.evidence import Detection
from cas.model.snippet import Need, Outcome, Section, Snippet
from cas.progress import Note
from cas.supervise import (
    Child,
    Confinement,
    ProgramFailure,
    StartLimit,
    describe_status,
    is_from_outside,
    write_trace,
)

if TYPE_CHECKING:
    from cas.dump.memory import Source

MAX_MESSAGE_BYTES = 256 << 20
"""The greatest kernel log, 2^25 bytes, with every character escaped."""

PATIENCE_S = 5.0
"""The worker gives up by itself; if it hangs inside drgn, it is killed so much later."""

FACT_SHARE = 0.5
"""The part of the whole answer's time that one fact may take."""

EXIT_S = 0.5
"""Seconds between the end of its output and the end of a process that died."""

FILES_AT_ONCE = 100
"""Files that go in one message; the kernel passes up to 253 (SCM_MAX_FD, include/net/scm.h)."""

DETECTOR_S = 10.0
"""The worker ends a detector after 1.5 s by itself; if it hangs inside drgn, it is killed."""

FIRST_ANSWER_S = 120.0
"""Seconds for opening a dump, and again for saying what crashed."""

FAULT_S = 2.0
"""Seconds for reading a fault; it takes a few hundredths."""

LOCATE_S = 60.0
"""Seconds for finding the lines of a kernel log's code; drgn reads most of the DWARF for that."""

DETECTORS_THAT_KILL = 2
"""Detectors that may kill drgn before the rest of them is left out: the snippets need a drgn that
may be started again."""

OPENING = "(opening the dump)"

NOTHING: Iterator[None] = iter(())
"""No step of anything to be done meanwhile."""

T = TypeVar("T")


class WorkerEnded(EngineError):
    """drgn's process is gone; ``status`` says how, as in :class:`cas.model.snippet.Section`."""

    def __init__(
        self, status: SectionStatus, message: str, *, is_from_outside: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.is_from_outside = is_from_outside
        """Somebody else ended it: then it is asked once more."""


class Worker:
    """A process with drgn in it; a context manager that leaves no process behind.

    It is started at once, and again after it died, as long as that happens seldom.
    """

    def __init__(self, confinement: Confinement, running: Running | None = None) -> None:
        """Start the process.

        :param confinement: where it runs
        :param running: one that was started there already
        :raises EngineError: it cannot be started
        """
        self._confinement = confinement
        self._rules = confinement.supervision
        self._traces: Callable[[Child, ProgramFailure], object] = lambda *_: None
        self._starts = StartLimit("drgn", self._rules)
        self._case: Case | None = None
        self._command = OPENING
        self._sources: dict[Path, Source] = {}
        self._servers = ExitStack()
        """Answer what the process that runs now asks of them."""
        self._remark: Callable[[str], object] = lambda _: None
        self.is_forced = False
        """The vmlinux may be another kernel's."""
        self._death: str | None = None
        """How drgn died while it read the dump by itself; from then on our readers feed it."""
        if running is None:
            self._start_worker()
        else:
            self._starts.take()
            self._child, self._channel = running
            self._begin_conversation()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end()
        self._channel.close()
        self._servers.close()

    def trace_into(self, directory: Path, note: Note) -> None:
        """Write trace files from now on: when drgn dies, or must be ended.

        :param directory: of the job that it works for
        :param note: told where one cannot be written
        """
        self._traces = lambda child, failure: write_trace(directory, child, failure, note)

    def remark_by(self, remark: Callable[[str], object]) -> None:
        """Tell how the dump is read from then on, whenever drgn's death has changed that."""
        self._remark = remark

    @property
    def pid(self) -> int:
        """Process id of the worker that runs now."""
        return self._child.pid

    def serve(self, dump: Path, source: Source) -> None:
        """Answer what is asked of a dump, instead of giving its file, whenever a case has it.

        :param dump: what the case calls it; there need be no such file
        :param source: its bytes; read from another thread, one question at a time
        """
        self._sources[dump] = source

    def open(self, case: Case) -> None:
        """Let the worker begin to read the dump; whether it can be read shows later."""
        if self._is_alive and case == self._case:
            return
        if self._case is None or case.dump.path != self._case.dump.path:
            self._death = None
        self._case = case
        if self._is_alive:
            self._send_open(case)
        else:
            self._revive()

    def open_ahead(self, dump: Path | None, vmlinux: Path) -> None:
        """Let the worker begin with a dump that a case may be made of later.

        :param dump: ``None``: with the vmlinux alone, in which code may be looked for later
        :raises EngineError: one of the files cannot be opened
        """
        self._command = OPENING
        if dump is None:
            self._hand_over((vmlinux,), os.O_RDONLY)
            self._send_message({"kernel": {"name": str(vmlinux.absolute())}})
            return
        self._hand_over((dump, vmlinux), os.O_RDONLY)
        self._send_message({"open": {**unknown_case(dump, vmlinux), "death": None}})

    def fit(
        self,
        case: Case,
        timeout_s: float,
        meanwhile: Callable[[], Iterator[None]] = lambda: NOTHING,
    ) -> tuple[str, ...]:
        """Open a dump, and make sure that the vmlinux is its kernel's.

        :param meanwhile: what to do while the process opens it, step by step: what is left when it
            has is left
        :return: what a reader should know of how it was opened
        :raises KernelMisfit: what is read through the vmlinux is not what the dump says
        :raises EngineError: drgn cannot open the dump, or does not come back
        """

        def ask() -> tuple[str, ...]:
            self._revive()
            return self._ask_how_read(time.monotonic() + timeout_s, timeout_s, steps)

        self.open(case)
        steps = meanwhile()
        return self._repeat_if_killed(ask)

    def answer(
        self,
        case: Case,
        timeout_s: float,
        tell: Callable[[FirstAnswer], None] | None = None,
        meanwhile: Iterator[None] = NOTHING,
    ) -> FirstAnswer:
        """What crashed, where and why.

        What cannot be read is missing in the answer and named in its ``problems``.

        :param tell: told as soon as there is all that a verdict is made of; the rest is still read
            meanwhile. What it raises leaves the conversation in its middle
        :param meanwhile: what to do once the process has begun, all of it
        :raises EngineError: drgn cannot open the dump, or does not come back
        """
        self.open(case)
        facts = Facts(known(case.dump))
        before = self._death
        while True:
            try:
                self._repeat_if_killed(lambda: self._ask_worker(facts, timeout_s, tell, meanwhile))
                break
            except WorkerEnded as error:
                if not facts.lose(str(error)):
                    if facts.is_empty:
                        raise
                    break
        if self._death != before:
            facts.problems.append(f"the dump, which CAS itself reads now: {self._death}")
        if facts.is_empty:
            raise EngineError(
                f"drgn can read nothing in the dump: {facts.problems[0].partition(': ')[2]}"
            )
        return facts.answer()

    def _ask_worker(
        self,
        facts: Facts,
        timeout_s: float,
        tell: Callable[[FirstAnswer], None] | None = None,
        meanwhile: Iterator[None] = NOTHING,
    ) -> None:
        """Ask for all facts that are not known yet."""
        deadline = time.monotonic() + timeout_s
        was_told = facts.is_crash_told
        facts.begin()
        self._revive()
        request = {"fact_timeout_s": timeout_s * FACT_SHARE, "known": facts.done}
        self._send_message({"answer": request})
        for _ in meanwhile:
            pass
        done = False
        while not done:
            message = self._receive_message(deadline, timeout_s)
            facts.take_message(message)
            done = "done" in message
            if tell and facts.is_crash_told and not was_told:
                was_told = True
                tell(facts.answer())

    def _repeat_if_killed(self, ask: Callable[[], T]) -> T:
        """What drgn answers; it is asked once more if somebody else has ended it meanwhile, or if
        it died of a dump that our readers may bear.

        :raises WorkerEnded: it is gone all the same
        """
        before = self._death
        try:
            return ask()
        except WorkerEnded as error:
            is_of_dump = self._command == OPENING and self._death != before
            if not error.is_from_outside and not is_of_dump:
                raise
        return ask()

    def supply(self, kmods: Mapping[str, Path]) -> None:
        """Give debug files of kernel modules that were not known when the dump was opened.

        :raises EngineError: one of them cannot be opened
        """
        if not kmods or self._case is None:
            return
        self._case = replace(self._case, kmods={**self._case.kmods, **kmods})
        if self._is_alive:
            self._hand_over(tuple(kmods.values()), os.O_RDONLY)
            names = [str(path.absolute()) for path in kmods.values()]
            self._send_message({"supply": {"names": names, "kmods": list(kmods)}})

    def answer_again(
        self, answer: FirstAnswer, kmods: Mapping[str, Path], timeout_s: float
    ) -> FirstAnswer:
        """The answer with what more debug files of kernel modules show: files and lines.

        :raises EngineError: drgn does not come back
        """
        self.supply(kmods)
        facts = Facts(
            {each.name: None for each in fields(FirstAnswer) if each.name not in BY_KMODS}
        )
        self._ask_worker(facts, timeout_s)
        return renewed(answer, facts)

    def detect(self, answer: FirstAnswer, kind: Kind | None) -> tuple[Detection, ...]:
        """What the detectors find in the dump; one that kills drgn costs only itself.

        :param kind: of the crash
        :raises EngineError: drgn cannot open the dump
        """
        arch = self._case.dump.arch if self._case else ""
        facts = {
            "arch": arch,
            "kind": kind or "",
            "uptime_s": answer.uptime_s,
            "kmods": [kmod.name for kmod in answer.kmods],
        }
        found = Detections()
        for _ in range(DETECTORS_THAT_KILL + 1):
            try:
                self._revive()
                self._command = "(looking for evidence)"
                # those that have not had their turn yet
                self._send_message({"detect": {"facts": facts, "done": found.names}})
                while "done" not in (
                    message := self._receive_message(time.monotonic() + DETECTOR_S, DETECTOR_S)
                ):
                    found.take_message(message)
            except WorkerEnded as error:
                found.ended(str(error), is_late=error.status is SectionStatus.TIMEOUT)
            else:
                break
        return tuple(found.done)

    def fault(self, wanted: Message) -> Reading:
        """What is read of the fault: registers, code, the pointer that was bad.

        :param wanted: what the kernel log says of it: ``place``, ``nowhere``, ``address``,
            ``registers``
        :raises EngineError: drgn cannot open the dump, or reads nothing of it
        """
        return self._ask_of_fault("fault", wanted)

    def glide(self, order: GlideOrder) -> Iterator[Message]:
        """The deep trace, record by record, see ``schemas/glide.schema.json``.

        :raises EngineError: drgn cannot open the dump, or does not come to the end of it
        """
        self._revive()
        self._command = "(tracing the tasks)"
        self._send_message({"glide": order.request()})
        start_s, limit_s = self._rules.start_s, order.timeout_s + PATIENCE_S
        self._receive_message(time.monotonic() + start_s, start_s)  # the dump is open
        deadline = time.monotonic() + limit_s
        while "done" not in (message := self._receive_message(deadline, limit_s)):
            if "record" not in message:
                raise self._end_for_garbage()
            yield message["record"]

    def decode(self, code: Message, at: CodePlace | None = None) -> Reading:
        """What the code that the kernel log shows says of the fault; no dump need be open.

        :param code: ``arch``, ``code``, ``mark``, ``place``, ``address``, ``registers``
        :param at: the instruction's place, one of those that `locate` knew
        :raises EngineError: drgn's process does not come back, or makes nothing of it
        """
        return self._ask_of_fault("decode", {**code, "at": at and astuple(at)})

    def _ask_of_fault(self, request: str, facts: Message) -> Reading:
        self._revive()
        self._command = "(reading the fault)"
        self._send_message({request: {**facts, "timeout_s": FAULT_S}})
        limit_s = FAULT_S + PATIENCE_S
        done = self._receive_message(time.monotonic() + limit_s, limit_s)
        return reading_of(done["reading"], done["problem"])

    def locate(
        self,
        vmlinux: Path,
        kmods: Mapping[str, Path],
        places: Sequence[CodePlace],
        meanwhile: Callable[[], None] | None = None,
    ) -> Located:
        """Where code stands in the source, by the debug information alone; no dump need be open.

        :param kmods: debug files, by the kernel's names
        :param meanwhile: called once the process has begun with it
        :raises EngineError: the vmlinux has no debug information, or drgn does not come back
        """
        self._revive()
        self._command = "(looking for lines of the source)"
        self._hand_over([vmlinux, *kmods.values()], os.O_RDONLY)
        self._send_message(
            {
                "locate": {
                    "names": [str(path.absolute()) for path in (vmlinux, *kmods.values())],
                    "kmods": list(kmods),
                    "places": [astuple(place) for place in places],
                    "timeout_s": LOCATE_S,
                }
            }
        )
        if meanwhile:
            meanwhile()
        limit_s = LOCATE_S + PATIENCE_S
        done = self._receive_message(time.monotonic() + limit_s, limit_s)
        return located_of(places, done["found"], done["problem"])

    def run_snippet(self, snippet: Snippet, output: Path) -> Section:
        """Run a snippet's commands into a file; what fails does not stop the rest."""
        begun = time.monotonic()
        put(output, b"")
        outcomes = []
        for command in snippet.commands:
            outcomes.append(self._run_drgn_command(command, output))
        return section_of(snippet, outcomes, Ran(Engine.DRGN, output, time.monotonic() - begun))

    def unmet(self, needs: Sequence[Need]) -> frozenset[Need]:
        """Which of these the kernel has not, as its vmlinux says; none where that cannot be told.

        :raises EngineError: drgn cannot open the dump, or does not come back
        """
        if not needs:
            return frozenset()
        self._revive()
        self._command = "(looking what the kernel has)"
        limit_s = self._rules.command_s
        asked = [(need.kind, need.names) for need in needs]
        self._send_message({"unmet": {"needs": asked, "timeout_s": limit_s}})
        done = self._receive_message(time.monotonic() + limit_s + PATIENCE_S, limit_s)
        return frozenset(needs[number] for number in done["numbers"])

    def _run_drgn_command(self, command: str, output: Path) -> Outcome:
        before = output.stat().st_size
        request = {
            "command": command,
            "max_bytes": output_budget(self._rules, before),
            "timeout_s": self._rules.command_s,
        }
        try:
            done = self._repeat_if_killed(lambda: self._run_once_in_drgn(request, output, before))
        except WorkerEnded as ended:
            done = {"status": ended.status, "error": str(ended)}
        except EngineError as failure:
            done = {"status": SectionStatus.NOT_RUN, "error": str(failure)}
        error = done["error"]
        if (
            error and done["status"] != SectionStatus.NOT_RUN
        ):  # what keeps all from running is said once
            error = f"{command}: {error}"
        written = output.stat().st_size - before
        lacks = bool(done.get("lacks_memory"))
        return Outcome(
            command, SectionStatus(done["status"]), Engine.DRGN, error, written, lacks_memory=lacks
        )

    def _run_once_in_drgn(self, request: Message, output: Path, written_bytes: int) -> Message:
        os.truncate(output, written_bytes)
        self._revive()
        self._command = request["command"]
        self._hand_over([output], os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        self._send_message({"run": request})
        start_s, patience_s = self._rules.start_s, request["timeout_s"] + PATIENCE_S
        done = self._receive_message(time.monotonic() + start_s, start_s)
        if "running" in done:
            done = self._receive_message(time.monotonic() + patience_s, patience_s)
        return done

    def _start_worker(self) -> None:
        self._starts.take()
        self._child, self._channel = start_drgn(self._confinement)
        self._begin_conversation()

    def _begin_conversation(self) -> None:
        self._received = bytearray()
        self._is_alive = True

    def _revive(self) -> None:
        if self._is_alive:
            return
        self._channel.close()
        self._servers.close()
        self._start_worker()
        if self._case is None:
            return
        self._send_open(self._case)
        if self._death:
            limit_s = self._rules.start_s
            for remark in self._ask_how_read(time.monotonic() + limit_s, limit_s):
                self._remark(remark)

    def _ask_how_read(
        self, deadline: float, limit_s: float, meanwhile: Iterator[None] = NOTHING
    ) -> tuple[str, ...]:
        """What a reader should know of how the dump was opened."""
        self._send_message({"fit": {}})
        for _ in meanwhile:
            if self._child.has_spoken:
                break
        return tuple(self._receive_message(deadline, limit_s)["remarks"])

    def _send_open(self, case: Case) -> None:
        self._command = OPENING
        self._hand_over(files_of(case), os.O_RDONLY)
        request = {**open_request(case), "forced": self.is_forced, "death": self._death}
        self._send_message({"open": request})

    def _hand_over(self, paths: Sequence[Path], flags: int) -> None:
        """Open files and give them to the worker.

        :raises EngineError: one of them cannot be opened
        """
        for begin in range(0, len(paths), FILES_AT_ONCE):
            descriptors: list[int] = []
            try:
                for path in paths[begin : begin + FILES_AT_ONCE]:
                    source = self._sources.get(path)
                    descriptors.append(
                        self._served(source) if source else os.open(path, flags | os.O_CLOEXEC)
                    )
                socket.send_fds(self._channel, [b"f"], descriptors)
            except ConnectionError:
                # A worker that is gone shows itself when its answer is waited for.
                return
            except OSError as error:
                raise EngineError(f"cannot open {error.filename}: {error.strerror}") from error
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _served(self, source: Source) -> int:
        """A descriptor that a source is read through, for as long as the process runs."""
        from cas.dump.served_source import SourceServer  # few dumps need it

        return self._servers.enter_context(SourceServer(source)).theirs.detach()

    def _send_message(self, request: Message) -> None:
        self._child.send(json.dumps(request).encode() + b"\n")

    def _receive_message(self, deadline: float, limit_s: float) -> Message:
        """The worker's next message.

        :param limit_s: what to call the time that was allowed
        :raises EngineError: the worker cannot open the dump
        :raises WorkerEnded: it died, or had to be ended
        """
        while (end := self._received.find(b"\n")) < 0:
            data = self._child.read(max(0.0, deadline - time.monotonic()))
            if data is None:
                stopped = self._child.stopped
                why = self._child.fault or stopped or f"timed out after {limit_s:g} s"
                self._write_drgn_trace(why)
                self._child.stop()
                self._is_alive = False
                raise WorkerEnded(SectionStatus.TIMEOUT, why, is_from_outside=stopped is not None)
            self._received += data
            if not data or len(self._received) > MAX_MESSAGE_BYTES:
                raise self._how_worker_ended()
        message = self._message_of(bytes(self._received[:end]))
        del self._received[: end + 1]
        if message.get("misfit"):
            raise KernelMisfit(message["failed"])
        if "failed" in message:
            raise EngineError(f"drgn cannot open the dump: {message['failed']}")
        return message

    def _message_of(self, line: bytes) -> Message:
        """What the worker says; its process is ended where that is garbage.

        :raises WorkerEnded: a module or a snippet wrote into the channel
        """
        with suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                return message
        raise self._end_for_garbage()

    def _end_for_garbage(self) -> WorkerEnded:
        self._child.stop()
        self._is_alive = False
        why = "drgn's process wrote what is no answer, and was ended"
        return WorkerEnded(SectionStatus.CRASHED, why)

    def _how_worker_ended(self) -> WorkerEnded:
        """How the process ended, by itself or by us."""
        self._is_alive = False
        status = self._child.wait(EXIT_S)
        killed = self._child.stop() if status is None else self._child.end()
        status = killed if status is None else status
        last = self._child.stderr.strip().rpartition("\n")[2]
        end = f"drgn {'was' if status < 0 else 'ended with'} {describe_status(status)}"
        end = f"{end}: {last}" if last else end
        self._write_drgn_trace(end)
        is_starved = OUT_OF_MEMORY.search(self._child.stderr.encode())
        is_killed = is_from_outside(max(0, -status))
        if not is_starved and not is_killed:
            self._death = self._death or end
        kind = SectionStatus.MEMORY if is_starved else SectionStatus.CRASHED
        return WorkerEnded(kind, end, is_from_outside=is_killed)

    def _write_drgn_trace(self, why: str) -> None:
        failure = ProgramFailure(
            "drgn", why, attempt=str(self._starts), rung="drgn", command=self._command
        )
        self._traces(self._child, failure)
