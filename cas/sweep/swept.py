"""What came of a host that was swept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cas.model.host import Host
from cas.sweep.walk import Left
from cas.text import count
from cas.units import human_size, human_span


@dataclass(frozen=True, slots=True)
class Missing:
    """A file that the archive lacks, or lacked."""

    path: str
    size_bytes: int
    crash: str
    is_fetched: bool = False
    digest: str | None = None
    """Of what was fetched."""


@dataclass(slots=True)
class Swept:
    """What came of a host."""

    host: Host
    files: int = 0
    """That may tell of a crash."""
    known: int = 0
    missing: list[Missing] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    problem: str | None = None
    """Why not all of the host was swept, and what to do about it."""
    is_index_behind: bool = False
    """The database cannot be used now."""
    log: Path | None = None
    """Where it is written which files were left, and why."""
    read_bytes: int = 0
    """Of files, to know their crashes."""
    fetched_bytes: int = 0
    fetch_s: float = 0.0
    """For what was fetched, until it was in the archive."""
    seconds: float = 0.0


def summary_of(swept: Swept) -> str:
    """A host in a line."""
    fetched = [each for each in swept.missing if each.is_fetched]
    parts = [count(swept.files, "file"), f"{swept.known} known"]
    if fetched:
        size = human_size(sum(each.size_bytes for each in fetched))
        parts.append(f"{len(fetched)} fetched ({size})")
    lacking = [each for each in swept.missing if not each.is_fetched]
    if lacking:
        size = human_size(sum(each.size_bytes for each in lacking))
        parts.append(f"{len(lacking)} to fetch ({size})")
    parts.append(f"{len(swept.left)} left")
    return f"{swept.host}: {', '.join(parts)}, {human_span(swept.seconds)}"
