"""One file by http or https, for uploads and for debuginfod alike.

:mod:`http.client` speaks the protocol over a connection that we make ourselves, so that the address
that was checked is the one that is used, on each redirect anew; nothing else follows redirects,
decodes or asks a proxy. Everything that a server says is hostile: nothing of it is shown but what
the :class:`Url` of a redirect lets through.
"""

from __future__ import annotations

import base64
import http.client
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urljoin, urlsplit

from cas import __version__
from cas.errors import FetchError, Refused, UsageError
from cas.fetch.login import login_for
from cas.fetch.network import connected, is_private, network_errors_told, secure
from cas.fetch.patience import PatientResponse, status_text
from cas.fetch.source import (
    CHUNK_BYTES,
    Broken,
    Changed,
    Denied,
    Had,
    InTrouble,
    NetworkPolicy,
    NotThere,
    PrivateNetworks,
    Spent,
    Version,
)
from cas.fetch.url import PORTS, Url, parse_url
from cas.units import human_span

REDIRECTS = 5
_REFUSED_HINT = "fetch the file by other means and give its path"
REDIRECTED = frozenset({301, 302, 303, 307, 308})
LATER = frozenset({408, 425, 429})
KEPT_ENCODINGS = frozenset({"gzip", "x-gzip", "bzip2", "x-bzip2", "compress", "xz", "x-xz", "zstd"})
"""Content encodings that unpacking recognises: what the server sends is kept as it comes."""

PLAIN = ("", "identity")
"""Content encodings that are none."""
OTHER_ENCODINGS = frozenset({"br", "deflate", "dcb", "dcz", "aes128gcm", "exi", "pack200-gzip"})
"""The other ones of IANA's registry of HTTP content codings: words that are not a server's own."""


Began = Callable[[socket.socket], None]
"""Is given each connection before anything is asked over it, and may raise."""


class Connection(http.client.HTTPConnection):
    """A connection to a checked address."""

    response_class = PatientResponse

    def __init__(self, url: Url, policy: NetworkPolicy, began: Began | None = None) -> None:
        super().__init__(url.host, url.port)
        self.default_port = PORTS[url.scheme]
        self._url = url
        self._policy = policy
        self._began = began
        self.is_to_public = False

    def connect(self) -> None:
        """Connect to an address that policy allows."""
        self.sock = connected(self._url, self._policy)
        self.is_to_public = not is_private(self.sock.getpeername()[0])
        if self._url.scheme == "https":
            self.sock = secure(self.sock, self._url)
        self.sock.settimeout(self._policy.timeout_s)
        if self._began:
            self._began(self.sock)


@dataclass(frozen=True)
class Body:
    """The body of an answer: a :class:`cas.fetch.source.Source`."""

    url: Url
    """Who gives it, behind all redirects."""
    response: PatientResponse
    version: Version
    offset: int
    sha256: str | None = None
    remarks: tuple[str, ...] = ()
    is_over: bool = False
    """``True`` where an earlier attempt had all of the file: nothing is left to read."""

    def read(self) -> bytes:
        """The next bytes of the file; none at its end."""
        if self.is_over:
            return b""
        with http_errors_told(self.url):
            data = self.response.read1(CHUNK_BYTES)
        self.response.patient.earned(len(data))
        return data

    def header_values(self, header: str) -> set[str]:
        """What the answer says in a header, in each of its lines."""
        return {value.strip() for value in self.response.headers.get_all(header, [])}


@contextmanager
def opened_by_http(url: Url, policy: NetworkPolicy, had: Had | None = None) -> Iterator[Body]:
    """A file's bytes, over at most REDIRECTS redirects.

    :param had: what an earlier attempt left, to go on with
    :raises Refused: policy forbids where it or a redirect leads
    :raises FetchError: the server has no such file for us
    :raises Broken: it may have it later
    """
    had = had or Had()
    headers = {"Connection": "close"}
    if had.offset and had.version.validator:
        headers["Range"] = f"bytes={had.offset}-"
        headers["If-Range"] = had.version.validator
    hop, connection, response = answered(url, policy, headers)
    with closing(connection), closing(response):
        yield _body(hop, response, had)


