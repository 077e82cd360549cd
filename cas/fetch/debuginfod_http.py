"""One file from a debuginfod server: asked for, followed over redirects, taken up after a break.

Everything that a server says is hostile. What it says of itself is shown only as cleaned text, and
a URL that it redirects to only as its host: the rest may hold a token.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from cas import __version__
from cas.errors import FetchError
from cas.fetch.patience import CHUNK_BYTES, PatientResponse, reason, status_text
from cas.settings.rules import DebuginfodRules
from cas.text import short_line
from cas.units import human_size

ATTEMPTS = 3
REDIRECTS = 5
OVERLAP_BYTES = 64 << 10
CONNECT_S = 20.0
"""A server that unpacks a package answers late, but it takes a connection at once."""
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_SHOWN = 120
_ELF = b"\x7fELF"


class ServerFailed(FetchError):
    """A debuginfod server gives nothing that can be used."""


class NotServed(ServerFailed):
    """A debuginfod server has no such file."""


class Unreachable(ServerFailed):
    """A debuginfod server cannot be connected to, or is silent: others are asked instead."""


class Useless(ServerFailed):
    """What a debuginfod server sends is not the file that it was asked for."""


class StartOver(ServerFailed):
    """The connection broke, and the file comes again from its beginning."""


class _Broken(Exception):
    """The connection broke, or the server stalled."""


class Transfer:
    """A file on its way; a context manager that closes the connection."""

    def __init__(self, url: str, rules: DebuginfodRules) -> None:
        """Name it; nothing is asked yet."""
        self._url = url
        self._rules = rules
        self._attempts = 0
        self._connection: http.client.HTTPConnection | None = None
        self._response: PatientResponse | None = None
        self._offset = 0
        self._tail = self._again = b""
        """The last bytes that came; after a break they are asked for once more, and compared."""
        self._is_outside = False
        self.size_bytes: int | None = None
        """Of the file; ``None`` when the server does not tell."""

    def __enter__(self) -> Self:
        """Ask for it.

        :raises NotServed: the server has no such file
        :raises Unreachable: it cannot be connected to, or is silent
        :raises ServerFailed: it says anything else but what can be used
        """
        try:
            self._open()
        except _Broken as error:
            self._close()
            raise Unreachable(f"{error}") from error
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._close()

    def pieces(self) -> Iterator[bytes]:
        """The file's bytes, over as many connections as it takes.

        :raises StartOver: what came is of no use; the next call begins anew
        :raises ServerFailed: it is no ELF file, too big, or breaks off again and again
        """
        self._offset, self._tail, head = 0, b"", b""
        for piece in self._continuous():
            if len(head) < len(_ELF):
                head = (head + piece)[: len(_ELF)]
                if not _ELF.startswith(head):
                    raise Useless("what it sends is no ELF file")
            yield piece

    def _continuous(self) -> Iterator[bytes]:
        while True:
            try:
                yield from self._received()
            except _Broken as error:
                self._go_on(str(error))
            else:
                return

    def _received(self) -> Iterator[bytes]:
        """What one connection brings."""
        assert self._response is not None  # noqa: S101  it was entered
        while True:
            with _translated():
                piece = self._response.read1(CHUNK_BYTES)
            if not piece:
                break
            self._response.patient.earned(len(piece))
            piece = self._behind_known(piece)
            self._tail = (self._tail + piece)[-OVERLAP_BYTES:]
            self._offset += len(piece)
            self._require_size(self._offset)
            yield piece
        if self.size_bytes is not None and self._offset < self.size_bytes:
            sizes = f"{human_size(self._offset)} of {human_size(self.size_bytes)}"
            raise _Broken(f"the connection ended after {sizes}")

    def _behind_known(self, piece: bytes) -> bytes:
        """A piece without its beginning that came before, which must be the same again."""
        known, self._again = self._again[: len(piece)], self._again[len(piece) :]
        if not piece.startswith(known):
            raise Useless("after a break it went on with another file")
        return piece[len(known) :]

    def _require_size(self, size_bytes: int) -> None:
        """Refuse what is larger than it may be, or was said to be."""
        if size_bytes > self._rules.file_bytes:
            limit = human_size(self._rules.file_bytes)
            raise ServerFailed(f"the file is larger than `debuginfodLimit` ({limit}) allows")
        if self.size_bytes is not None and size_bytes > self.size_bytes:
            raise ServerFailed(f"it sends more than the {self.size_bytes} bytes that it declared")

    def _go_on(self, problem: str) -> None:
        """Connect again, and ask for what is missing of the file."""
        before = self._version()
        self._attempts += 1
        if self._attempts >= ATTEMPTS or not self._offset:
            raise ServerFailed(problem)
        self._close()
        self._again = self._tail if before[1] else b""
        try:
            self._open(self._offset - len(self._again) if before[1] else 0, before[1])
        except _Broken as error:
            raise ServerFailed(f"{problem}, and then {error}") from error
        assert self._response is not None  # noqa: S101  it was opened
        if self._response.status != http.client.PARTIAL_CONTENT:
            self._again = b""
            raise StartOver(problem)
        if self._version() != before:
            raise Useless(f"{problem}, and then it had another file of that name")

    def _version(self) -> tuple[int | None, str | None]:
        """What must be equal for two parts to belong together."""
        assert self._response is not None  # noqa: S101  it was opened
        return self.size_bytes, self._response.validator

    def _open(self, offset: int = 0, validator: str | None = None) -> None:
        headers = {
            "User-Agent": f"cas/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        if offset and validator:
            headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
        response = self._followed(headers)
        _require_file(response)
        if response.status == http.client.PARTIAL_CONTENT:
            self.size_bytes = _continued(response, offset)
        else:
            self.size_bytes = _size(response)
        if self.size_bytes is not None:
            self._require_size(self.size_bytes)

    def _followed(self, headers: dict[str, str]) -> PatientResponse:
        """The answer at the end of the redirects."""
        url, self._is_outside = self._url, False
        for _ in range(REDIRECTS + 1):
            response = self._asked(url, headers)
            if response.status not in _REDIRECTED:
                return response
            url = _next(url, response.getheader("Location"))
            self._close()
        raise ServerFailed(f"it redirects more than {REDIRECTS} times")

    def _asked(self, url: str, headers: dict[str, str]) -> PatientResponse:
        parts = _parts(url)
        with _translated():
            self._connection = connection = _connection(parts, self._rules.timeout_s)
            with _reachable():
                connection.connect()
            self._require_outside(connection)
            connection.sock.settimeout(self._rules.timeout_s)
            target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
            query = "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?") if parts.query else ""
            connection.request("GET", target + query, headers=headers)
            response = connection.getresponse()
        assert isinstance(response, PatientResponse)  # noqa: S101  the connection's class
        response.patient.allow()
        self._response = response
        return response

    def _require_outside(self, connection: http.client.HTTPConnection) -> None:
        """Let a public server not have us ask somebody in our own network."""
        is_public = is_public_address(str(connection.sock.getpeername()[0]))
        if self._is_outside and not is_public:
            raise ServerFailed("it redirects into a private network")
        self._is_outside = is_public

    def _close(self) -> None:
        for opened in (self._response, self._connection):
            if opened is not None:
                opened.close()
        self._connection = None


def host_of(url: str) -> str:
    """The part of a URL that may be shown: who it is."""
    return short_line(re.split("[/?#]", url.partition("://")[2])[0], _SHOWN)


def is_public_address(text: str) -> bool:
    """Whether an address is one that anybody can reach.

    >>> [is_public_address(text) for text in ("9.9.9.9", "::ffff:10.0.0.1", "fe80::1%eth0")]
    [True, False, False]
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (inner or address).is_global


