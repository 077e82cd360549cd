"""Parts of a file by http or https: every answer is compared with what was asked for."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import closing, suppress
from weakref import WeakSet

from cas.errors import FetchError
from cas.fetch.http import (
    PLAIN,
    Connection,
    answered,
    credentials,
    http_errors_told,
    require_given,
    response_of,
)
from cas.fetch.patience import PatientResponse
from cas.fetch.source import (
    CHUNK_BYTES,
    Broken,
    Changed,
    InTrouble,
    NetworkPolicy,
    NoRanges,
    Spent,
    Version,
)
from cas.fetch.url import Url


class HttpRanges:
    """Parts of a file, over connections that are kept: a :class:`cas.fetch.source.Ranges`."""

    def __init__(self, url: Url, policy: NetworkPolicy, spent: Spent) -> None:
        """Nothing is asked yet."""
        self._url = url
        self._policy = policy
        self._spent = spent
        self._lock = threading.Lock()
        self._sockets = WeakSet[socket.socket]()
        """Those over which something may be asked."""
        self._is_closed = False
        self._idle: list[tuple[Url, Connection]] = []
        """Each with who answers it, behind all redirects."""
        self.version = Version()

    def first(self, size: int) -> bytes:
        """The file's beginning; from now on its version is known, and must stay.

        :raises NoRanges: the server gives whole files only
        """
        return self._part_from_origin(0, size)

    def part(self, start: int, end: int) -> bytes:
        """See `Ranges.part`."""
        kept = None
        with suppress(IndexError):  # another thread may have taken it
            kept = self._idle.pop()
        if kept is not None:
            try:
                return self._part(*kept, self._ask_again(*kept, start, end), start, end)
            except (Changed, InTrouble, NoRanges):
                raise
            except (FetchError, Broken):
                # the server has closed it meanwhile, or where a redirect led serves no longer
                kept[1].close()
        return self._part_from_origin(start, end)

    def require_same(self) -> None:
        """See `Ranges.require_same`: each part was compared."""

    def close(self) -> None:
        """Let go of all connections; who waits for an answer hears of it, and closes its own."""
        with self._lock:
            self._is_closed = True
            for each in self._sockets:
                with suppress(OSError):
                    # TLS's own would have what is still to come read as it is, encrypted
                    socket.socket.shutdown(each, socket.SHUT_RDWR)
        while self._idle:
            self._idle.pop()[1].close()

    def _began(self, connection: socket.socket) -> None:
        with self._lock:
            if self._is_closed:
                raise Broken(f"{self._url} is read no more")
            self._sockets.add(connection)

    def _headers(self, start: int, end: int) -> dict[str, str]:
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if self.version.validator:
            headers["If-Range"] = self.version.validator
        return headers

    def _ask_again(self, hop: Url, connection: Connection, start: int, end: int) -> PatientResponse:
        self._spent.request()
        headers = self._headers(start, end)
        return response_of(
            hop, connection, {**headers, **credentials(self._url, hop, self._policy)}
        )

    def _part_from_origin(self, start: int, end: int) -> bytes:
        headers = self._headers(start, end)
        hop, connection, response = answered(
            self._url, self._policy, headers, self._spent, self._began
        )
        return self._part(hop, connection, response, start, end)

    def _part(
        self, hop: Url, connection: Connection, response: PatientResponse, start: int, end: int
    ) -> bytes:
        """What the answer brings; the connection is kept if all of it has come."""
        try:
            with closing(response):
                end = self._require_part(hop, response, start, end)
                data = bytearray()
                while len(data) < end - start:
                    with http_errors_told(hop):
                        more = response.read1(min(CHUNK_BYTES, end - start - len(data)))
                    if not more:
                        raise Broken(f"{hop}: the connection broke")
                    response.patient.earned(len(more))
                    data += more
                with http_errors_told(hop):
                    is_over = not response.read1(1)
        except BaseException:
            connection.close()
            raise
        if is_over:
            self._idle.append((hop, connection))
        else:
            connection.close()
        self._spent.received(len(data))
        return bytes(data)

    def _require_part(self, hop: Url, response: PatientResponse, start: int, end: int) -> int:
        """Make sure that the answer is that part, of that version; where it ends.

        :raises Changed: it is of another version
        :raises NoRanges: it is another part, or the whole file
        """
        is_known = self.version.validator is not None
        if is_known and response.status in (200, 416):  # what If-Range answers: RFC 9110, 13.1.5
            raise Changed(f"{hop}: the file has changed on the server")
        if response.status == 416:
            raise NoRanges(f"{hop}: the server has no beginning of the file")
        require_given(hop, response)
        if response.status != 206:
            raise NoRanges(f"{hop}: the server gives no parts of a file")
        if response.getheader("Content-Encoding", "identity").strip().lower() not in PLAIN:
            raise NoRanges(f"{hop}: the server encodes the file, unasked")
        pattern = r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})"
        content_range = response.getheader("Content-Range", "").strip()
        found = re.fullmatch(pattern, content_range, re.ASCII)
        if found is None or response.validator is None:
            what = (
                "which part of the file it sends" if found is None else "versions of a file apart"
            )
            raise NoRanges(f"{hop}: the server does not tell {what}")
        first, last, size = map(int, found.groups())
        version = Version(size, response.validator)
        if not is_known:
            self.version, end = version, min(end, size)
        elif version != self.version:
            raise Changed(f"{hop}: the file has changed on the server")
        length = response.getheader("Content-Length", str(end - start)).strip()
        if (first, last + 1) != (start, end) or length != str(end - start):
            raise NoRanges(
                f"{hop}: the server sends another part of the file than it was asked for"
            )
        return end
