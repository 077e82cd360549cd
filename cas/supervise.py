"""The one place that starts programs: a clean environment, limits, and an end for everything.

A debugger on a damaged dump hangs, spins, dies or eats memory. Each program therefore runs in a
session of its own, so that it ends together with whatever it started.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from cas.errors import EngineError

STDERR_TAIL_BYTES = 16 << 10
READ_BYTES = 64 << 10
SAFE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"


@dataclass(frozen=True, slots=True)
class Room:
    """Where a program runs and what it may use."""

    directory: Path
    """Working directory and HOME: empty, so that no ``.crashrc`` or ``.gdbinit`` is obeyed."""
    memory_bytes: int | None = None
    """Limit of its address space."""
    environment: Mapping[str, str] | None = None
    """Variables beside PATH, HOME, LANG and TERM."""


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
    """Whether it wrote more than it was allowed to and was ended for that."""

    @property
    def reason(self) -> str:
        """Why it is not to be believed, in a few words."""
        if self.timed_out:
            return "it took too long"
        if self.cut:
            return "it wrote too much"
        last = self.stderr.strip().rpartition("\n")[2]
        return f"{describe(self.status)}: {last}" if last else describe(self.status)


def describe(status: int) -> str:
    """An exit status in words: ``exit status 1`` or ``killed by SIGSEGV``."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def find_program(name: str, path: str | None = None) -> Path | None:
    """The executable that a name or path means; ``None`` when there is none.

    :param path: directories to search, as in the PATH variable; default: the process's
    """
    found = shutil.which(name, path=path)
    return Path(found).absolute() if found else None


class Child:
    """A running program with pipes to its stdin and from its stdout and stderr.

    A context manager: at its end the program and everything that it started are gone.
    """

    def __init__(self, argv: Sequence[str | os.PathLike[str]], room: Room) -> None:
        """Start the program.

        :raises EngineError: it cannot be started
        """
        self.argv = [os.fspath(word) for word in argv]
        try:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=room.directory,
                env=_environment(room),
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise EngineError(f"cannot start {self.argv[0]}: {error.strerror}") from error
        if room.memory_bytes:
            limit = (room.memory_bytes, room.memory_bytes)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                resource.prlimit(self.pid, resource.RLIMIT_AS, limit)
        self._stderr = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Process id, which is its session's and process group's id too."""
        return self._process.pid

    @property
    def stderr(self) -> str:
        """The last of what it wrote to stderr, up to 16 KiB."""
        return self._stderr.decode("utf-8", "replace")

    def send(self, data: bytes) -> bool:
        """Write to its stdin; ``False`` when it does not listen any more."""
        try:
            _pipe(self._process.stdin).write(data)
        except (BrokenPipeError, ValueError):
            return False
        return True

    def close_stdin(self) -> None:
        """Let it see the end of its input."""
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).close()

    def read(self, timeout_s: float) -> bytes | None:
        """What it wrote to stdout next, up to 64 KiB.

        :return: ``b""`` at the end of its output, ``None`` when nothing came in time
        """
        deadline = time.monotonic() + timeout_s
        stdout, stderr = _pipe(self._process.stdout), _pipe(self._process.stderr)
        watched: list[IO[bytes]] = [stdout] if stderr.closed else [stdout, stderr]
        while (left := deadline - time.monotonic()) >= 0:
            ready, _, _ = select.select(watched, [], [], left)
            if stderr in ready and not self._read_stderr(stderr):
                watched.remove(stderr)
            if stdout in ready:
                return os.read(stdout.fileno(), READ_BYTES)
        return None

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status as in :class:`Finished`; ``None`` when it does not end in time."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._drain_stderr()
        return status

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C would."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGINT)

    def end(self) -> int:
        """Kill it and everything in its session; its exit status."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        status = self._process.wait()
        self._drain_stderr()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(BrokenPipeError):
                _pipe(pipe).close()
        return status

    def _read_stderr(self, stderr: IO[bytes]) -> bool:
        data = os.read(stderr.fileno(), READ_BYTES)
        self._stderr = (self._stderr + data)[-STDERR_TAIL_BYTES:]
        return bool(data)

    def _drain_stderr(self) -> None:
        stderr = _pipe(self._process.stderr)
        while not stderr.closed and select.select([stderr], [], [], 0)[0]:
            if not self._read_stderr(stderr):
                break


def run(
    argv: Sequence[str | os.PathLike[str]], room: Room, *, timeout_s: float, max_bytes: int
) -> Finished:
    """Run a program without input to its end, or to the end of our patience.

    :param max_bytes: of stdout; a program that writes more is ended
    :raises EngineError: it cannot be started
    """
    deadline = time.monotonic() + timeout_s
    output = bytearray()
    with Child(argv, room) as child:
        child.close_stdin()
        while len(output) <= max_bytes:
            data = child.read(deadline - time.monotonic())
            if not data:
                break
            output += data
        else:
            return Finished(child.end(), bytes(output[:max_bytes]), child.stderr, cut=True)
        status = None if data is None else child.wait(max(0.0, deadline - time.monotonic()))
        if status is None:
            return Finished(child.end(), bytes(output), child.stderr, timed_out=True)
        return Finished(status, bytes(output), child.stderr)


def _environment(room: Room) -> dict[str, str]:
    return {
        "PATH": SAFE_PATH,
        "HOME": str(room.directory),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        **(room.environment or {}),
    }


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101  every Child has all three pipes
    return pipe
