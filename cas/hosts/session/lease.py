"""The control channel of a session on a host: its beats, and what the guard there answers.

The guard (``guard.sh``) ends the session when no beat comes for the keepalive interval; we call
the host lost when no answer does.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from typing import Self

import paramiko

from cas.errors import HostLost
from cas.hosts.link import Done, HostUnfit, Link, command
from cas.text import one_line

GUARD = resources.files("cas.hosts.session").joinpath("guard.sh").read_text(encoding="utf-8")
LINE_BYTES = 8 << 10
"""Of an answer, at most."""
SHOWN_CHARS = 200
"""Of an answer that makes no sense."""
ENDING_S = 10.0
"""For the guard to end a session."""
ANSWER = re.compile(r"beat (\d{1,9}) (\d{1,15}) (\d{1,7})", re.ASCII)
"""Its number; clock ticks and number of the programs' processes."""


@dataclass(frozen=True, slots=True)
class Screen:
    """What a program on a terminal is told about it."""

    term: str
    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Post:
    """Where a session is: the host, the directory for all that is ours there, its name."""

    link: Link
    root: str
    name: str

    def run(self, task: str, *words: str, max_bytes: int = 4 << 10) -> Done:
        """Have the guard's script do something to its end.

        :raises HostLost: the link broke, it took too long, or it wrote more than that
        """
        words = (task, self.root, self.name, *words)
        try:
            return self.link.run(GUARD, *words, timeout_s=ENDING_S, max_bytes=max_bytes)
        except HostUnfit as error:
            raise HostLost(str(error)) from None

    def opened(self, task: str, *words: str, screen: Screen | None = None) -> paramiko.Channel:
        """A channel to the guard's script.

        :raises HostLost: the link broke
        :raises HostUnfit: sshd allows no further channel
        """
        link = self.link
        with link.translated():
            channel = link.connection.transport.open_session(timeout=link.keepalive_s)
            channel.settimeout(link.keepalive_s)
            if screen:
                channel.get_pty(screen.term, screen.columns, screen.rows)
            channel.exec_command(command(GUARD, task, self.root, self.name, *words))
        return channel


class Lines:
    """What a guard answers on a channel, line by line."""

    def __init__(self, link: Link, channel: paramiko.Channel) -> None:
        self.rest = b""
        """What came behind the last line."""
        self._link = link
        self._channel = channel

    def next(self, timeout_s: float) -> str:
        """The next line, without its end.

        :raises HostLost: none came in time, or nothing that is a line
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self.rest:
            if len(self.rest) > LINE_BYTES:
                raise self.nonsense(self.rest.decode("utf-8", "replace"))
            data = self._link.read(self._channel, max(0.0, deadline - time.monotonic()))
            if data is None:
                raise HostLost(f"{self._link.name}: its guard did not answer for {timeout_s:g} s")
            if not data:
                raise HostLost(f"{self._link.name}: its guard has ended{self._last_words()}")
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode("utf-8", "replace").removesuffix("\r")

    def nonsense(self, line: str) -> HostLost:
        """Say that an answer makes no sense."""
        said = one_line(line[:SHOWN_CHARS])[:SHOWN_CHARS]
        return HostLost(f"{self._link.name}: its guard answers nonsense: {said}")

    def _last_words(self) -> str:
        said = b""
        with suppress(TimeoutError):
            while self._channel.recv_stderr_ready() and len(said) < LINE_BYTES:
                said += self._channel.recv_stderr(LINE_BYTES)
        last = one_line(said.decode("utf-8", "replace").strip().rpartition("\n")[2][:SHOWN_CHARS])
        return f": {last}" if last else ""


class Lease:
    """Beats that keep a session, sent by a thread; a context manager that ends it."""

    def __init__(self, post: Post, channel: paramiko.Channel, lines: Lines, pause_s: float) -> None:
        """Begin to send them.

        :param pause_s: between two
        """
        self.ticks = 0
        """Processor time that its programs used, in clock ticks of the host."""
        self.processes = 0
        """That its programs consist of."""
        self._post = post
        self._channel = channel
        self._lines = lines
        self._pause_s = pause_s
        self._problem: str | None = None
        self._sent = self._wanted = self._answered = 0
        self._is_over = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._keep, name=f"lease {post.name}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._news:
            self._is_over = True
            self._news.notify_all()
        self._thread.join()
        if not self._problem:
            with suppress(HostLost):
                self._wait_for_the_end()

    def check(self) -> None:
        """Whether the session is still there, as far as we know.

        :raises HostLost: it is not
        """
        if self._problem:
            raise HostLost(self._problem)
        self._post.link.check()

    def confirm(self) -> None:
        """Make sure that the session is still there now.

        :raises HostLost: it is not
        """
        with self._news:
            number = self._wanted = self._sent + 1
            self._news.notify_all()
            self._news.wait_for(lambda: self._answered >= number or self._problem or self._is_over)
        self.check()

    def _keep(self) -> None:
        """In a thread of its own."""
        problem = f"{self._post.link.name}: its session could not be kept"
        try:
            while self._is_next():
                self._beat()
        except HostLost as error:
            problem = str(error)
        finally:
            with self._news:
                self._problem = None if self._is_over else problem
                self._news.notify_all()

    def _is_next(self) -> bool:
        with self._news:
            self._news.wait_for(lambda: self._is_over or self._wanted > self._sent, self._pause_s)
            self._sent += 1
            return not self._is_over

    def _beat(self) -> None:
        link = self._post.link
        if self._lines.rest:
            raise self._lines.nonsense(self._lines.rest.decode("utf-8", "replace"))
        with link.translated():
            self._channel.settimeout(link.keepalive_s)
            self._channel.sendall(f"beat {self._sent}\n".encode())
        line = self._lines.next(link.keepalive_s)
        found = ANSWER.fullmatch(line)
        if not found or int(found[1]) != self._sent:
            raise self._lines.nonsense(line)
        with self._news:
            self.ticks, self.processes = int(found[2]), int(found[3])
            self._answered = self._sent
            self._news.notify_all()

    def _wait_for_the_end(self) -> None:
        """Until the guard has ended everything, and itself."""
        deadline = time.monotonic() + ENDING_S
        with self._post.link.translated():
            self._channel.shutdown_write()
        while time.monotonic() < deadline:
            if not self._post.link.read(self._channel, deadline - time.monotonic()):
                return
