"""What every protocol of :mod:`cas.fetch.fetch` has in common: the rules, and an open download."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self

from cas.errors import FetchError, TryAgain
from cas.frozen import dataclass
from cas.settings.config import Config
from cas.settings.rules import IntakeLimits, StoreRules

CHUNK_BYTES = 256 << 10


class PrivateNetworks(StrEnum):
    """When a connection may go to an address that is not a public host's."""

    REFUSED = "refused"
    """Never: the URL is a stranger's."""
    REFUSED_BEHIND_PUBLIC = "refused behind public"
    """The URL is the administrator's own; no public server may redirect into a private network."""
    ALLOWED = "allowed"
    """Always: the administrator has said so."""


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """What every connection to a server obeys, for whatever it is made."""

    private_networks: PrivateNetworks = PrivateNetworks.REFUSED
    timeout_s: float = 60.0
    """Seconds without a byte from the server after which it counts as gone."""
    connect_s: float | None = None
    """Seconds after which a connection that is not there is given up; ``None``: `timeout_s`."""
    home: Path | None = None
    """Where ``.netrc`` and ``.ssh`` are; ``None``: no login is taken from there."""


@dataclass(frozen=True, slots=True)
class FetchPolicy(NetworkPolicy):
    """What the download of an upload may do besides, and how long it is tried."""

    home: Path = field(default_factory=Path.home)
    limits: IntakeLimits = field(default_factory=IntakeLimits)
    """How large the file may be, and what of the disk it must leave free."""
    stores: Mapping[str, StoreRules] = field(default_factory=dict)
    """By bucket; ``""`` stands for all others."""
    sshkey: Path | None = None
    """A private key that is tried first."""
    attempts: int = 5
    """Failures in a row, without a new mebibyte of the file between them."""
    pause_s: float = 1.0
    """Seconds before the second attempt; they double from one to the next."""

    @classmethod
    def of(cls, config: Config) -> Self:
        """What the administrator allows."""
        return cls(
            PrivateNetworks.ALLOWED if config.private_addresses else PrivateNetworks.REFUSED,
            config.fetch_timeout_s,
            limits=config.intake,
            stores=config.stores,
            sshkey=config.sshkey,
        )


@dataclass(frozen=True, slots=True)
class Version:
    """Which of a file's versions a server has; two downloads of one version can be joined."""

    size_bytes: int | None = None
    """Bytes of the whole file; ``None`` when the server does not tell."""
    validator: str | None = None
    """What changes with the content: a strong ETag, or the time of the last change."""

    def continues(self, earlier: Version) -> bool:
        """Whether bytes of the earlier one belong to this one; unknown is no."""
        return self.validator is not None and self == earlier


@dataclass(frozen=True, slots=True)
class Had:
    """What an earlier attempt left."""

    offset: int = 0
    """How many bytes of the file are there."""
    version: Version = field(default_factory=Version)


class Source(Protocol):
    """A file on a server, opened for reading."""

    @property
    def version(self) -> Version:
        """Which version of the file it is."""

    @property
    def offset(self) -> int:
        """Where in the file the bytes to come begin: at what was had, or 0."""

    @property
    def sha256(self) -> str | None:
        """Lower-case hex of the whole file, where the server says so itself."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know, e.g. that the server compressed the file, unasked."""

    def read(self) -> bytes:
        """The next bytes; none at the end.

        :raises Broken: the connection broke
        """


class Spent:
    """What was asked of a server so far; threads may count at once."""

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._lock = threading.Lock()
        self.requests = 0
        self.size_bytes = 0

    def request(self) -> None:
        """Count a request."""
        with self._lock:
            self.requests += 1

    def received(self, size: int) -> None:
        """Count bytes of the file."""
        with self._lock:
            self.size_bytes += size


class Ranges(Protocol):
    """A file on a server of which parts can be asked for, by several threads at once."""

    @property
    def version(self) -> Version:
        """Which version of the file all parts are of; its size and validator are known."""

    def part(self, start: int, end: int) -> bytes:
        """All bytes of a part.

        :raises Changed: the file is another one by now
        :raises NoRanges: the server sends something else
        :raises Broken: the connection or the server fails at the moment
        """

    def require_same(self) -> None:
        """Make sure that all parts so far are of the one version.

        :raises Changed: they may not be
        """

    def close(self) -> None:
        """Let go of the server; who still waits for a part hears of it."""


class NoRanges(FetchError):
    """A server has the file, but gives no parts of it that can be relied on."""


class Broken(TryAgain):
    """The connection or the server fails at the moment: worth another attempt."""


class Changed(Broken):
    """The file on the server is another one than before."""


class InTrouble(Broken):
    """The server answers, and says that it cannot give the file now."""

    def __init__(self, message: str, *, wait_s: float = 0.0) -> None:
        """Keep what it says.

        :param wait_s: how long it asks to be left alone
        """
        super().__init__(message)
        self.wait_s = wait_s


class NotConnected(FetchError):
    """No connection can be made: the host's name, its certificate or its TLS is of no use."""


class NotThere(FetchError):
    """The server has no such file."""


class Denied(FetchError):
    """The server does not give the file to this user."""

    hint = "put the login for this host into ~/.netrc (http, ftp) or ~/.ssh (sftp)"
