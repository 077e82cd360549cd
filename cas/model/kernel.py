"""A kernel: who it is, where its vmlinux is, and why that is believed to be the right one."""

from __future__ import annotations

from pathlib import Path

from cas.choices import MatchEvidence
from cas.frozen import dataclass

FOR_DETECTORS = ("dm_mod", "nvme_core", "scsi_mod", "sunrpc")
"""Kernel modules in whose structures detectors look, if they were loaded: some 35 MB.

They come out of the package with the vmlinux; a second pass would cost seconds."""


@dataclass(frozen=True, slots=True)
class KernelIdentity:
    """Who a kernel is: by this its vmlinux is looked for."""

    arch: str
    """``uname -m`` spelling: ``x86_64``, ``i686``, ``aarch64``, …"""
    osrelease: str | None = None
    """``uname -r``."""
    build_id: str | None = None
    """Lower-case hex of the GNU build-id."""
    banner: str | None = None
    """The whole ``Linux version …`` line, without the newline."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A vmlinux: in a catalogued package, or installed on this machine."""

    release: str
    arch: str
    source: Path
    """The package file, or the vmlinux itself when it is installed."""
    member: str | None
    """Path of the vmlinux inside the package, as the package spells it; ``None`` if installed."""
    build_id: str | None = None
    banner: str | None = None
    size_bytes: int | None = None
    """Size of the vmlinux."""
    digest: str | None = None
    """The digest of the vmlinux that its package promises: ``sha256:HEX``, ``md5:HEX``."""


@dataclass(frozen=True, slots=True)
class Match:
    """The kernel chosen for a dump, and why it is believed to be the right one."""

    kernel: Kernel
    evidence: MatchEvidence
    detail: str
    """The evidence in a sentence, with the values compared."""
    remarks: tuple[str, ...] = ()
    """What a reader should know of the package, e.g. that nobody has signed it."""
