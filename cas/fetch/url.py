"""A URL as a value that can be shown: its secrets never appear in its text.

A password, and a query that may hold a token or a signature, are kept for the request alone.
``str()`` and ``repr()`` show ``?…`` for a query and ``…@`` for what stands before the host; only
the user of ftp and sftp, who is no secret there, is shown.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from cas.errors import UsageError

STORES = ("s3", "gs", "az")
"""The schemes of objects in stores: of Amazon's protocol, Google's and Azure's."""
PORTS = {"http": 80, "https": 443, "ftp": 21, "sftp": 22, **dict.fromkeys(STORES, 443)}
"""The schemes that are fetched, and where their servers listen."""
NAME_CHARACTERS = 100
SECRET_CHARACTERS = 4
"""Shorter words are everywhere."""
SHORTENED = "…"
"""In a text that a URL is shown by: it stands for secrets, which the text does not give back."""
_PATH = "/%:@!$&'()*+,;=~-._"
_QUERY = _PATH + "?"


@dataclass(frozen=True, slots=True, repr=False)
class Url:
    """Where a file is, in parts; :func:`parse_url` makes it."""

    scheme: str
    host: str
    """Lower case, ASCII; an IPv6 address without its brackets."""
    port: int
    path: str
    """As it is sent by http: percent-encoded, beginning with a slash."""
    query: str = field(default="", repr=False)
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    hides_path: bool = False
    """The path is not shown: it came from a server, which may have put anything into it."""
    hides_host: bool = False
    """Even the host is not shown: a server has put a secret of ours there."""
    told_as: str | None = None
    """What stands for it in every text, where it is another thing to the reader than a URL."""

    def __str__(self) -> str:
        if self.told_as is not None:
            return self.told_as
        login = ""
        if self.scheme in ("ftp", "sftp") and self.user:
            secret = f":{SHORTENED}" if self.password else ""
            login = f"{quote(self.user, safe='')}{secret}@"
        elif self.user is not None or self.password is not None:
            login = f"{SHORTENED}@"
        host = SHORTENED if self.hides_host else self.authority
        path = f"/{SHORTENED}" if self.hides_path else self.path
        query = f"?{SHORTENED}" if self.query else ""
        return f"{self.scheme}://{login}{host}{path}{query}"

    def __repr__(self) -> str:
        return f"<Url {self}>"

    @property
    def authority(self) -> str:
        """Host, and the port where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown_host(self) -> str:
        """The host, where it may be shown."""
        if self.told_as is not None:
            return self.told_as
        return "the host of a redirect" if self.hides_host else self.host

    @property
    def secrets(self) -> frozenset[str]:
        """What a server may have learnt from a request and must not have us show, lower case."""
        values = (value for _, value in parse_qsl(self.query))
        words = (self.user, self.password, *values, *re.split("[&=]", self.query))
        return frozenset(word.lower() for word in words if word and len(word) >= SECRET_CHARACTERS)

    @property
    def is_object(self) -> bool:
        """Whether it is an object of a store, which has no host of its own."""
        return self.scheme in STORES

    @property
    def target(self) -> str:
        """What an http request asks for: path and query, a secret perhaps."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def origin(self) -> tuple[str, str, int]:
        """Who may see the credentials."""
        return self.scheme, self.host, self.port

    @property
    def file_path(self) -> str:
        """The path for ftp, sftp and stores, decoded: below the login directory, or absolute.

        Source: RFC 1738, 3.2.2 for ftp (``%2F`` leads to the root); draft-ietf-secsh-scp-sftp-ssh-
        uri for sftp (absolute), with curl's ``/~/`` for the home directory; the key in a store.
        """
        path = unquote(self.path)
        if self.is_object:
            return path[1:]
        if self.scheme == "ftp":
            return re.sub(r";type=[aid]$", "", path[1:])
        return path.removeprefix("/~/")

    @property
    def name(self) -> str:
        """A file name made from the last part of the path; ``download`` where there is none."""
        last = unquote(self.path.rpartition("/")[2])
        safe = re.sub(r"[^A-Za-z0-9._+-]", "_", last).lstrip(".-")
        return safe[-NAME_CHARACTERS:].lstrip(".-") or "download"

    @property
    def fingerprint(self) -> str:
        """Tells one URL from another without giving it away; credentials do not count."""
        text = "\n".join((self.scheme, self.authority, self.target))
        return hashlib.sha256(text.encode()).hexdigest()


def is_url(text: str) -> bool:
    """Whether a command line argument is meant as a URL, of whatever scheme.

    >>> [is_url(text) for text in ("https://a/b", "file:///etc", "httpd.core", "http:", "data:x")]
    [True, True, False, False, False]
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def is_whole(text: str) -> bool:
    """Whether what was kept of a URL can be asked for: secrets are not kept."""
    return SHORTENED not in text


def to_fetch(ticket: str, text: str) -> str:
    """The command that fetches the dump of a job whose URL was kept so."""
    return f"cas -i {ticket}" + ("" if is_whole(text) else " -f URL")


def parse_url(text: str) -> Url:
    """Read a URL that can be fetched; a fragment is dropped.

    :raises UsageError: another scheme, or not usable; the message holds no secret
    """
    scheme = text.partition(":")[0].lower()
    if scheme not in PORTS:
        shown = scheme if re.fullmatch(r"[a-z0-9+.-]{1,20}", scheme) else "other"
        raise UsageError(f"{shown}: URLs are not fetched; use {', '.join(PORTS)} or a file")
    if not is_whole(text):
        raise UsageError(
            "this URL was shortened for a log: its password or query is not kept",
            hint="give the whole URL with -f; a password can stay in ~/.netrc instead",
        )
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", text):
        raise _unusable(scheme, "it holds control characters or bytes that are not UTF-8")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        # no `from`: the library's message may quote the password
        raise _unusable(scheme, "its host or port cannot be read") from None
    is_object = re.fullmatch(r"[A-Za-z0-9._-]+", parts.netloc) and parts.path.strip("/")
    if scheme in STORES and (parts.query or not is_object):
        raise UsageError(
            f"the {scheme} URL cannot be used: it must have a bucket and a key and no more,"
            f" {scheme}://BUCKET/KEY",
            hint="endpoint, region and credentials stand in [stores] of cas.conf, see cas.conf(5)",
        )
    if port == 0 or "\\" in parts.netloc or re.search(r"%(0[0-9a-d]|1|7f)", parts.path.lower()):
        raise _unusable(scheme, "it holds port 0, a backslash or encoded control characters")
    host = parts.hostname or ""
    try:
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        host = ""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]+(%[\w.-]+)?", host):
        raise _unusable(scheme, "there is no usable host in it")
    return Url(
        scheme,
        host.lower(),
        PORTS[scheme] if port is None else port,
        quote(parts.path, safe=_PATH) or "/",
        quote(parts.query, safe=_QUERY),
        _login_word(parts.username, scheme),
        _login_word(parts.password, scheme),
    )


def _login_word(secret: str | None, scheme: str) -> str | None:
    if secret is None:
        return None
    decoded = unquote(secret)
    if re.search(r"[\x00-\x1f\x7f]", decoded):
        raise _unusable(scheme, "its user or password holds control characters")
    return decoded


def _unusable(scheme: str, reason: str) -> UsageError:
    return UsageError(f"the {scheme} URL cannot be used: {reason}")