def _connection(parts: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
    connect_s = min(timeout_s, CONNECT_S)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(
            host, parts.port, timeout=connect_s, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=connect_s)
    connection.response_class = PatientResponse
    return connection


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ServerFailed("its URL cannot be read") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ServerFailed("it is no http or https URL")
    return parts


def _next(url: str, location: str | None) -> str:
    """Where a redirect leads; never from https to http."""
    if not location:
        raise ServerFailed("it redirects to nowhere")
    try:
        target = urljoin(url, location)
        old, new = urlsplit(url), urlsplit(target)
    except ValueError as error:
        raise ServerFailed("it redirects to something that is no URL") from error
    if new.scheme not in ("http", "https") or "@" in new.netloc:
        raise ServerFailed("it redirects to something that is neither http nor https")
    if (old.scheme, new.scheme) == ("https", "http"):
        raise ServerFailed("it redirects from https to http, which is not encrypted")
    return target


def _require_file(response: PatientResponse) -> None:
    """Refuse every answer but a plain file.

    Source: debuginfod(8), "WEBAPI"; RFC 9110.
    """
    status = status_text(response.status)
    if response.status in (404, 410):
        raise NotServed(f"it has no such build-id ({status})")
    if response.status not in (200, 206):
        raise ServerFailed(f"it says {status}")
    encoding = response.getheader("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise ServerFailed("it encodes the file, unasked")
    if response.getheader("Transfer-Encoding", "chunked").strip().lower() != "chunked":
        raise ServerFailed("it uses a transfer encoding that nobody asked for")
    content = response.getheader("Content-Type", "").partition(";")[0].strip().lower()
    if content in ("text/html", "application/xhtml+xml"):
        raise ServerFailed(f"it answers with a page ({content}) in place of the file")


def _size(response: PatientResponse) -> int | None:
    """Of the whole file; elfutils' own header counts where http declares no length."""
    lengths = response.headers.get_all("Content-Length", []) if not response.chunked else []
    sizes = {value.strip() for value in lengths}
    sizes |= {value.strip() for value in response.headers.get_all("X-DEBUGINFOD-SIZE", [])}
    if len(sizes) > 1 or not all(re.fullmatch(r"[0-9]{1,18}", size) for size in sizes):
        raise ServerFailed("it declares no usable length")
    return int(sizes.pop()) if sizes else None


def _continued(response: PatientResponse, offset: int) -> int:
    """Size of a file of which the part from the offset on comes."""
    declared = response.getheader("Content-Range", "").strip()
    found = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", declared)
    if not offset or not found or int(found[1]) != offset:
        raise ServerFailed("it sends a part of the file that nobody asked for")
    return int(found[3])


@contextmanager
def _translated() -> Iterator[None]:
    """Say what went wrong with a connection."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise ServerFailed(f"its certificate is not trusted: {error.verify_message}") from error
    except http.client.IncompleteRead as error:
        raise _Broken("the connection broke") from error
    except OSError as error:
        raise _Broken(reason(error)) from error
    except (http.client.HTTPException, ValueError):
        # no `from`: the library's message quotes what the server sent
        raise ServerFailed("it does not speak http") from None


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError:
        raise
    except OSError as error:
        raise Unreachable(f"it cannot be reached: {reason(error)}") from error
