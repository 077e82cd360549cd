"""The crash engine: a session fed command by command, so that each has limits of its own.

crash reads commands from a pipe as from a terminal. After each command it is asked to echo a
marker that no dump can know; what it writes before the marker is that command's output. Its exit
status says nothing (it exits 0 after failed commands and on truncated dumps) and is not used.
"""

from __future__ import annotations

import io
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from cas.engines.crash_rungs import FULL, MINIMAL, OUT_OF_MEMORY, name_of, next_rung
from cas.engines.outcome import WEIGHT, budget
from cas.engines.place import Place
from cas.errors import EngineError
from cas.files import create
from cas.model import Section, Snippet
from cas.rules import Supervision
from cas.supervise import Dialogue, Fault, Starts, describe, write_trace
from cas.text import human_size

log = logging.getLogger("cas")
MESSAGES_BYTES = 1 << 20
"""Of what crash says while it opens a dump."""
LAST_WORDS_BYTES = 4 << 10
FEW_LINES = 12
"""Of output; a command that wrote more has done something, whatever it complained about."""
BLIND = b"not found in PID hash"
"""crash 8.0.2 says this of kernels whose ``struct pid`` ends in a flexible array, and then sees
no tasks but the running ones."""
OPENING = "(opening the dump)"


@dataclass(slots=True)
class _Outcome:
    status: str
    error: str | None = None