def answered(
    url: Url,
    policy: NetworkPolicy,
    asked: Mapping[str, str],
    spent: Spent | None = None,
    began: Began | None = None,
) -> tuple[Url, Connection, PatientResponse]:
    """The answer to a request, behind at most REDIRECTS redirects; the caller closes both.

    :return: who gives it, over what, and the answer
    :raises Refused: policy forbids where the URL or a redirect leads
    """
    hop = url
    for _ in range(REDIRECTS + 1):
        connection = Connection(hop, policy, began)
        try:
            if spent:
                spent.request()
            response = response_of(hop, connection, {**asked, **credentials(url, hop, policy)})
            if response.status not in REDIRECTED:
                return hop, connection, response
            response.close()
            if connection.is_to_public and policy.private_networks is not PrivateNetworks.ALLOWED:
                policy = replace(policy, private_networks=PrivateNetworks.REFUSED)
            hop = _redirect_target(url, hop, response.getheader("Location"))
        except BaseException:
            connection.close()
            raise
        connection.close()
    raise FetchError(f"{url} is redirected more than {REDIRECTS} times")


def credentials(url: Url, hop: Url, policy: NetworkPolicy) -> dict[str, str]:
    """They are for the host that they were given for, not for where it redirects to."""
    if policy.home and hop.origin == url.origin and (login := login_for(url, policy.home)):
        return {"Authorization": f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"}
    return {}


def response_of(hop: Url, connection: Connection, asked: Mapping[str, str]) -> PatientResponse:
    """The head of the answer to one request."""
    headers = {
        "User-Agent": f"cas/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        **asked,
    }
    with http_errors_told(hop):
        connection.request("GET", hop.target, headers=headers)
        response = connection.getresponse()
    if not isinstance(response, PatientResponse):
        raise TypeError(type(response))
    response.patient.allow()
    return response


def _redirect_target(origin: Url, hop: Url, location: str | None) -> Url:
    """Where a redirect leads; its path is the server's choice, and may hold a secret.

    :raises Refused: to another protocol, or from https to http
    """
    if not location:
        raise FetchError(f"{hop} redirects to nowhere")
    try:
        target = urljoin(f"{hop.scheme}://{hop.authority}{hop.target}", location)
        scheme = urlsplit(target).scheme.lower()
        if scheme not in ("http", "https"):
            shown = (
                f"{scheme}:" if scheme in ("ftp", "ftps", "sftp", "file") else "another protocol"
            )
            said = f"{hop} redirects to {shown}, only http and https are followed"
            raise Refused(said, hint=_REFUSED_HINT)
        found = replace(parse_url(target), user=None, password=None)
        found = replace(
            found,
            hides_path=found.path != origin.path,
            hides_host=any(secret in found.host for secret in origin.secrets),
        )
        if origin.told_as is not None:
            told = f"{found.authority} (to which {origin.told_as} redirects)"
            found = replace(found, told_as=told)
    except (ValueError, UsageError):
        raise FetchError(f"{hop} redirects to something that is no URL") from None
    if (hop.scheme, found.scheme) == ("https", "http"):
        said = f"{hop} redirects to {found}, which is not encrypted"
        raise Refused(said, hint=_REFUSED_HINT)
    return found


def _body(url: Url, response: PatientResponse, had: Had) -> Body:
    """What the answer brings of the file: all, what is missing, or nothing where all was there.

    :raises Changed: a part belongs to another version, or to another place in the file
    """
    asked = had if had.version.validator else Had()
    content_range = response.getheader("Content-Range", "").strip()
    validator = response.validator or asked.version.validator
    changed = f"{url}: the file has changed on the server"
    if response.status == 416 and asked.offset:
        found = re.fullmatch(r"bytes \*/(\d{1,18})", content_range)
        is_whole = bool(found) and asked.offset == asked.version.size_bytes == int(found[1])  # type: ignore[index]
        if not is_whole or validator != asked.version.validator:
            raise Changed(changed)
        return Body(url, response, asked.version, asked.offset, is_over=True)
    require_given(url, response)
    if response.status == 206:
        pattern = r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)"
        found = re.fullmatch(pattern, content_range, re.ASCII)
        if not asked.offset or not found:
            raise FetchError(f"{url}: the server sends a part of the file that nobody asked for")
        size = asked.version.size_bytes if found[3] == "*" else int(found[3])
        version = Version(size, validator)
        if int(found[1]) != asked.offset or not version.continues(asked.version):
            raise Changed(changed)
    else:
        asked, lengths = Had(), set[str]()
        if not response.chunked:
            lengths = {text.strip() for text in response.headers.get_all("Content-Length", [])}
        if len(lengths) > 1 or not all(re.fullmatch(r"[0-9]{1,18}", text) for text in lengths):
            raise FetchError(f"{url}: the server declares no usable length")
        version = Version(int(lengths.pop()) if lengths else None, response.validator)
    remarks = _oddities(url, response)
    # SHA-256 of the whole file: RFC 9530 (Repr-Digest), RFC 3230 (Digest)
    fields = (response.getheader("Repr-Digest", ""), response.getheader("Digest", ""))
    found = re.search(r"\bsha-256=:?([A-Za-z0-9+/]{43}=)", ",".join(fields), re.IGNORECASE)
    sha256 = base64.b64decode(found[1]).hex() if found else None
    return Body(url, response, version, asked.offset, sha256, remarks)


