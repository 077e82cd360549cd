"""What a dump says of itself, and what of it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from pathlib import Path

from cas.choices import Cause, Checked
from cas.frozen import dataclass
from cas.model.code import Location
from cas.model.kernel import KernelIdentity


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that a damaged dump lacks."""

    what: str
    """A sentence with sizes, e.g. ``declares 8.0 GiB, data ends at 3.2 GiB (40 %)``."""
    offset: int | None = None
    """Byte offset in the dump file where the damage begins."""
    cause: Cause = Cause.UNKNOWN


@dataclass(frozen=True, slots=True)
class Registers:
    """One processor's registers at the crash, from the dump's NT_PRSTATUS notes."""

    cpu: int
    """Position of the note: processors without one are not counted."""
    pid: int | None
    """Process id of the task on it; ``None`` in dumps of QEMU, which does not know it."""
    values: Mapping[str, int]
    """By the architecture's own names, e.g. ``rip``, in the order of ``struct user_regs``."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A dump that stays where it was submitted, as it was when it was read there."""

    path: Path
    """Absolute, without symbolic links."""
    size_bytes: int
    digest: str
    inode: int
    modified_ns: int
    changed_ns: int
    """When anything of the file was changed last; nobody can set that."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The upload, unpacked: what of it is in the job directory."""

    vmcore: Path
    """The dump; the first part of a split set."""
    parts: tuple[Path, ...] = ()
    """All parts of a split set in the order of their page frames; empty for a dump in one file."""
    sidecars: tuple[Path, ...] = ()
    """Files that came with it."""
    missing: tuple[Missing, ...] = ()
    """What the upload's wrapping lost: cut or damaged compression."""
    remarks: tuple[str, ...] = ()
    """What a reader should know, e.g. bytes behind the end of the compressed data."""
    reference: Reference | None = None
    """That the dump is no file of the job, once it was read; ``None``: it is one."""


KERNEL_LOG = "kernel log"
"""The format of a `Dump` that is no dump: the text of a kernel log, which is all that was kept."""


@dataclass(frozen=True, slots=True)
class Dump:
    """What a kernel dump says about itself, read without any vmlinux."""

    path: Path
    format: str
    """``ELF``, ``KDUMP``, ``flattened ELF``, ``flattened KDUMP`` or `KERNEL_LOG`."""
    size_bytes: int
    """Apparent size of the dump file."""
    arch: str
    """``uname -m`` spelling: ``x86_64``, ``i686``, ``aarch64``, …"""
    osrelease: str | None = None
    build_id: str | None = None
    """Lower-case hex of the kernel's GNU build-id, from VMCOREINFO (Linux 5.9 and later)."""
    banner: str | None = None
    """The kernel's whole ``Linux version …`` line, without the newline."""
    nodename: str | None = None
    """Host name of the machine that crashed; ELF dumps do not tell it."""
    crash_time: datetime | None = None
    """UTC; VMCOREINFO's CRASHTIME or the KDUMP header's timestamp."""
    page_size: int | None = None
    kaslr_offset: int | None = None
    """How far KASLR moved the kernel, in bytes."""
    dump_level: int | None = None
    """makedumpfile's ``-d`` value; ``None`` where the format does not tell."""
    compression: str | None = None
    """How pages are compressed: ``zlib``, ``lzo``, ``snappy``, ``zstd`` or ``None``."""
    missing: tuple[Missing, ...] = ()
    """What a damaged dump lacks; empty for a whole one."""
    checked: Checked = Checked.LENGTH
    """How far that is known."""
    pages: int | None = None
    """How many a KDUMP holds."""
    pages_checked: int | None = None
    """How many of them were unpacked, to see whether they are whole."""
    panic_message: str | None = None
    """The line of the kernel log that announces the crash."""
    dmesg: str | None = None
    """The kernel log with ``[seconds.micros]`` stamps; ``None`` when it could not be read."""
    crash_id: str | None = None
    """What the crash is called, see :mod:`cas.dump.crash_id`."""
    is_crash_id_weak: bool = False
    """It may be that of another crash, too."""
    log_digest: str | None = None
    """What the same crash has in another file: see :func:`cas.klog.log_digest.log_digest`."""
    locations: tuple[Location, ...] = ()
    """Where the code that the log names stands in the source, where there is only a log."""
    vmcoreinfo: Mapping[str, str] = field(default_factory=dict)
    registers: tuple[Registers, ...] = ()
    """Those of the processors whose notes are in the dump."""
    remarks: tuple[str, ...] = ()
    """What a reader of the report should know, e.g. a VMCOREINFO that contradicts the banner."""

    @property
    def identity(self) -> KernelIdentity:
        """The kernel that wrote it, as far as it tells."""
        return KernelIdentity(self.arch, self.osrelease, self.build_id, self.banner)

    @property
    def is_log(self) -> bool:
        """Whether there is only a kernel log: no memory that a debugger could read."""
        return self.format == KERNEL_LOG

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there, and nothing is known to be missing."""
        return not self.missing and self.checked is not Checked.RANGES
