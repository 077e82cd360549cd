"""Parts of a file by sftp: a login, and a channel for each part that is read at the same time."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress

import paramiko

from cas.fetch.sftp import REQUEST_BYTES, connected_to, opened_file, sftp_errors_told, stat_version
from cas.fetch.source import Broken, Changed, FetchPolicy, Spent, Version
from cas.fetch.url import Url
from cas.ssh import Connection


class SftpRanges:
    """A :class:`cas.fetch.source.Ranges`; a connection that broke is made anew."""

    def __init__(self, url: Url, policy: FetchPolicy, spent: Spent) -> None:
        """Nothing is asked yet."""
        self._url = url
        self._policy = policy
        self._spent = spent
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._idle: list[paramiko.SFTPFile] = []
        self._stack = ExitStack()
        """Ends all connections."""
        self.version = Version()

    def first(self, size: int) -> bytes:
        """The file's beginning; from now on its version is known, and must stay.

        :raises FetchError: see `connected_to` and `opened_file`
        """
        file = self._opened()
        with sftp_errors_told(self._url):
            self.version = stat_version(self._url, file)
        self._idle.append(file)
        return self.part(0, min(size, self.version.size_bytes or 0))

    def part(self, start: int, end: int) -> bytes:
        """See `Ranges.part`."""
        file = self._taken()
        data = b""
        try:
            with sftp_errors_told(self._url):
                file.seek(start)
                while len(data) < end - start:
                    self._spent.request()
                    more = file.read(min(REQUEST_BYTES, end - start - len(data)))
                    if not more:
                        raise Changed(f"{self._url}: the file has changed on the server")
                    data += more
        except Broken:
            self._forget_connection()
            raise
        self._idle.append(file)
        self._spent.received(len(data))
        return data

    def require_same(self) -> None:
        """See `Ranges.require_same`: an open file tells what it became, not when."""
        file = self._taken()
        self._require_version(file)
        self._idle.append(file)

    def close(self) -> None:
        """See `Ranges.close`."""
        with self._lock, suppress(OSError, EOFError, paramiko.SSHException):
            self._stack.close()

    def _taken(self) -> paramiko.SFTPFile:
        """An open file that no other thread reads."""
        with suppress(IndexError):
            return self._idle.pop()
        return self._opened()

    def _opened(self) -> paramiko.SFTPFile:
        """The file once more."""
        with self._lock:
            if self._connection is None:
                self._connection = self._stack.enter_context(connected_to(self._url, self._policy))
            connection = self._connection
        self._spent.request()
        try:
            file = opened_file(connection, self._url, self._policy)
        except Broken:
            self._forget_connection()
            raise
        file.MAX_REQUEST_SIZE = REQUEST_BYTES
        if self.version != Version():
            self._require_version(file)
        return file

    def _require_version(self, file: paramiko.SFTPFile) -> None:
        """:raises Changed: it is of another version than what came before"""
        with sftp_errors_told(self._url):
            version = stat_version(self._url, file)
        if version != self.version:
            raise Changed(f"{self._url}: the file has changed on the server")

    def _forget_connection(self) -> None:
        with self._lock:
            self._connection = None
            self._idle.clear()
