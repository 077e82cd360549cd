"""What an engine may use for one dump."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a command, and the opening of the dump, may take."""

    command_s: float
    start_s: float
    section_bytes: int
    memory_bytes: int
