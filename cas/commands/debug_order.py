"""What a user asks of ``cas debug``."""

from __future__ import annotations

import shlex
from dataclasses import field
from pathlib import Path

from cas.choices import EngineChoice
from cas.commands.debug_options import ForCrash
from cas.frozen import dataclass


@dataclass(frozen=True, slots=True)
class DebugOrder:
    """What the user asked for."""

    words: tuple[str, ...]
    """Which dump."""
    engine: EngineChoice | None = None
    """Instead of the configuration's engine."""
    inputs: tuple[str | Path, ...] = ()
    """Commands, and files of commands, in their order; none: whatever stdin brings."""
    kernel: Path | None = None
    """A vmlinux instead of the one that is found."""
    is_forced: bool = False
    """The vmlinux may be another kernel's, and the dump another than was received (``--force``)."""
    host: str | None = None
    """The analysis host to run crash on."""
    for_crash: ForCrash = field(default_factory=ForCrash)
    """What is none of our options."""

    @property
    def spec(self) -> str:
        """The words that say which dump, as they are typed."""
        return shlex.join(self.words)
