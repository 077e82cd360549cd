"""A running program: a dialogue with it, a watch over it, and its end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Self

from cas.errors import EngineError, shortage
from cas.frozen import dataclass
from cas.supervise.confinement import (
    MARK,
    Confinement,
    VisibleFiles,
    prepared_start,
    program_environment,
)
from cas.supervise.process_report import processes_shown
from cas.supervise.processes import PAUSE_S, Process, family, kill_family, send, ticks
from cas.supervise.programs import describe_status, describe_stop
from cas.supervise.watchdog import Watchdog

STDERR_TAIL_BYTES = 16 << 10
READ_BYTES = 64 << 10
BOXING_S = 2.0
"""A sandbox is made sooner, even on a busy machine."""
BWRAP_PROCESSES = 2
"""Processes that bubblewrap itself adds to a program's family."""
SIGNALLED = 128
"""What a sandbox adds to the number of the signal that ended its program."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended."""

    status: int
    """Exit status; the negative signal number when a signal ended it."""
    stdout: bytes
    stderr: str
    """Its last lines."""
    timed_out: bool = False
    cut: bool = False
    """It wrote more than it was allowed to and was ended for that."""
    fault: str | None = None
    """Why the watchdog ended it."""

    @property
    def reason(self) -> str:
        """Why it is not to be believed, in a few words."""
        if self.fault:
            return self.fault
        if self.timed_out:
            return "it took too long"
        if self.cut:
            return "it wrote too much"
        last = self.stderr.strip().rpartition("\n")[2]
        return f"{describe_status(self.status)}: {last}" if last else describe_status(self.status)


