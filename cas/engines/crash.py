"""The crash engine: a session fed command by command, so that each has limits of its own.

crash reads commands from a pipe as from a terminal. After each command it is asked to echo a
marker that no dump can know; what it writes before the marker is that command's output. Its exit
status says nothing (it exits 0 after failed commands and on truncated dumps) and is not used.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from cas.engines.limits import Limits
from cas.errors import EngineError
from cas.model import Section, Snippet
from cas.supervise import Child, Room, describe, run

RUNGS: tuple[tuple[str, ...], ...] = ((), ("--zero_excluded",), ("--minimal",))
"""Options tried in order when crash cannot open a dump; the first means: as it is."""
RESYNC_S = 5.0
MAX_RESTARTS = 3
FEW_LINES = 12
"""Of output; a command that wrote more has done something, whatever it complained about."""
BLIND = b"not found in PID hash"
"""crash 8.0.2 says this of kernels whose ``struct pid`` ends in a flexible array, and then sees
no tasks but the running ones."""


@dataclass(frozen=True, slots=True)
class Target:
    """The files that a session is about."""

    program: Path
    vmlinux: Path
    vmcore: Path


@dataclass(slots=True)
class _Outcome:
    status: str
    error: str | None = None
    size_bytes: int = 0


class Crash:
    """A crash session on one dump; it starts at once and is waited for when it is needed."""

    def __init__(self, what: Target, limits: Limits, room: Path, transcript: IO[bytes]) -> None:
        """Start crash.

        :param room: an empty directory for it to run in
        :param transcript: receives everything that crash writes
        :raises EngineError: the program cannot be started
        """
        self._what = what
        self._limits = limits
        self._room = Room(room, limits.memory_bytes)
        self._transcript = transcript
        self._rung = 0
        self._restarts = 0
        self.ladder: list[str] = []
        """The rungs tried, in order."""
        self._is_open = False
        self.sees_all_tasks = True
        """Whether commands that walk the tasks can be believed; known once it is open."""
        self._child = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end()

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
            reasons.append(f"crash {' '.join(RUNGS[self._rung])}".strip() + f": {reason}")
            self._child.end()
            self._rung += 1
            if self._rung == len(RUNGS):
                raise EngineError("; ".join(reasons), hint=self._advice())
            self._child = self._start()
        return " ".join(RUNGS[self._rung])

    def run(self, snippet: Snippet, path: Path) -> Section:
        """Run a snippet into its file; a command that breaks a limit does not stop the next."""
        begun = time.monotonic()
        outcomes = []
        with path.open("wb") as file:
            for command in snippet.commands:
                budget = self._limits.section_bytes - file.tell()
                outcomes.append(self._run_command(command, file, budget))
        worst = max(outcomes, key=lambda outcome: _WEIGHT[outcome.status])
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

    def _start(self) -> Child:
        options = RUNGS[self._rung]
        self.ladder.append(" ".join(("crash", *options)))
        what = self._what
        self._is_open = False
        argv: list[str | Path] = [
            what.program,
            "--no_crashrc",
            "-s",
            *options,
            what.vmlinux,
            what.vmcore,
        ]
        child = Child(argv, self._room)
        self._marker = _new_marker()
        child.send(b"echo " + self._marker + b"\n")
        return child

    def _wait_until_open(self) -> str | None:
        """Why crash did not open the dump; ``None`` when it did."""
        said = bytearray()
        outcome = self._collect(said, self._limits.start_s)
        if outcome.status == "ok":
            self._is_open = True
            self.sees_all_tasks = BLIND not in said
            return None
        if outcome.status == "timeout":
            return f"not ready after {self._limits.start_s:.0f} s"
        last = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()][-1:]
        return f"{outcome.error}: {last[0]}" if last else f"{outcome.error} without a message"

    def _advice(self) -> str:
        version = _version(self._what.program, self._room)
        return f"{version} may be too old for this kernel, or the dump damaged; try --engine drgn"

    def _run_command(self, command: str, file: IO[bytes], budget: int) -> _Outcome:
        if not self._is_open:
            return _Outcome("not run", f"{command}: crash could not be started again")
        self._marker = _new_marker()
        self._transcript.write(b"crash> " + command.encode() + b"\n")
        self._child.send(command.encode() + b"\necho " + self._marker + b"\n")
        said = bytearray()
        outcome = self._collect(said, self._limits.command_s, max(budget, 0))
        file.write(said)
        if outcome.status == "ok":
            return _judge(command, said)
        self._recover(outcome.status)
        outcome.error = f"{command}: {outcome.error}"
        return outcome

    def _collect(self, said: bytearray, timeout_s: float, budget: int = 1 << 20) -> _Outcome:
        """Take crash's output up to the marker; how that ended."""
        deadline = time.monotonic() + timeout_s
        while True:
            data = self._child.read(max(0.0, deadline - time.monotonic()))
            if data is None:
                return _Outcome("timeout", f"timed out after {timeout_s:.0f} s")
            if not data:
                status = self._child.wait(1.0)
                return _Outcome(
                    "crashed", describe(self._child.end() if status is None else status)
                )
            self._transcript.write(data)
            said += data
            # only the tail can hold the marker: a marker is 40 bytes, a chunk at most 64 KiB
            found = said.find(self._marker, max(0, len(said) - len(data) - len(self._marker)))
            if found >= 0:
                del said[found:]
                # crash's line reader writes an empty line before what a command writes
                said[:1] = said[:1].replace(b"\n", b"")
                return _Outcome("ok")
            if len(said) > budget:
                del said[budget:]
                return _Outcome("cut", f"cut after {budget} bytes")

    def _recover(self, status: str) -> None:
        """Get a session that takes commands again."""
        if status != "crashed" and self._resync():
            return
        self._child.end()
        self._is_open = False
        if self._restarts < MAX_RESTARTS:
            self._restarts += 1
            self._child = self._start()
            self._wait_until_open()

    def _resync(self) -> bool:
        """Interrupt the running command; ``False`` when crash does not come back."""
        self._child.interrupt()
        deadline = time.monotonic() + RESYNC_S
        while time.monotonic() < deadline:
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


_WEIGHT = {"ok": 0, "failed": 1, "not run": 2, "cut": 3, "timeout": 4, "crashed": 5}


def version(program: Path, room: Path) -> str | None:
    """What the program calls itself, e.g. ``crash 8.0.2``; ``None`` if it is not crash."""
    finished = run([program, "--version"], Room(room), timeout_s=10, max_bytes=64 << 10)
    found = re.search(rb"^crash \S+", finished.stdout, re.MULTILINE)
    return found[0].decode("ascii", "replace") if found else None


def _version(program: Path, room: Room) -> str:
    return version(program, room.directory) or str(program)


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
    return _Outcome("failed", complaint) if complaint else _Outcome("ok")
