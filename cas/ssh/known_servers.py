"""The servers that a user has logged in to: those of known_hosts that are named there."""

from __future__ import annotations

from pathlib import Path

from cas.frozen import dataclass
from cas.ssh.account import Destination
from cas.ssh.known_hosts import HASHED, names_of, split_name


@dataclass(frozen=True, slots=True)
class KnownServers:
    """Servers that may be analysis hosts."""

    destinations: tuple[Destination, ...]
    """Each once, as its line names it first."""
    hashed: int
    """Lines whose server only ssh can tell, given its name."""


def servers_in_known_hosts(home: Path) -> KnownServers:
    """The servers of a user's known_hosts.

    Patterns, revoked keys and certificate authorities name no server.

    :raises SshError: the file cannot be read
    """
    found: list[Destination] = []
    seen: set[tuple[str, int | None]] = set()
    hashed = 0
    for words in names_of(home / ".ssh/known_hosts"):
        hashed += words[0].startswith(HASHED)
        names = [name for word in words if (name := split_name(word.lower()))]
        if names and seen.isdisjoint(names):
            found.append(Destination(*names[0]))
        seen.update(names)
    return KnownServers(tuple(found), hashed)