def require_given(url: Url, response: PatientResponse) -> None:
    """Make sure that the server has the file for us, and gives it in a form that we read."""
    status = status_text(response.status)
    if response.status in (404, 410):
        raise NotThere(f"{url}: there is no such file: {status}")
    if response.status in (401, 403, 407):
        # what is told as something else is no URL of a user's, who could have a login there
        hint = "look at the credentials in [stores] of cas.conf" if url.told_as else None
        raise Denied(f"{url}: the server denies it: {status}", hint=hint)
    if response.status in LATER or response.status >= 500:
        wait_s = response.retry_after_s
        told = f", and to ask again in {human_span(wait_s)}" if wait_s else ""
        raise InTrouble(f"{url}: the server says {status}{told}", wait_s=wait_s)
    if response.status not in (200, 206):
        raise FetchError(f"{url}: the server says {status}")
    if response.getheader("Transfer-Encoding", "chunked").strip().lower() != "chunked":
        raise FetchError(f"{url}: the server uses a transfer encoding that nobody asked for")


def _oddities(url: Url, response: PatientResponse) -> tuple[str, ...]:
    """What is odd about an answer, and may be.

    :raises FetchError: it is encoded as nothing here reads
    """
    remarks = []
    encoding = response.getheader("Content-Encoding", "identity").strip().lower()
    if encoding not in PLAIN:
        if encoding not in KEPT_ENCODINGS:
            shown = encoding if encoding in OTHER_ENCODINGS else "something unknown"
            raise FetchError(f"{url}: the server encodes the file as {shown}, unasked")
        remarks.append(f"the server sends the file as {encoding}, and it is kept so")
    if not response.chunked and "Content-Length" not in response.headers:
        remarks.append("the server does not say how long the file is: a break cannot be noticed")
    return tuple(remarks)


@contextmanager
def http_errors_told(url: Url) -> Iterator[None]:
    """Say what went wrong with an answer: later it may come, or never."""
    try:
        with network_errors_told(url):
            yield
    except http.client.IncompleteRead:
        raise Broken(f"{url}: the connection broke") from None
    except (http.client.HTTPException, ValueError):
        # no `from`: the library's message quotes what the server sent, a password perhaps
        raise FetchError(f"{url}: the server does not speak http") from None
