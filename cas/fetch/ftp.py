"""Download by ftp: passive, binary, from where an earlier attempt ended."""

from __future__ import annotations

import ftplib
import io
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from cas.errors import FetchError
from cas.fetch.login import login_for
from cas.fetch.network import connected, network_errors_told
from cas.fetch.patience import Patient
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
from cas.fetch.url import Url

ANONYMOUS = ("anonymous", "anonymous@")
REPLY_LINES = 1000
"""Longer than any server's greeting."""
DONE = frozenset({"226", "250"})


class _Client(ftplib.FTP):
    """A control connection to a checked address; data come from that same address.

    :mod:`ftplib` ignores the host in the answer to PASV, and EPSV has none.
    """

    def __init__(self, url: Url, policy: FetchPolicy) -> None:
        super().__init__(timeout=policy.timeout_s)
        self.host = url.host
        self.sock: socket.socket = connected(url, policy)
        self.af = self.sock.family
        self.patient = Patient(self.sock)
        buffered = io.BufferedReader(self.patient)
        self.file = io.TextIOWrapper(buffered, encoding="utf-8", errors="replace", newline="\n")
        self._lines = 0

    def putline(self, line: str) -> None:
        """Send a command, and wait anew for its answer."""
        self.patient.allow()
        self._lines = 0
        super().putline(line)

    def getline(self) -> str:
        """A line of an answer, which may have REPLY_LINES."""
        self._lines += 1
        if self._lines > REPLY_LINES:
            raise ftplib.error_proto
        return super().getline()


@dataclass
class FtpFile:
    """A file on its way: a :class:`cas.fetch.source.Source`."""

    url: Url
    client: _Client
    data: Patient
    version: Version
    offset: int
    sha256: str | None = None
    remarks: tuple[str, ...] = ()

    def read(self) -> bytes:
        """The next bytes of the file; none at its end."""
        with _ftp_errors_told(self.url):
            data = self.data.read(CHUNK_BYTES) or b""
            self.data.earned(len(data))
            if not data:
                self.data.close()
                self.client.patient.allow()
                if self.client.getresp()[:3] not in DONE:  # it has not sent all of it
                    raise ftplib.error_temp
        return data


@contextmanager
def opened_by_ftp(url: Url, policy: FetchPolicy, had: Had) -> Iterator[FtpFile]:
    """Ask for a file from where an earlier attempt ended.

    :raises NotThere: there is no such file
    :raises FetchError: the server gives it to others only
    :raises Broken: it may have it later
    """
    with _ftp_errors_told(url):
        client = _Client(url, policy)
    try:
        with _ftp_errors_told(url):
            client.getresp()
        user, password = login_for(url, policy.home) or ANONYMOUS
        try:
            with _ftp_errors_told(url):
                client.login(user, password)
                client.voidcmd("TYPE I")  # bytes as they are
        except NotThere:
            raise Denied(f"{url}: the server does not accept the login") from None
        # size and time of the last change, where the server tells them: RFC 3659
        answers = []
        for command in ("SIZE", "MDTM"):
            answer = ""
            with _ftp_errors_told(url), suppress(ftplib.error_perm):
                answer = client.sendcmd(f"{command} {url.file_path}")
            is_number = answer.startswith("213 ") and answer[4:22].strip().isascii()
            answers.append(answer[4:].strip() if is_number else "")
        size, changed = answers
        is_size = size.isdigit() and len(size) <= 18
        version = Version(int(size) if is_size else None, changed[:40] or None)
        offset, data = _data_connection(
            client, url, had if version.continues(had.version) else Had()
        )
        try:
            yield FtpFile(url, client, Patient(data), version, offset)
        finally:
            data.close()
    finally:
        client.close()


def _data_connection(client: _Client, url: Url, had: Had) -> tuple[int, socket.socket]:
    """The connection that the file comes over, and the offset it begins at.

    :raises Changed: the server does not go on in the middle
    """
    with _ftp_errors_told(url):
        try:
            connection, _ = client.ntransfercmd(f"RETR {url.file_path}", had.offset or None)
        except ftplib.error_perm:
            if not had.offset:
                raise
            # on this connection the offset may still stand: the next attempt makes a new one
            raise Changed(f"{url}: the server does not go on where it broke off") from None
    return had.offset, connection


@contextmanager
def _ftp_errors_told(url: Url) -> Iterator[None]:
    """Say what went wrong; no `from`, for a server's answer may quote the password."""
    try:
        with network_errors_told(url):
            yield
    except ftplib.error_perm as error:
        code = (re.match("5[0-9][0-9]", str(error)) or ["no code"])[0]
        if code in ("530", "532"):
            raise Denied(f"{url}: the server denies it: {code}") from None
        raise NotThere(f"{url}: there is no such file for this user: {code}") from None
    except (ftplib.error_temp, EOFError):
        raise Broken(f"{url}: the server broke off") from None
    except (ftplib.Error, ValueError):
        raise FetchError(f"{url}: the server does not speak ftp") from None
