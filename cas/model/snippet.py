"""A snippet, what its commands need of a kernel, and how each of them ended."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from cas.choices import Engine, NeedKind, SectionStatus
from cas.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """What a command asks of the kernel: that it has one of several names of a kind."""

    kind: NeedKind
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snippet:
    """One topic's commands, rendered for one dump."""

    name: str
    """File name of the snippet and of its output."""
    title: str
    commands: tuple[str, ...]
    needs: tuple[tuple[Need, ...], ...] = ()
    """What each command needs, all of which must be met; empty: none needs anything."""
    files: tuple[Path, ...] = field(default=(), compare=False)
    """Where the commands stand."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one command of a snippet ended."""

    command: str
    status: SectionStatus
    engine: Engine
    """Which ran it last."""
    error: str | None = None
    """What went wrong, in a sentence that names the command; ``None`` when ``ok``."""
    size_bytes: int = 0
    """Bytes of its output."""
    lacks_memory: bool = False
    """It wanted memory that the dump does not have."""


@dataclass(frozen=True, slots=True)
class Section:
    """One snippet's result."""

    name: str
    title: str
    status: SectionStatus
    engine: Engine
    path: Path
    """The output file in the job directory."""
    seconds: float = 0.0
    size_bytes: int = 0
    error: str | None = None
    """What went wrong, in a sentence; ``None`` when ``ok``."""
    commands: tuple[Outcome, ...] = ()
    """How each of its commands ended, in their order."""
