"""The beats that keep a session on a host.

The guard (``guard.sh``) ends the session when no beat comes for the keepalive interval; we call
the host lost when no answer does.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from typing import Self

from cas.errors import HostLost
from cas.hosts.session.guard import ENDING_S, Guard, GuardLines
from cas.ssh import paramiko

ANSWER = re.compile(r"beat (\d{1,9}) (\d{1,15}) (\d{1,7})", re.ASCII)
"""The beat's number; clock ticks that the programs used, and how many processes they are."""


class Lease:
    """Beats that keep a session, sent by a thread; a context manager that ends it."""

    def __init__(
        self, guard: Guard, channel: paramiko.Channel, lines: GuardLines, pause_s: float
    ) -> None:
        """Begin to send them.

        :param pause_s: between two
        """
        self.ticks = 0
        """Processor time that its programs used, in clock ticks of the host."""
        self.processes = 0
        """How many processes its programs consist of."""
        self._guard = guard
        self._channel = channel
        self._lines = lines
        self._pause_s = pause_s
        self._problem: str | None = None
        self._sent = self._wanted = self._answered = 0
        self._is_over = False
        self._news = threading.Condition()
        self._thread = threading.Thread(
            target=self._send_beats, name=f"lease {guard.name}", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._news:
            self._is_over = True
            self._news.notify_all()
        self._thread.join()
        if self._problem:
            return
        # until the guard has ended everything, and itself
        deadline = time.monotonic() + ENDING_S
        link = self._guard.link
        with suppress(HostLost):
            with link.errors_translated():
                self._channel.shutdown_write()
            while time.monotonic() < deadline:
                if not link.read_channel(self._channel, deadline - time.monotonic()):
                    break

    def check(self) -> None:
        """Whether the session is still there, as far as we know.

        :raises HostLost: it is not
        """
        if self._problem:
            raise HostLost(self._problem)
        self._guard.link.check()

    def confirm(self) -> None:
        """Make sure that the session is still there now.

        :raises HostLost: it is not
        """
        with self._news:
            number = self._wanted = self._sent + 1
            self._news.notify_all()
            self._news.wait_for(lambda: self._answered >= number or self._problem or self._is_over)
        self.check()

    def _send_beats(self) -> None:
        """In a thread of its own."""
        problem = f"{self._guard.link.name}: its session could not be kept"
        try:
            while True:
                with self._news:
                    self._news.wait_for(
                        lambda: self._is_over or self._wanted > self._sent, self._pause_s
                    )
                    self._sent += 1
                    if self._is_over:
                        break
                self._send_beat()
        except HostLost as error:
            problem = str(error)
        finally:
            with self._news:
                self._problem = None if self._is_over else problem
                self._news.notify_all()

    def _send_beat(self) -> None:
        link = self._guard.link
        if self._lines.rest:
            raise self._lines.makes_no_sense(self._lines.rest.decode("utf-8", "replace"))
        with link.errors_translated():
            self._channel.settimeout(link.keepalive_s)
            self._channel.sendall(f"beat {self._sent}\n".encode())
        line = self._lines.next_line(link.keepalive_s)
        found = ANSWER.fullmatch(line)
        if not found or int(found[1]) != self._sent:
            raise self._lines.makes_no_sense(line)
        with self._news:
            self.ticks, self.processes = int(found[2]), int(found[3])
            self._answered = self._sent
            self._news.notify_all()
