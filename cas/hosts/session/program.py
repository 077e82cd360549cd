"""A program that a session has started on its host: the channel to it, and its end."""

from __future__ import annotations

import math
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cas.errors import HostLost
from cas.hosts.link import READ_BYTES, STDERR_BYTES, WAIT_S, HostUnfit
from cas.hosts.session.lease import ENDING_S, SHOWN_CHARS, Lease, Lines, Post, Screen
from cas.settings.rules import Supervision
from cas.text import short_line

SIGNALLED = 128
"""What a shell adds to the number of the signal that ended a program."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What a session's programs have in common."""

    post: Post
    lease: Lease
    rules: Supervision
    box: str
    """The kind of bubblewrap there: ``new``, ``old`` or ``none``."""

    def ask(self, task: str, *words: str, max_bytes: int = 4 << 10) -> bytes:
        """What the guard's script says when it does something.

        :raises HostLost: the session is over
        """
        self.lease.check()
        return self.post.run(task, *words, max_bytes=max_bytes).stdout

    def words(self, argv: Sequence[str], files: Sequence[str], term: str) -> list[str]:
        """What guard.sh is told in order to start a program."""
        rules = self.rules
        # its own file must be in the sandbox too
        sees = [*files, *(word for word in argv[:1] if "/" in word)]
        limits = (
            rules.memory_bytes >> 10,
            math.ceil(rules.cpu_s),
            rules.file_bytes >> 10,
            rules.processes,
        )
        return [self.box, term, *map(str, limits), str(len(sees)), *sees, *argv]


class Program:
    """A started program and its channel."""

    def __init__(self, seat: Seat, words: Sequence[str], screen: Screen | None = None) -> None:
        """Start it.

        :param words: see :meth:`Seat.words`
        :raises HostUnfit: the host cannot start it
        """
        self.seat = seat
        self._status: int | None = None
        self._is_gone = False
        self.stderr = b""
        """The last of what it wrote there."""
        self.stderr_bytes = 0
        """How much that was in all."""
        seat.lease.check()
        self.channel = seat.post.opened("start", *words, screen=screen)
        try:
            lines = Lines(seat.post.link, self.channel)
            self.shell, self.first_pid = self._greeting(lines)
        except BaseException:
            self.channel.close()
            raise
        self._early = lines.rest

    def read(self, timeout_s: float) -> bytes | None:
        """What it wrote next; ``b""`` at the end, ``None`` when nothing came in time."""
        if self._early:
            data, self._early = self._early, b""
            return data
        deadline = time.monotonic() + timeout_s
        while True:
            self.seat.lease.check()
            self.channel.settimeout(_until(deadline, WAIT_S))
            try:
                data = self.channel.recv(READ_BYTES)
            except TimeoutError:
                if time.monotonic() >= deadline:
                    return None
            else:
                if not data:
                    self.seat.lease.check()
                return data
            finally:
                self._drain_stderr()

    def write(self, data: bytes, why_not: Callable[[], str | None]) -> bool:
        """Write to its stdin; ``False`` when it does not listen any more.

        :param why_not: asked while it does not read: why to give up, if so
        """
        left = memoryview(data)
        while left:
            self.seat.lease.check()
            self.channel.settimeout(WAIT_S)
            try:
                sent = self.channel.send(left.tobytes())
            except TimeoutError:
                self._drain_stderr()
                if why_not():
                    return False
                continue
            except OSError:
                sent = 0
            if not sent:
                self.seat.lease.check()
                return False
            left = left[sent:]
        return True

    def tell(self, number: signal.Signals) -> None:
        """Send it, and all that it started, a signal."""
        self.seat.ask("tell", number.name.removeprefix("SIG"), self.shell)

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status, negative for a signal; ``None`` when it does not end in time.

        :raises HostLost: the session is over, which may be what has ended the program
        """
        if self._status is None and self._is_ended(timeout_s):
            self._drain_stderr()
            self.seat.lease.confirm()
            self._status = _told(self.channel.exit_status)
        return self._status

    def end(self) -> int:
        """Kill it and all that it started; its exit status."""
        if not self._is_gone:
            self.seat.ask("end", self.shell)
            if self.wait(ENDING_S) is None:
                raise HostLost(f"{self.seat.post.link.name}: a program there does not end")
            self.channel.close()
            self._is_gone = True
        assert self._status is not None  # noqa: S101  wait() has seen to it
        return self._status

    def _is_ended(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not self.channel.status_event.wait(_until(deadline, WAIT_S)):
            self.seat.lease.check()
            self._drain_stderr()
            if time.monotonic() >= deadline:
                return False
        return True

    def _greeting(self, lines: Lines) -> tuple[str, str]:
        """The pids of the shell above it, and of the first process below that."""
        line = lines.next(self.seat.post.link.keepalive_s)
        if line.startswith("unfit "):
            raise unfit(self.seat.post, line)
        found = re.fullmatch(r"started (\d{1,9}) (\d{1,9})", line, re.ASCII)
        if not found:
            raise lines.nonsense(line)
        return found[1], found[2]

    def _drain_stderr(self) -> None:
        """It must not fill the channel's window."""
        while self.channel.recv_stderr_ready():
            data = self.channel.recv_stderr(READ_BYTES)
            self.stderr_bytes += len(data)
            self.stderr = (self.stderr + data)[-STDERR_BYTES:]


def unfit(post: Post, line: str) -> HostUnfit:
    """Say what the guard complains of."""
    return HostUnfit(f"{post.link.name}: {short_line(line.removeprefix('unfit '), SHOWN_CHARS)}")


def _until(deadline: float, longest_s: float) -> float:
    return max(0.0, min(longest_s, deadline - time.monotonic()))


def _told(status: int) -> int:
    """A shell hands its program's end on; who killed the shell too has killed the program."""
    if status < 0:
        return -signal.SIGKILL
    if SIGNALLED < status <= SIGNALLED + signal.NSIG:
        return SIGNALLED - status
    return status
