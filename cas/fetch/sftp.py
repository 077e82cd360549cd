"""Download by sftp, from servers whose host key is known."""

from __future__ import annotations

import errno
import socket
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import paramiko

from cas.errors import FetchError
from cas.fetch.network import connected, network_errors_told
from cas.fetch.source import (
    CHUNK_BYTES,
    Broken,
    Changed,
    Denied,
    FetchPolicy,
    Had,
    NotThere,
    Version,
)
from cas.fetch.url import PORTS, Url
from cas.ssh import (
    Connection,
    Destination,
    LoginDenied,
    LoginOptions,
    SshError,
    Unreachable,
    logged_in,
)

REQUEST_BYTES = 64 << 10
"""Of one answer; what OpenSSH's server gave at most up to its release 8.4. With paramiko's 32 KiB
128 MiB took 0.73 s of a processor, so they take 0.45, as with sftp(1)."""
AHEAD_BYTES = 8 << 20
"""Asked for at once; with more, paramiko's search among the answers is slow:
32 MiB took 75 s of the processor for 1 GiB, 8 MiB took 2.7 s for a quarter of that."""
SENDING_S = 5.0
"""For the requests, some kilobytes."""
WINDOW_BYTES = 4 << 20
"""What the server may send unconfirmed."""


@dataclass
class SftpFile:
    """A file on its way: a :class:`cas.fetch.source.Source`."""

    url: Url
    file: paramiko.SFTPFile
    version: Version
    offset: int
    sha256: str | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.file.MAX_REQUEST_SIZE = REQUEST_BYTES
        self._at = self._asked = self.offset
        self._size = self.version.size_bytes or 0
        self.file.seek(self.offset)

    def read(self) -> bytes:
        """The next bytes of the file; none at its end."""
        with sftp_errors_told(self.url):
            if self._at == self._asked < self._size:
                self._asked = min(self._size, self._asked + AHEAD_BYTES)
                self._ask_ahead()
            data = self.file.read(min(CHUNK_BYTES, self._asked - self._at))
            self._at += len(data)
            if not data and stat_version(self.url, self.file) != self.version:
                raise Changed(f"{self.url}: the file has changed on the server")
        return data

    def _ask_ahead(self) -> None:
        """Send the requests up to `_asked`, and read no answer before all are sent: paramiko takes
        requests that are answered while others are not sent yet for the last ones.
        """
        sent = threading.Event()
        # it sends them in a thread; when the connection breaks, the thread that reads says so, and
        # this one must not write a traceback to stderr
        send = paramiko.SFTPFile._prefetch_thread  # type: ignore[attr-defined]

        def send_quietly(*words: Any) -> None:
            with suppress(OSError, EOFError, paramiko.SSHException):
                send(self.file, *words)
            sent.set()

        self.file._prefetch_thread = send_quietly  # type: ignore[attr-defined]
        self.file.prefetch(self._asked)
        sent.wait(SENDING_S)


@contextmanager
def opened_by_sftp(url: Url, policy: FetchPolicy, had: Had) -> Iterator[SftpFile]:
    """Open a file at where an earlier attempt ended.

    :raises NotThere: there is no such file
    :raises FetchError: as `connected_to`; or the file is not for this user
    :raises Broken: the connection broke
    """
    with connected_to(url, policy) as connection:
        file = opened_file(connection, url, policy)
        with sftp_errors_told(url):
            version = stat_version(url, file)
        offset = had.offset if version.continues(had.version) else 0
        yield SftpFile(url, file, version, offset)


@contextmanager
def connected_to(url: Url, policy: FetchPolicy) -> Iterator[Connection]:
    """A login on the URL's host.

    :raises Refused: the server's key is not believed, or its network is private
    :raises Denied: no key or password is accepted
    :raises FetchError: there is no such host, or ~/.ssh or the server is of no use
    :raises Broken: nobody answers
    """
    port = None if url.port == PORTS["sftp"] else url.port
    destination = Destination(url.host, port, url.user)
    means = LoginOptions(
        policy.home, sshkey=policy.sshkey, timeout_s=policy.timeout_s, password=url.password
    )

    def connect_checked(host: str, port: int) -> socket.socket:
        return connected(replace(url, host=host, port=port), policy)

    with ExitStack() as stack:
        try:
            connection = stack.enter_context(logged_in(destination, means, connect_checked))
        except LoginDenied as error:
            raise Denied(f"{url}: {error}", hint=error.hint) from None
        except SshError as error:
            raise FetchError(f"{url}: {error}", hint=error.hint) from None
        except Unreachable as error:
            raise Broken(f"{url}: {error}") from None
        yield connection


def opened_file(connection: Connection, url: Url, policy: FetchPolicy) -> paramiko.SFTPFile:
    """The file, over a channel of its own.

    :raises NotThere: there is no such file
    :raises Denied: it is not for this user
    :raises Broken: the connection broke
    """
    with sftp_errors_told(url):
        channel = connection.transport.open_session(window_size=WINDOW_BYTES)
        channel.settimeout(policy.timeout_s)
        channel.invoke_subsystem("sftp")
        return paramiko.SFTPClient(channel).open(url.file_path, "rb")


def stat_version(url: Url, file: paramiko.SFTPFile) -> Version:
    """Which version of the file an open one is, by its size and the time of its last change."""
    state = file.stat()
    if state.st_size is None or (state.st_mode and not stat.S_ISREG(state.st_mode)):
        raise FetchError(f"{url} is not a regular file")
    return Version(state.st_size, None if state.st_mtime is None else str(state.st_mtime))


@contextmanager
def sftp_errors_told(url: Url) -> Iterator[None]:
    """Say what went wrong; no `from`, for a server's answer may quote anything."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise NotThere(f"{url}: there is no such file") from None
        if error.errno == errno.EACCES:
            raise Denied(f"{url}: the server denies it") from None
        if type(error) is OSError and error.errno is None:  # paramiko's, with the server's words
            raise FetchError(f"{url}: the server does not give it") from None
        with network_errors_told(url):
            raise
    except (EOFError, paramiko.SSHException):
        raise Broken(f"{url}: the connection broke") from None
    except (paramiko.SFTPError, ValueError, IndexError, struct.error):
        raise FetchError(f"{url}: the server does not speak sftp") from None