class Child:
    """A running program with pipes to its stdin and from its stdout and stderr.

    A context manager: at its end the program and everything that it started are gone.
    """

    def __init__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        confinement: Confinement,
        view: VisibleFiles | None = None,
    ) -> None:
        """Start the program.

        :raises EngineError: it cannot be started
        """
        view = view or VisibleFiles()
        mark = os.urandom(8).hex()
        with prepared_start(argv, confinement, view) as start:
            self.program = start.program
            self.argv = [str(self.program), *(os.fspath(word) for word in argv[1:])]
            try:
                self._process = subprocess.Popen(
                    start.words,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=confinement.directory,
                    env=program_environment(confinement, mark),
                    pass_fds=start.descriptors,
                    start_new_session=True,
                    bufsize=0,
                )
            except OSError as error:
                said = f"cannot start {self.argv[0]}: {error.strerror}"
                short = shortage(error)
                raise EngineError(said, hint=short.hint if short else None) from error
        self._is_boxed = confinement.sandbox is not None
        self._mark = None if self._is_boxed else f"{MARK}={mark}".encode()
        self._watchdog = Watchdog(self._ticks_and_processes, confinement.supervision)
        self._watched = [_pipe(self._process.stdout), _pipe(self._process.stderr)]
        self._program_pid: int | None = None
        self._ended: int | None = None
        self._stderr = b""
        self.fault: str | None = None
        """Why the watchdog wants it ended; known after :meth:`read` returned ``None``."""
        self.stopped: str | None = None
        """Which signal had stopped it then, in a few words: that is no fault of its own."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Process id of the program, or of its sandbox if it ended before anybody asked."""
        deadline = time.monotonic() + BOXING_S
        while self._is_boxed and self._program_pid is None and self._process.poll() is None:
            self._program_pid = _program_in_sandbox(self._process.pid)
            if self._program_pid is None:
                time.sleep(PAUSE_S)
            if time.monotonic() > deadline:
                break
        return self._program_pid or self._process.pid

    @property
    def grace_s(self) -> float:
        """Seconds between a request to stop and the kill."""
        return self._watchdog.grace_s

    @property
    def stderr(self) -> str:
        """The last of what it wrote to stderr, up to 16 KiB."""
        return self._stderr.decode("utf-8", "replace")

    def processes(self) -> list[Process]:
        """The program and all that it started, without its sandbox."""
        everyone = family(self._process.pid, self._mark)
        return everyone[2:] if self._is_boxed else everyone

    def state(self) -> Iterator[str]:
        """What ``/proc`` shows of them, in lines, for a trace file."""
        return processes_shown(self.processes())

    def send(self, data: bytes) -> bool:
        """Write to its stdin; ``False`` when it does not listen any more."""
        self.fault = None
        self._watchdog.note_activity()
        try:
            _pipe(self._process.stdin).write(data)
        except (BrokenPipeError, ValueError):
            return False
        return True

    def close_stdin(self) -> None:
        """Let it see the end of its input."""
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).close()

    @property
    def has_spoken(self) -> bool:
        """Whether there is output to read, or its end."""
        return bool(select.select([_pipe(self._process.stdout)], [], [], 0)[0])

    def read(self, timeout_s: float) -> bytes | None:
        """What it wrote to stdout next, up to 64 KiB.

        :return: ``b""`` at the end of its output, ``None`` when nothing came in time, or when the
            watchdog wants the program ended, see ``fault``
        """
        deadline = time.monotonic() + timeout_s
        while True:
            left = max(0.0, deadline - time.monotonic())
            data = self._read_ready(min(left, self._watchdog.interval_s))
            if data is not None:
                return data
            self.fault = self._watchdog.why_to_end()
            if self.fault or left == 0:
                still = (each for each in self.processes() if each.is_stopped)
                self.stopped = next((describe_stop(each.exit_code) for each in still), None)
                self.fault = self.fault and (self.stopped or self.fault)
                return None

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status as in :class:`Finished`; ``None`` when it does not end in time."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._drain_stderr()
        return self._program_status(status)

    def interrupt(self) -> None:
        """Send SIGINT to the program and all that it started, as Ctrl-C would."""
        send(signal.SIGINT, (process.pid for process in self.processes()))

    def stop(self) -> int:
        """Ask it to end, and after the stop interval kill it; its exit status."""
        send(signal.SIGTERM, (process.pid for process in self.processes()))
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self.grace_s)
        return self.end()

    def end(self) -> int:
        """Kill it and everything that it started; its exit status."""
        if self._ended is None:  # its pid may be somebody else's afterwards
            kill_family(self._process.pid, self._mark)
            self._ended = self._process.wait()
        self._drain_stderr()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(BrokenPipeError):
                _pipe(pipe).close()
        return self._program_status(self._ended)

    def _ticks_and_processes(self) -> tuple[int, int]:
        everyone = family(self._process.pid, self._mark)
        return ticks(everyone), len(everyone) - BWRAP_PROCESSES

    def _read_ready(self, timeout_s: float) -> bytes | None:
        """Output, ``b""`` at its end, or ``None``."""
        stdout, stderr = _pipe(self._process.stdout), _pipe(self._process.stderr)
        ready, _, _ = select.select(self._watched, [], [], timeout_s)
        if ready:
            self._watchdog.note_activity()
        if stderr in ready and not self._read_stderr(stderr):
            self._watched.remove(stderr)
        if stdout not in ready:
            return None
        if self._is_boxed and self._program_pid is None:
            self._program_pid = _program_in_sandbox(self._process.pid)
        return os.read(stdout.fileno(), READ_BYTES)

    def _read_stderr(self, stderr: IO[bytes]) -> bool:
        data = os.read(stderr.fileno(), READ_BYTES)
        self._stderr = (self._stderr + data)[-STDERR_TAIL_BYTES:]
        return bool(data)

    def _drain_stderr(self) -> None:
        stderr = _pipe(self._process.stderr)
        while not stderr.closed and select.select([stderr], [], [], 0)[0]:
            if not self._read_stderr(stderr):
                break

    def _program_status(self, status: int) -> int:
        """A sandbox hands its program's end on as a shell does: 128 and the signal."""
        if self._is_boxed and SIGNALLED < status <= SIGNALLED + signal.NSIG:
            return SIGNALLED - status
        return status


def run_program(
    argv: Sequence[str | os.PathLike[str]],
    confinement: Confinement,
    *,
    timeout_s: float,
    max_bytes: int,
) -> Finished:
    """Run a program without input to its end, or to the end of our patience.

    :param max_bytes: of stdout; a program that writes more is ended
    :raises EngineError: it cannot be started
    """
    deadline = time.monotonic() + timeout_s
    output = bytearray()
    with Child(argv, confinement) as child:
        child.close_stdin()
        while len(output) <= max_bytes:
            data = child.read(max(0.0, deadline - time.monotonic()))
            if not data:
                break
            output += data
        else:
            return Finished(child.end(), bytes(output[:max_bytes]), child.stderr, cut=True)
        status = None if data is None else child.wait(max(0.0, deadline - time.monotonic()))
        if status is None:
            fault = child.fault
            ended = child.stop()
            return Finished(ended, bytes(output), child.stderr, timed_out=True, fault=fault)
        return Finished(status, bytes(output), child.stderr)


def _program_in_sandbox(pid: int) -> int | None:
    """The program in a sandbox: below bubblewrap's own two processes."""
    for _ in range(2):
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return None
        if not children:
            return None
        pid = int(children[0])
    return pid


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101  every Child has all three pipes
    return pipe
