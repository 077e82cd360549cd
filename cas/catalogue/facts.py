"""The values that the catalogue stores and gives back: frozen, and cheap to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cas.model import Kernel, Report


@dataclass(frozen=True, slots=True)
class PackagedKernel:
    """A vmlinux that a package lists, or that lies there as a plain file."""

    release: str
    flavour: str
    """``PAE``, ``rt``, ``64k``, ``default``, …; empty for the plain kernel."""
    member: str | None
    """Path of the vmlinux inside the package, absolute; ``None`` for a plain file."""
    build_id: str | None = None
    size_bytes: int | None = None
    digest: str | None = None
    """Of the vmlinux, as the package promises it: ``sha256:HEX``, ``md5:HEX``."""
    banner: str | None = None
    is_examined: bool = False
    """Whether the vmlinux itself was looked into for banner and build-id."""


@dataclass(frozen=True, slots=True)
class Package:
    """What a file that holds debug information says of itself."""

    name: str
    """Of the package; of the file, for a plain vmlinux."""
    arch: str
    """``uname -m`` spelling."""
    build_time_s: int | None
    """When it was made, in seconds since 1970."""
    kernels: tuple[PackagedKernel, ...]
    kind: str = "rpm"
    """``rpm``, ``deb`` or ``vmlinux``."""
    version: str = ""
    """With release, as the distribution spells it."""
    kmods: Mapping[str, int] = field(default_factory=dict)
    """How many kmods' files it has, by release of their kernel."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """How a changed file is told from an unchanged one, and a renamed one found again."""

    size_bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalogue remembers of a package file."""

    stamp: FileStamp
    state: str
    """``ok``, ``bad`` (its content is damaged) or ``unreadable`` (tried again on every run)."""

    def holds_for(self, stamp: FileStamp) -> bool:
        """Whether a file with this stamp need not be read again."""
        return self.stamp == stamp and self.state != "unreadable"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A catalogued kernel that may be the dump's."""

    id: int
    """Of its row."""
    kernel: Kernel
    examined: bool
    """Whether the vmlinux itself has been looked into for banner and build-id."""


@dataclass(frozen=True, slots=True)
class BuildSummary:
    """What a run of `Catalogue.build` did."""

    added: int
    """Packages that were new or changed, and were read."""
    unchanged: int
    removed: int
    """Packages that are gone from the disk."""
    kernels: int
    """Kernels in the catalogue after the run."""
    bad: tuple[tuple[Path, str], ...]
    """Files and directories that cannot be used, with the reason."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job directory, as the index of jobs knows it."""

    ticket: str
    directory: Path
    started: datetime
    """With time zone."""
    verdict: str
    osrelease: str | None = None
    build_id: str | None = None
    signature: str | None = None
    panic_message: str | None = None

    @classmethod
    def of(cls, report: Report) -> JobRecord:
        """The index entry of a report."""
        return cls(
            ticket=report.ticket,
            directory=report.directory,
            started=report.started,
            verdict=report.verdict,
            osrelease=report.dump.osrelease if report.dump else None,
            build_id=report.dump.build_id if report.dump else None,
            signature=report.finding.signature if report.finding else None,
            panic_message=report.dump.panic_message if report.dump else None,
        )
