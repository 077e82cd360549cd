"""What a debugger is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from cas.frozen import dataclass
from cas.model.dump import Dump


@dataclass(frozen=True, slots=True)
class Case:
    """A dump, and the kernel that wrote it: what a debugger is given."""

    dump: Dump
    vmlinux: Path
    kmods: Mapping[str, Path] = field(default_factory=dict)
    """Files of kernel modules by the kernel's names for them, the most needed first; of drgn's
    case those that have debug information."""
