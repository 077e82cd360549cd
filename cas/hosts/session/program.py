"""A program that a session has started on its host: the channel to it, and its end."""

from __future__ import annotations

import math
import re
import signal
import time
from collections.abc import Callable, Sequence

from cas.errors import HostLost
from cas.frozen import dataclass
from cas.hosts.link import READ_BYTES, STDERR_BYTES, WAIT_S
from cas.hosts.session.guard import ENDING_S, Guard, GuardLines, guard_complaint
from cas.hosts.session.lease import Lease
from cas.settings.rules import Supervision
from cas.terminal import Window

SIGNALLED = 128
"""What a shell adds to the number of the signal that ended a program."""


@dataclass(frozen=True, slots=True)
class SessionContext:
    """What the programs of a session have in common."""

    guard: Guard
    lease: Lease
    rules: Supervision
    bwrap_kind: str
    """The kind of bubblewrap there: ``new``, ``old`` or ``none``."""

    def ask_guard(self, task: str, *words: str, max_bytes: int = 4 << 10) -> bytes:
        """What the guard's script says when it does something.

        :raises HostLost: the session is over
        """
        self.lease.check()
        return self.guard.run_task(task, *words, max_bytes=max_bytes).stdout

    def start_words(self, argv: Sequence[str], files: Sequence[str], term: str) -> list[str]:
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
        return [self.bwrap_kind, term, *map(str, limits), str(len(sees)), *sees, *argv]


class Program:
    """A started program and its channel."""

    def __init__(
        self, context: SessionContext, words: Sequence[str], window: Window | None = None
    ) -> None:
        """Start it.

        :param words: see :meth:`SessionContext.start_words`
        :raises HostUnfit: the host cannot start it
        """
        self.context = context
        self._status: int | None = None
        self._is_gone = False
        self.stderr = b""
        """The last of what it wrote there."""
        self.stderr_bytes = 0
        """How much that was in all."""
        context.lease.check()
        self.channel = context.guard.open_channel("start", *words, window=window)
        try:
            lines = GuardLines(context.guard.link, self.channel)
            line = lines.next_line(context.guard.link.keepalive_s)
            if line.startswith("unfit "):
                raise guard_complaint(context.guard, line)
            started = re.fullmatch(r"started (\d{1,9}) (\d{1,9})", line, re.ASCII)
            if not started:
                raise lines.makes_no_sense(line)
            self.shell, self.first_pid = started.groups()
            """The pids of the shell above it, and of the first process below that."""
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
            self.context.lease.check()
            self.channel.settimeout(_seconds_left(deadline, WAIT_S))
            try:
                data = self.channel.recv(READ_BYTES)
            except TimeoutError:
                if time.monotonic() >= deadline:
                    return None
            else:
                if not data:
                    self.context.lease.check()
                return data
            finally:
                self._drain_channel_stderr()

    def write(self, data: bytes, why_not: Callable[[], str | None]) -> bool:
        """Write to its stdin; ``False`` when it does not listen any more.

        :param why_not: asked while it does not read: why to give up, if so
        """
        left = memoryview(data)
        while left:
            self.context.lease.check()
            self.channel.settimeout(WAIT_S)
            try:
                sent = self.channel.send(left.tobytes())
            except TimeoutError:
                self._drain_channel_stderr()
                if why_not():
                    return False
                continue
            except OSError:
                sent = 0
            if not sent:
                self.context.lease.check()
                return False
            left = left[sent:]
        return True

    def send_signal(self, number: signal.Signals) -> None:
        """Send it, and all that it started, a signal."""
        self.context.ask_guard("tell", number.name.removeprefix("SIG"), self.shell)

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status, negative for a signal; ``None`` when it does not end in time.

        :raises HostLost: the session is over, which may be what has ended the program
        """
        deadline = time.monotonic() + timeout_s
        while self._status is None:
            has_ended = self.channel.status_event.wait(_seconds_left(deadline, WAIT_S))
            self._drain_channel_stderr()
            if has_ended:
                self.context.lease.confirm()
                # a shell hands its program's end on; who killed the shell too has killed it
                status = self.channel.exit_status
                if status < 0:
                    status = -signal.SIGKILL
                elif SIGNALLED < status <= SIGNALLED + signal.NSIG:
                    status = SIGNALLED - status
                self._status = status
            else:
                self.context.lease.check()
                if time.monotonic() >= deadline:
                    return None
        return self._status

    def end(self) -> int:
        """Kill it and all that it started; its exit status."""
        if not self._is_gone:
            self.context.ask_guard("end", self.shell)
            if self.wait(ENDING_S) is None:
                raise HostLost(f"{self.context.guard.link.name}: a program there does not end")
            self.channel.close()
            self._is_gone = True
        assert self._status is not None  # noqa: S101  wait() has seen to it
        return self._status

    def _drain_channel_stderr(self) -> None:
        """It must not fill the channel's window."""
        while self.channel.recv_stderr_ready():
            data = self.channel.recv_stderr(READ_BYTES)
            self.stderr_bytes += len(data)
            self.stderr = (self.stderr + data)[-STDERR_BYTES:]


def _seconds_left(deadline: float, longest_s: float) -> float:
    return max(0.0, min(longest_s, deadline - time.monotonic()))
