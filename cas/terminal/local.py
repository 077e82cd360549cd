"""A program of this machine on a terminal of its own, confined as debuggers are."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Self

from cas.errors import EngineError, shortage
from cas.supervise import SAFE_PATH, Confinement, VisibleFiles, find_program
from cas.supervise.confinement import MARK, prepared_start, program_environment
from cas.supervise.processes import kill_family
from cas.supervise.sandbox import visible
from cas.terminal.session import Size

READ_BYTES = 64 << 10
LOOK_S = 0.5
"""Seconds between two looks whether the program runs: what it left behind may hold its terminal."""
EXIT_S = 5.0
"""Seconds between the end of its output and its own."""
SIGNALLED = 128
"""What a sandbox adds to the number of the signal that ended its program."""


class LocalTerminal:
    """A program, its limits and sandbox, and a terminal that belongs to nobody else.

    A context manager: at its end the program and everything that it started are gone. There is no
    watchdog: a session that waits for its user is silent.
    """

    def __init__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        confinement: Confinement,
        view: VisibleFiles,
        size: Size,
    ) -> None:
        """Start the program.

        :raises EngineError: it cannot be started
        """
        self._is_boxed = confinement.sandbox is not None
        mark = secrets.token_hex(8)
        self._mark = None if self._is_boxed else f"{MARK}={mark}".encode()
        words, view = _owning_terminal(argv, view)
        with prepared_start(words, confinement, view) as start:
            self._master, theirs = os.openpty()
            try:
                _resize_pty(self._master, size)
                os.set_blocking(self._master, False)
                # setsid in the words gives it a session; it forks where it leads a group already
                self._process = subprocess.Popen(
                    start.words,
                    stdin=theirs,
                    stdout=theirs,
                    stderr=theirs,
                    cwd=confinement.directory,
                    env=program_environment(confinement, mark),
                    pass_fds=start.descriptors,
                    start_new_session=self._is_boxed,
                )
            except OSError as error:
                os.close(self._master)
                said = f"cannot start {start.program}: {error.strerror}"
                short = shortage(error)
                raise EngineError(said, hint=short.hint if short else None) from error
            finally:
                os.close(theirs)
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        os.close(self._master)

    def read(self, timeout_s: float) -> bytes | None:
        """See :class:`cas.terminal.session.Terminal`."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._master], [], [], min(left, LOOK_S))
            if ready:
                try:
                    return os.read(self._master, READ_BYTES)
                except OSError as error:
                    if error.errno != errno.EIO:  # nobody has it open any more
                        raise
                    return b""
            if self._is_closed or self._process.poll() is not None:
                return b""
            if left == 0:
                return None

    def write(self, data: bytes) -> None:
        """See :class:`cas.terminal.session.Terminal`."""
        while data and not self._is_closed and self._process.poll() is None:
            _, ready, _ = select.select([], [self._master], [], LOOK_S)
            if ready:
                with suppress(BlockingIOError):
                    data = data[os.write(self._master, data) :]

    def resize(self, size: Size) -> None:
        """See :class:`cas.terminal.session.Terminal`."""
        _resize_pty(self._master, size)

    def wait(self) -> int:
        """See :class:`cas.terminal.session.Terminal`."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_S)
        self.close()
        status = self._process.wait()
        if self._is_boxed and SIGNALLED < status <= SIGNALLED + signal.NSIG:
            return SIGNALLED - status
        return status

    def close(self) -> None:
        """See :class:`cas.terminal.session.Terminal`."""
        if not self._is_closed:  # its pid may be somebody else's afterwards
            self._is_closed = True
            kill_family(self._process.pid, self._mark)
        self._process.wait()


def _owning_terminal(
    argv: Sequence[str | os.PathLike[str]], view: VisibleFiles
) -> tuple[list[str | os.PathLike[str]], VisibleFiles]:
    """The words that start a program as the owner of the terminal on its stdin.

    Ctrl-C must reach the program and not its sandbox, which would end at once. So the session is
    made inside of that.

    :raises EngineError: there is no such program
    """
    program = find_program(os.fspath(argv[0]))
    if program is None:
        raise EngineError(f"cannot start {os.fspath(argv[0])}: No such file or directory")
    setsid = find_program("setsid", SAFE_PATH)
    if setsid is None:
        raise EngineError("there is no setsid", hint="install util-linux")
    files = {**dict(visible([program])), **view.files}
    return [setsid, "--ctty", program, *argv[1:]], replace(view, files=files)


def _resize_pty(terminal: int, size: Size) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))
