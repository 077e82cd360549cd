"""A host that is swept, as sftp shows it: nothing runs there, and nothing is written.

The host may mean harm. What it answers is decoded here, within bounds, and never believed to be
what it was a moment ago.

Source: draft-ietf-secsh-filexfer-02, which is what OpenSSH speaks: 5 for attributes, 6.7 for lists.
"""

from __future__ import annotations

import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

from cas.errors import FetchError
from cas.fetch.sftp import WINDOW_BYTES, sftp_errors_told
from cas.fetch.source import Changed
from cas.fetch.url import PORTS, Url
from cas.frozen import dataclass
from cas.hosts.link import STDERR_BYTES, unread_stderr
from cas.model.host import Host
from cas.settings.config import Config
from cas.settings.rules import SweepRules
from cas.ssh import Connection, Destination, LoginOptions, home_of, logged_in, paramiko
from cas.text import short_line

if TYPE_CHECKING:
    from paramiko.sftp_client import SFTPClient

_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES, _IS_EXTENDED = 1, 2, 4, 8, 1 << 31
_CLOSE, _STATE_OF_LINK, _STATE_OF_OPEN, _OPEN_DIRECTORY, _READ_DIRECTORY, _REAL_PATH = (
    *(4, 7, 8),
    *(11, 12, 16),
)
"""Requests."""
_SHOWN = 120
"""Characters of what a host says that stand in a sentence of ours."""
SUDO = "let the host's sudo run sftp-server for this user, see SWEEPS in cas.conf(5)"


class NoSuchServer(FetchError):
    """What was to speak sftp on a host does not."""

    hint = SUDO


@dataclass(frozen=True, slots=True)
class FarState:
    """What a host says of a file."""

    mode: int
    """As stat(2) has it; 0 where it does not tell."""
    size_bytes: int
    modified_s: int
    """By the host's clock, in seconds since 1970."""
    uid: int | None = None
    gid: int | None = None

    @property
    def is_regular(self) -> bool:
        """Whether it can be read to its end."""
        return stat.S_ISREG(self.mode)

    @property
    def is_directory(self) -> bool:
        """Whether more may lie below it; a symbolic link to one is none."""
        return stat.S_ISDIR(self.mode)


class FarHost:
    """The files of a host, while we are logged in there."""

    def __init__(self, host: Host, connection: Connection, client: SFTPClient) -> None:
        """Nothing is asked yet."""
        self.host = host
        self.host_key = connection.host_key
        account = connection.account
        self._place = Url(
            "sftp", host.name.lower(), host.port or PORTS["sftp"], "/", user=account.user
        )
        self._client = client

    def url(self, path: bytes) -> Url:
        """What is typed to have a file of the host."""
        place = self._place
        return Url("sftp", place.host, place.port, quote_from_bytes(path), user=place.user)

    def real_path(self, path: bytes) -> bytes:
        """Where a path leads, without symbolic links.

        :raises FetchError: the host does not tell
        """
        with sftp_errors_told(self.url(path)):
            _, answer = self._client._request(_REAL_PATH, path)  # type: ignore[attr-defined]
            return names_of(answer.get_remainder())[0][0]

    def state(self, path: bytes) -> FarState:
        """What a path is; a symbolic link is not followed.

        :raises NotThere: there is nothing
        :raises FetchError: the host does not tell
        """
        with sftp_errors_told(self.url(path)):
            _, answer = self._client._request(_STATE_OF_LINK, path)  # type: ignore[attr-defined]
            return state_of(answer.get_remainder())

    def entries(self, directory: bytes) -> Iterator[tuple[bytes, FarState]]:
        """Names in a directory, as they come; it may never end.

        :raises NotThere: there is no such directory
        :raises FetchError: it cannot be read
        """
        request = self._client._request  # type: ignore[attr-defined]
        with sftp_errors_told(self.url(directory)):
            _, answer = request(_OPEN_DIRECTORY, directory)
            handle = answer.get_string()
        try:
            while True:
                with sftp_errors_told(self.url(directory)):
                    try:
                        _, answer = request(_READ_DIRECTORY, handle)
                    except EOFError:
                        return
                    found = names_of(answer.get_remainder())
                yield from (each for each in found if each[0] not in (b".", b".."))
        finally:
            with suppress(OSError, EOFError, paramiko.SSHException, paramiko.SFTPError):
                request(_CLOSE, handle)

    @contextmanager
    def opened(self, path: bytes, state: FarState) -> Iterator[paramiko.SFTPFile]:
        """A file, for reading, if it is still what it was when it was listed.

        :param state: as it was listed
        :raises Changed: it is not, or a symbolic link leads elsewhere
        :raises Denied: this user may not read it
        :raises FetchError: it is not to be had
        """
        url = self.url(path)
        with sftp_errors_told(url):
            file = self._client.open(path, "rb")
        try:
            with sftp_errors_told(url):
                _, answer = self._client._request(_STATE_OF_OPEN, file.handle)  # type: ignore[attr-defined]
                there = state_of(answer.get_remainder())
            # who may write there could have put a link to what is root's in the file's place
            if (there, self.state(path), self.real_path(path)) != (state, state, path):
                raise Changed(f"{url} is another file by now")
            yield file
        finally:
            with suppress(OSError, EOFError, paramiko.SSHException, paramiko.SFTPError):
                file.close()


