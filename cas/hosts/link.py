"""A link to an analysis host: commands run there, bounded, and a pulse that tells when it is lost.

The server answers a request of ours every few seconds, whatever its programs do. When it does not,
the connection is closed here, and whoever waits for the host hears of it.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from cas.errors import EngineError, HostLost
from cas.frozen import dataclass
from cas.model.host import Host
from cas.settings.config import Config
from cas.ssh import Connection, Destination, LoginOptions, home_of, logged_in, paramiko
from cas.units import human_size

READ_BYTES = 64 << 10
WAIT_S = 0.5
"""Seconds for a byte, before something else is looked at."""
STDERR_BYTES = 16 << 10
BEATS = 5
"""Requests for a sign of life in a keepalive interval."""


class HostUnfit(EngineError):
    """A host answers, but cannot do this job."""

    hint = "see what is wrong with it: cas-admin host check"


@dataclass(frozen=True, slots=True)
class ScriptResult:
    """How a command on a host ended."""

    status: int
    """The exit status as the server says it; -1 for a signal."""
    stdout: bytes
    stderr: str
    """Its end."""


class Link:
    """A host on which we are logged in; a context manager that closes the connection."""

    def __init__(self, connection: Connection, keepalive_s: float) -> None:
        """Begin to feel its pulse."""
        self.connection = connection
        self.name = str(connection.destination)
        self.keepalive_s = keepalive_s
        self.problem: str | None = None
        """Why the host counts as lost."""
        self._transport = connection.transport
        self._alive = time.monotonic()
        self._is_over = threading.Event()
        for work in (self._ask_for_pulse, self._watch_pulse):
            threading.Thread(target=work, name=f"pulse of {self.name}", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._transport.close()

    def run_script(
        self, script: str, *words: str, timeout_s: float, max_bytes: int, feed: bytes = b""
    ) -> ScriptResult:
        """Run a POSIX shell script to its end.

        :param words: its ``$1``, ``$2``, …; they may hold anything
        :param max_bytes: of its output
        :param feed: for its stdin
        :raises HostLost: the link broke, or it took too long
        :raises HostUnfit: it wrote more than that
        """
        deadline = time.monotonic() + timeout_s
        with self.script_channel(script, *words) as channel:
            with self.errors_translated():
                channel.settimeout(timeout_s)
                channel.sendall(feed)
                channel.shutdown_write()
            output = bytearray()
            while data := self.read_channel(channel, max(0.0, deadline - time.monotonic())):
                output += data
                if len(output) > max_bytes:
                    raise HostUnfit(f"{self.name}: it answers more than {human_size(max_bytes)}")
            if data is None:
                raise HostLost(f"{self.name}: it did not answer within {timeout_s:g} s")
            status = self.exit_status(channel)
            return ScriptResult(status, bytes(output), unread_stderr(channel, STDERR_BYTES))

    @contextmanager
    def script_channel(
        self, script: str, *words: str, window_bytes: int | None = None
    ) -> Iterator[paramiko.Channel]:
        """A channel to a POSIX shell script that runs on the host."""
        with self.errors_translated():
            channel = self._transport.open_session(
                window_size=window_bytes, timeout=self.keepalive_s
            )
        try:
            with self.errors_translated():
                channel.settimeout(self.keepalive_s)
                channel.exec_command(script_command(script, *words))
            yield channel
        finally:
            channel.close()

    def read_channel(self, channel: paramiko.Channel, timeout_s: float) -> bytes | None:
        """What a channel brings next; ``b""`` at its end, ``None`` when nothing came in time.

        :raises HostLost: the link broke
        """
        channel.settimeout(min(WAIT_S, timeout_s))
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                data = channel.recv(READ_BYTES)
            except TimeoutError:
                if time.monotonic() >= deadline:
                    return None
            else:
                if not data:
                    self.check()
                return data

    def exit_status(self, channel: paramiko.Channel) -> int:
        """The exit status of a channel's command, which has closed its output."""
        if not channel.status_event.wait(self.keepalive_s):
            self.check()
            raise HostLost(f"{self.name}: a command did not end")
        self.check()
        return channel.exit_status

    def check(self) -> None:
        """Whether the host is still there.

        :raises HostLost: it is not
        """
        if self.problem or not self._transport.is_active():
            raise HostLost(f"{self.name}: {self.problem or 'the connection broke'}")

    def note_sign_of_life(self) -> None:
        """The host took in data a moment ago; an answer may be behind a lot of it."""
        self._alive = time.monotonic()

    @contextmanager
    def errors_translated(self) -> Iterator[None]:
        """Say that the host is lost; no `from`, for its words may hold anything.

        :raises HostLost: the link broke, or the host took too long
        :raises HostUnfit: its sshd opens no further channel
        """
        try:
            yield
        except paramiko.ChannelException:
            raise HostUnfit(
                f"{self.name}: its sshd allows too few sessions in a connection",
                hint="raise MaxSessions in the host's sshd_config, 10 are enough",
            ) from None
        except (paramiko.SSHException, EOFError, OSError):
            self.check()
            raise HostLost(f"{self.name}: it does not answer any more") from None

    def _ask_for_pulse(self) -> None:
        """Ask for an answer again and again; sshd answers what it does not know, too."""
        while not self._is_over.wait(self.keepalive_s / BEATS):
            try:
                self._transport.global_request("keepalive@openssh.com", wait=True)
            except (paramiko.SSHException, EOFError, OSError):
                return
            self._alive = time.monotonic()

    def _watch_pulse(self) -> None:
        while not self._is_over.wait(self.keepalive_s / BEATS / 2):
            if not self._transport.is_active():
                return
            if time.monotonic() - self._alive > self.keepalive_s:
                self.problem = f"no sign of life for {self.keepalive_s:g} s"
                self._transport.close()


def unread_stderr(channel: paramiko.Channel, max_bytes: int) -> str:
    """What a channel's command wrote to stderr and nobody has read yet; it does not wait."""
    said = b""
    while channel.recv_stderr_ready() and len(said) < max_bytes:
        said += channel.recv_stderr(max_bytes)
    return said.decode("utf-8", "replace")


def script_command(script: str, *words: str) -> str:
    """A command line that runs a POSIX shell script, whatever the user's shell is."""
    return shlex.join(("sh", "-c", script, "cas", *words))


@contextmanager
def open_link(host: Host, config: Config) -> Iterator[Link]:
    """A link to a host, as the user that cas runs as.

    :raises CasError: there is no login, see :func:`cas.ssh.logged_in`
    """
    rules = config.hosts
    options = LoginOptions(
        home_of(config.casuser), config.casuser, config.sshkey, rules.keepalive_s
    )
    with (
        logged_in(Destination(host.name, host.port), options) as connection,
        Link(connection, rules.keepalive_s) as link,
    ):
        yield link
