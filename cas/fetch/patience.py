"""Receiving from a server for as long as it gets on, whoever asks it and for what."""

from __future__ import annotations

import http.client
import io
import re
import socket
import time
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from cas.text import one_line

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES = 256 << 10
STALL_TIMEOUTS = 5
"""So many timeouts may pass until an answer's head or STALL_BYTES of the file have come."""
STALL_BYTES = 64 << 10


def network_problem(error: OSError) -> str:
    """What a system error says, in a phrase."""
    if isinstance(error, TimeoutError):
        return "the server did not answer in time"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "the connection broke"
    return one_line(error.strerror or type(error).__name__)


def status_text(status: int) -> str:
    """An answer of http as its number, with the words of RFC 9110.

    The server's own words are shown nowhere: they may give back a password or a token that it was
    just asked with.

    >>> status_text(404), status_text(999)
    ('404 Not Found', '999')
    """
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


class Patient(io.RawIOBase):
    """What a socket receives, for as long as the server gets on.

    The socket's own timeout ends a silent server. This ends one that drips: each head of an answer
    and each STALL_BYTES of the file must come within STALL_TIMEOUTS timeouts.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Read from a connected socket that has its timeout set."""
        self._connection = connection
        self._raw = connection.makefile("rb", buffering=0)
        self._timeout_s = connection.gettimeout() or 60.0
        self._earned_bytes = 0
        self.allow()

    def allow(self) -> None:
        """Begin to wait anew."""
        self._deadline = time.monotonic() + STALL_TIMEOUTS * self._timeout_s

    def earned(self, size_bytes: int) -> None:
        """Count bytes of the file."""
        self._earned_bytes += size_bytes
        if self._earned_bytes >= STALL_BYTES:
            self._earned_bytes = 0
            self.allow()

    def readable(self) -> bool:
        """Tell io.BufferedReader that this can be read from."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """Receive once.

        :raises TimeoutError: the server is silent, or drips
        """
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(min(left_s, self._timeout_s))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


class PatientResponse(http.client.HTTPResponse):
    """An answer by http that must get on."""

    def __init__(self, connection: socket.socket, *words: Any, **options: Any) -> None:
        super().__init__(connection, *words, **options)
        self.patient = Patient(connection)
        self.fp.close()
        self.fp = io.BufferedReader(self.patient, CHUNK_BYTES)

    @property
    def validator(self) -> str | None:
        """What may stand in If-Range: a strong ETag, else the date of the last change.

        Source: RFC 9110, 13.1.5.
        """
        tag = self.getheader("ETag", "").strip()
        if re.fullmatch(r'"[\x21\x23-\x7e]{1,500}"', tag):
            return tag
        date = self.getheader("Last-Modified", "").strip()
        return date if re.fullmatch(r"[A-Za-z0-9,: +-]{1,60}", date) else None

    @property
    def retry_after_s(self) -> float:
        """How many seconds the server asks to be left alone; 0 where it does not say.

        A time is compared with the one that the server itself says it is, if it does.

        Source: RFC 9110, 10.2.3.
        """
        told = self.getheader("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,9}", told):
            return float(told)
        try:
            until = parsedate_to_datetime(told)
            now = parsedate_to_datetime(self.getheader("Date") or formatdate())
            return max(0.0, (until - now).total_seconds())
        except (ValueError, TypeError):  # no time, or one without its zone
            return 0.0