class Crash:
    """A crash session on one dump; it starts at once and is waited for when it is needed."""

    def __init__(
        self, place: Place, rules: Supervision, directory: Path, transcript: IO[bytes]
    ) -> None:
        """Start crash.

        :param directory: receives trace files
        :param transcript: receives everything that crash writes
        :raises EngineError: the program cannot be started
        """
        self._place = place
        self._rules = rules
        self._directory = directory
        self._transcript = transcript
        self._starts = Starts("crash", self._rules)
        self._options = FULL
        self.ladder: list[str] = []
        """The rungs tried, in order."""
        self.prelude: Sequence[str] = ()
        """Commands that come first, whenever it was started; what they write is not kept."""
        self._is_open = False
        self.sees_all_tasks = True
        """Whether commands that walk the tasks can be believed; known once it is open."""
        self._said = bytearray()
        """What it wrote since it was last given something to do."""
        self._command = OPENING
        self._child = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end()

    @property
    def is_minimal(self) -> bool:
        """Whether only crash's few commands for damaged dumps are there."""
        return self._options == MINIMAL

    def open(self) -> str:
        """Wait until crash has read the dump; with fewer demands if it cannot.

        :return: the options it was opened with, empty when it took the dump as it is
        :raises EngineError: no rung opened it; the message has each one's reason
        """
        reasons: list[str] = []
        while not self._is_open:
            reason = self._wait_until_open()
            if reason is None:
                break
            reasons.append(f"{self._rung}: {reason}")
            options = next_rung(self._options, self._last_words())
            if options is None or self._starts.are_exhausted:
                raise EngineError("; ".join(reasons), hint=self._advice())
            self._options = options
            self._child = self._start()
        return " ".join(self._options)

    def run(self, snippet: Snippet, path: Path) -> Section:
        """Run a snippet into its file; a command that breaks a limit does not stop the next."""
        begun = time.monotonic()
        outcomes = []
        with create(path) as file:
            for command in snippet.commands:
                outcomes.append(self._run_command(command, file))
        worst = max(outcomes, key=lambda outcome: WEIGHT[outcome.status])
        return Section(
            snippet.name,
            snippet.title,
            worst.status,
            "crash",
            path,
            seconds=time.monotonic() - begun,
            size_bytes=path.stat().st_size,
            error="; ".join(outcome.error for outcome in outcomes if outcome.error) or None,
        )

    def _start(self) -> Dialogue:
        self._starts.take()
        if self.ladder[-1:] != [self._rung]:
            self.ladder.append(self._rung)
        self._is_open = False
        child = self._place.start(self._options)
        self._command = OPENING
        self._marker = _new_marker()
        child.send(b"echo " + self._marker + b"\n")
        return child

    def _wait_until_open(self) -> str | None:
        """Why crash did not open the dump, and is gone; ``None`` when it did."""
        outcome = self._collect(self._rules.start_s, MESSAGES_BYTES)
        if outcome.status == "ok":
            self._is_open = True
            self.sees_all_tasks = BLIND not in self._said
            self._prepare()
            return None
        reason = outcome.error or outcome.status
        if outcome.status == "timeout" and not self._child.fault:
            reason = f"not ready after {self._rules.start_s:g} s"
        words = self._last_words()
        last = [line for line in words.decode("utf-8", "replace").splitlines() if line.strip()][-1:]
        if outcome.status == "timeout" or "killed" in reason or not last:
            self._trace(reason)
        self._child.stop()
        if outcome.status == "timeout":
            return reason
        return f"{reason}: {last[0]}" if last else f"{reason} without a message"

    def _prepare(self) -> None:
        """Run the prelude; a command of it that fails is only logged."""
        whole = tuple(self.prelude)
        for command in whole:
            if not self._is_open:
                return
            # crash that is started again because of it must not stumble over it again
            self.prelude = [other for other in self.prelude if other != command]
            outcome = self._run_command(command, io.BytesIO())
            if outcome.status in ("ok", "failed"):
                self.prelude = [other for other in whole if other in (*self.prelude, command)]
            if outcome.status != "ok":
                log.info("prelude: %s: %s", command, outcome.error)

    @property
    def _rung(self) -> str:
        rung = name_of(self._options)
        return f"{rung} on {self._place.name}" if self._place.name else rung

    def _last_words(self) -> bytes:
        return bytes(self._said[-LAST_WORDS_BYTES:]) + self._child.stderr.encode()

    def _advice(self) -> str:
        program = self._place.version() or "crash"
        return f"{program} may be too old for this kernel, or the dump damaged; try --engine drgn"

    def _run_command(self, command: str, file: IO[bytes]) -> _Outcome:
        if not self._is_open:
            return _Outcome("not run", f"{command}: crash could not be started again")
        self._marker = _new_marker()
        self._command = command
        self._transcript.write(b"crash> " + command.encode() + b"\n")
        self._child.send(command.encode() + b"\necho " + self._marker + b"\n")
        outcome = self._collect(self._rules.command_s, budget(self._rules, file.tell()))
        file.write(self._said)
        if outcome.status == "ok":
            return _judge(command, self._said)
        self._trace(outcome.error or outcome.status)
        self._recover(outcome.status)
        outcome.error = f"{command}: {outcome.error}"
        return outcome

    def _collect(self, timeout_s: float, max_bytes: int) -> _Outcome:
        """Take crash's output up to the marker; how that ended."""
        said = self._said = bytearray()
        deadline = time.monotonic() + timeout_s
        while True:
            data = self._child.read(max(0.0, deadline - time.monotonic()))
            if data is None:
                return _Outcome("timeout", self._child.fault or f"timed out after {timeout_s:g} s")
            if not data:
                return self._death()
            self._transcript.write(data)
            said += data
            # only the tail can hold the marker: a marker is 40 bytes, a chunk at most 64 KiB
            found = said.find(self._marker, max(0, len(said) - len(data) - len(self._marker)))
            if found >= 0:
                del said[found:]
                # crash's line reader writes an empty line before what a command writes
                said[:1] = said[:1].replace(b"\n", b"")
            if len(said) > max_bytes:
                del said[max_bytes:]
                return _Outcome("cut", f"cut after {max_bytes} bytes")
            if found >= 0:
                return _Outcome("ok")
            if time.monotonic() > deadline:
                return _Outcome("timeout", f"timed out after {timeout_s:g} s")

    def _death(self) -> _Outcome:
        status = self._child.wait(1.0)
        end = describe(self._child.stop() if status is None else status)
        if OUT_OF_MEMORY.search(self._last_words()):
            limit = human_size(self._rules.memory_bytes)
            return _Outcome("memory", f"out of memory, the limit is {limit}: {end}")
        return _Outcome("crashed", end)

    def _trace(self, why: str) -> None:
        fault = Fault(
            "crash",
            why,
            attempt=str(self._starts),
            rung=self._rung,
            command=self._command,
            output=bytes(self._said[-LAST_WORDS_BYTES * 16 :]),
        )
        write_trace(self._directory, self._child, fault)

    def _recover(self, status: str) -> None:
        """Get a session that takes commands again; the one that broke a limit is left out."""
        if status not in ("crashed", "memory") and self._resync():
            return
        self._child.end()
        self._is_open = False
        if not self._starts.are_exhausted:
            self._child = self._start()
            self._wait_until_open()

    def _resync(self) -> bool:
        """Interrupt the running command; ``False`` when crash does not come back."""
        deadline = time.monotonic() + self._child.grace_s
        while time.monotonic() < deadline:
            self._child.interrupt()  # one may come at a bad moment
            # crash answers an interrupt with an empty line, and drops what it is sent before that
            self._child.read(0.1)
            self._marker = _new_marker()
            self._child.send(b"\necho " + self._marker + b"\n")
            if self._skip_to_marker(deadline):
                return True
        return False

    def _skip_to_marker(self, deadline: float) -> bool:
        tail = b""
        while time.monotonic() < deadline:
            data = self._child.read(0.5)
            if not data:
                return False
            tail = tail[-len(self._marker) :] + data
            if self._marker in tail:
                return True
        return False


def _new_marker() -> bytes:
    return b"cas-end-of-command-" + secrets.token_hex(10).encode()


def _judge(command: str, said: bytearray) -> _Outcome:
    """Whether crash refused the command: it says ``NAME: reason``, first or last.

    One bad stack among a hundred good ones (``foreach bt``) does not make the command a failure.
    """
    lines = [line for line in bytes(said).decode("utf-8", "replace").splitlines() if line.strip()]
    name = command.split(maxsplit=1)[0]
    if lines[:1] == ["Usage:"]:
        return _Outcome("failed", f"{name}: this crash does not take the options of: {command}")
    marks = (f"{name}: ", "crash: ")
    suspects = lines[:1] if len(lines) > FEW_LINES else lines[:1] + lines[-4:]
    complaint = next((line for line in suspects if line.startswith(marks)), None)
    if complaint is None:
        return _Outcome("ok")
    is_starved = OUT_OF_MEMORY.search(complaint.encode())
    return _Outcome("memory" if is_starved else "failed", complaint)
