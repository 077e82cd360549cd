"""What drgn reads of a dump: the task that crashed, its backtrace, the loaded kernel modules."""

from __future__ import annotations

from datetime import datetime

from cas.frozen import dataclass
from cas.model.code import Frame


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the crashed kernel."""

    pid: int
    comm: str
    cpu: int | None = None
    state: str | None = None
    address: int | None = None
    """Where its ``struct task_struct`` is."""


@dataclass(frozen=True, slots=True)
class Kmod:
    """A kernel module that was loaded when the kernel crashed."""

    name: str
    """As the kernel spells it, with underscores."""
    size_bytes: int | None = None
    taint: str = ""
    """Taint letters of this module, e.g. ``OE``."""
    address: int | None = None
    has_debuginfo: bool = False
    build_id: str | None = None
    """From the module's own note in the dump."""


KMODS = "the list of kernel modules"
"""How a problem begins that is about them."""


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """What crashed, where and why: drgn's reading of the dump."""

    panic_message: str | None = None
    panic_task: Task | None = None
    backtrace: tuple[Frame, ...] = ()
    kmods: tuple[Kmod, ...] = ()
    taint: str = ""
    """The kernel's taint letters, e.g. ``GOE``; empty when not tainted."""
    uptime_s: float | None = None
    cpus_online: int | None = None
    memory_bytes: int | None = None
    nodename: str | None = None
    crash_time: datetime | None = None
    """UTC, from the kernel's own clock."""
    dmesg: str | None = None
    problems: tuple[str, ...] = ()
    """What could not be read, a sentence each."""

    @property
    def knows_kmods(self) -> bool:
        """Whether the list of kernel modules could be read, at least in part."""
        return bool(self.kmods) or not any(each.startswith(KMODS) for each in self.problems)
