"""The fault itself, as it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from cas.frozen import dataclass
from cas.model.code import Instruction, SourceLines
from cas.model.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Fault:
    """The fault itself: what the processor was about to do, and why it could not."""

    place: str | None
    """``cas_sum_entries+0x18``; where no code is, the call that led there."""
    kmod: str | None = None
    address: int | None = None
    """That was accessed; ``None``: not known, or no memory was."""
    evidence: tuple[Evidence, ...] = ()
    """What the address and the registers give away."""
    advice: str | None = None
    """What to look for next, where that is more than the kind of crash alone says."""
    registers: Mapping[str, int] = field(default_factory=dict)
    """By the architecture's own names."""
    registers_from: str = ""
    """E.g. ``struct pt_regs at 0xffffaff9c00efdc8``, ``kernel log``."""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """By register: what its value is, or what it points to."""
    code: tuple[Instruction, ...] = ()
    code_from: str = ""
    """``memory of the dump`` or ``kernel log``."""
    source: SourceLines | None = None
    problems: tuple[str, ...] = ()
    """What could not be read, a sentence each."""