def names_of(content: bytes) -> list[tuple[bytes, FarState]]:
    """The names of an answer, with what each is.

    :raises ValueError: it is not as it should be
    """
    (count,), at = struct.unpack_from(">I", content), 4
    found = []
    for _ in range(count):
        name, at = _text(content, at)
        _, at = _text(content, at)  # as ls prints it
        state, at = _state(content, at)
        if not name or (b"/" in name and count > 1) or b"\0" in name:
            raise ValueError("no file has such a name")
        found.append((name, state))
    return found


def state_of(content: bytes) -> FarState:
    """The attributes of an answer.

    :raises ValueError: it is not as it should be
    """
    return _state(content, 0)[0]


def _text(content: bytes, at: int) -> tuple[bytes, int]:
    (size,) = struct.unpack_from(">I", content, at)
    end = at + 4 + size
    if end > len(content):
        raise ValueError("an answer ends too early")
    return content[at + 4 : end], end


def _state(content: bytes, at: int) -> tuple[FarState, int]:
    (flags,), at = struct.unpack_from(">I", content, at), at + 4
    size = mode = modified = 0
    uid = gid = None
    if flags & _HAS_SIZE:
        (size,), at = struct.unpack_from(">Q", content, at), at + 8
    if flags & _HAS_OWNER:
        (uid, gid), at = struct.unpack_from(">II", content, at), at + 8
    if flags & _HAS_MODE:
        (mode,), at = struct.unpack_from(">I", content, at), at + 4
    if flags & _HAS_TIMES:
        (_, modified), at = struct.unpack_from(">II", content, at), at + 8
    if flags & _IS_EXTENDED:
        (count,), at = struct.unpack_from(">I", content, at), at + 4
        for _ in range(2 * count):
            _, at = _text(content, at)
    return FarState(mode, size, modified, uid, gid), at


@contextmanager
def reached(host: Host, rules: SweepRules, config: Config) -> Iterator[FarHost]:
    """A host on which we are logged in; the connection is cut when its time is over.

    :raises CasError: there is no login, see :func:`cas.ssh.logged_in`
    :raises NoSuchServer: nothing speaks sftp there
    """
    login_s = config.hosts.keepalive_s
    options = LoginOptions(home_of(config.casuser), config.casuser, config.sshkey, login_s)
    with logged_in(Destination(host.name, host.port), options) as connection:
        clock = threading.Timer(rules.time_s, connection.transport.close)
        clock.daemon = True
        clock.start()
        try:
            yield FarHost(host, connection, _client(connection, rules, config.fetch_timeout_s))
        finally:
            clock.cancel()


def _client(connection: Connection, rules: SweepRules, timeout_s: float) -> SFTPClient:
    name = str(connection.destination)
    said, channel = "", None
    try:
        channel = connection.transport.open_session(window_size=WINDOW_BYTES, timeout=timeout_s)
        channel.settimeout(timeout_s)
        if rules.server:
            channel.exec_command(rules.server)
        else:
            channel.invoke_subsystem("sftp")
        return paramiko.SFTPClient(channel)
    except (OSError, EOFError, ValueError, paramiko.SSHException, paramiko.SFTPError):
        # no `from`: a server's words may hold anything
        if channel is not None and rules.server:
            said = short_line(unread_stderr(channel, STDERR_BYTES).strip(), _SHOWN)
    if rules.server:
        words = f", it says `{said}`" if said else ""
        raise NoSuchServer(f"{name}: `{rules.server}` does not speak sftp there{words}")
    hint = "add `Subsystem sftp internal-sftp` to the host's sshd_config"
    raise NoSuchServer(f"{name}: its sshd has no sftp", hint=hint)
