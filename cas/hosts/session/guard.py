"""The guard of a session: a script on its host that starts, shows and ends what is ours there."""

from __future__ import annotations

import time
from contextlib import suppress
from importlib import resources

from cas.errors import HostLost
from cas.frozen import dataclass
from cas.hosts.link import HostUnfit, Link, ScriptResult, script_command, unread_stderr
from cas.ssh import paramiko
from cas.terminal import Window
from cas.text import one_line, short_line

GUARD = resources.files("cas.hosts.session").joinpath("guard.sh").read_text(encoding="utf-8")
LINE_BYTES = 8 << 10
"""Bytes of one answer, at most."""
SHOWN_CHARS = 200
"""Characters that are shown of an answer that makes no sense."""
ENDING_S = 10.0
"""Seconds for the guard to end a session."""


@dataclass(frozen=True, slots=True)
class Guard:
    """guard.sh of one session."""

    link: Link
    root: str
    """The directory on the host for all that is ours there."""
    name: str
    """The session's."""

    def run_task(self, task: str, *words: str, max_bytes: int = 4 << 10) -> ScriptResult:
        """Have the guard's script do something to its end.

        :raises HostLost: the link broke, it took too long, or it wrote more than that
        """
        words = (task, self.root, self.name, *words)
        try:
            return self.link.run_script(GUARD, *words, timeout_s=ENDING_S, max_bytes=max_bytes)
        except HostUnfit as error:
            raise HostLost(str(error)) from None

    def open_channel(
        self, task: str, *words: str, window: Window | None = None
    ) -> paramiko.Channel:
        """A channel to the guard's script.

        :raises HostLost: the link broke
        :raises HostUnfit: sshd allows no further channel
        """
        link = self.link
        with link.errors_translated():
            channel = link.connection.transport.open_session(timeout=link.keepalive_s)
            channel.settimeout(link.keepalive_s)
            if window:
                channel.get_pty(window.term, *window.size)
            channel.exec_command(script_command(GUARD, task, self.root, self.name, *words))
        return channel


class GuardLines:
    """What a guard answers on a channel, line by line."""

    def __init__(self, link: Link, channel: paramiko.Channel) -> None:
        self.rest = b""
        """What came behind the last line."""
        self._link = link
        self._channel = channel

    def next_line(self, timeout_s: float) -> str:
        """The next line, without its end.

        :raises HostLost: none came in time, or nothing that is a line
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self.rest:
            if len(self.rest) > LINE_BYTES:
                raise self.makes_no_sense(self.rest.decode("utf-8", "replace"))
            data = self._link.read_channel(self._channel, max(0.0, deadline - time.monotonic()))
            if data is None:
                raise HostLost(f"{self._link.name}: its guard did not answer for {timeout_s:g} s")
            if not data:
                said = ""
                with suppress(TimeoutError):
                    said = unread_stderr(self._channel, LINE_BYTES)
                last = one_line(said.strip().rpartition("\n")[2][:SHOWN_CHARS])
                why = f": {last}" if last else ""
                raise HostLost(f"{self._link.name}: its guard has ended{why}")
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode("utf-8", "replace").removesuffix("\r")

    def makes_no_sense(self, line: str) -> HostLost:
        """Say that an answer makes no sense."""
        said = one_line(line[:SHOWN_CHARS])[:SHOWN_CHARS]
        return HostLost(f"{self._link.name}: its guard answers nonsense: {said}")


def guard_complaint(guard: Guard, line: str) -> HostUnfit:
    """Say what the guard complains of."""
    return HostUnfit(f"{guard.link.name}: {short_line(line.removeprefix('unfit '), SHOWN_CHARS)}")
