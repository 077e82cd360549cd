"""Analysis hosts, and the crash programs on them."""

from __future__ import annotations

from datetime import datetime

from cas.frozen import dataclass


@dataclass(frozen=True, slots=True)
class CrashProgram:
    """A crash binary on an analysis host."""

    path: str
    """On the host."""
    version: str
    """E.g. ``8.0.2``."""
    arch: str
    """The architecture of the dumps that it reads, in ``uname -m`` spelling."""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine that is reached by ssh, and runs crash for us or is swept for dumps."""

    name: str
    """As the administrator named it: a name, an address or an alias of ``~/.ssh/config``."""
    port: int | None = None
    """``None``: what ``~/.ssh/config`` says, else 22."""
    is_enabled: bool = True
    is_swept: bool = False
    """It is swept for dumps, and analyses none: nothing is installed there."""
    problem: str | None = None
    """Why it was of no use when it was last checked, in a sentence; ``None``: it was."""
    checked: datetime | None = None
    """UTC; when the facts below were found out."""
    arch: str | None = None
    """``uname -m``."""
    crashes: tuple[CrashProgram, ...] = ()
    drgn: str | None = None
    """Version of drgn there."""
    cpus: int | None = None
    memory_bytes: int | None = None
    """Available, as ``/proc/meminfo`` has it."""
    free_bytes: int | None = None
    """Below the directory for copies."""
    is_shared: bool = False
    """It sees our work directory, proved by a file with a nonce."""
    host_key: str | None = None
    """Type and fingerprint."""
    remarks: tuple[str, ...] = ()
    """What its administrator should know although it is of use, e.g. a crash that hangs."""

    def __str__(self) -> str:
        if self.port is None:
            return self.name
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"
