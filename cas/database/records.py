"""The values that the catalogue stores and gives back: frozen, and cheap to import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from cas.choices import Verdict
from cas.database.storable import stored_number
from cas.frozen import dataclass
from cas.klog.log_digest import log_digest
from cas.model.finding import SAME, SIMILAR, Machine, Signature
from cas.model.kernel import Kernel
from cas.model.report import Report

_COMPARED = ("release", "member", "build_id", "size_bytes", "digest", "banner")
_TELLING = ("build_id", "digest", "banner")
"""Of which one must be known of both, or nothing says that they are the same."""


class PackageKind(StrEnum):
    """What a file with debug information is."""

    RPM = "rpm"
    DEB = "deb"
    VMLINUX = "vmlinux"  # the ELF file itself, in no package


class PackageState(StrEnum):
    """Whether a file can be used."""

    OK = "ok"
    BAD = "bad"  # its content is damaged; read again when it has changed
    UNREADABLE = "unreadable"  # not to be read now, so that every run tries again


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
    """What the package promises of the vmlinux: ``sha256:HEX``, ``md5:HEX``."""
    banner: str | None = None
    is_examined: bool = False
    """The vmlinux itself was looked into for banner and build-id."""


@dataclass(frozen=True, slots=True)
class Package:
    """What a file that holds debug information says of itself."""

    name: str
    """The package's name; the file's, for a plain vmlinux."""
    arch: str
    """``uname -m`` spelling."""
    build_time_s: int | None
    """When it was made, in seconds since 1970."""
    kernels: tuple[PackagedKernel, ...]
    kind: PackageKind = PackageKind.RPM
    version: str = ""
    """Version and release, as the distribution spells them; empty for a plain vmlinux."""
    kmods: Mapping[str, int] = field(default_factory=dict)
    """How many kmods' files it has, by release of their kernel."""


class FileStamp(NamedTuple):
    """How a changed file is told from an unchanged one, and a renamed one found again.

    No dataclass: every run makes ten thousand.
    """

    size_bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """The stamp of a file, in numbers that a database can hold."""
        mtime_ns, inode = status.st_mtime_ns, status.st_ino
        if (mtime_ns | inode) >> 63:
            mtime_ns, inode = stored_number(mtime_ns), stored_number(inode)
        return cls(status.st_size, mtime_ns, inode)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file said when it was read."""

    path: str
    stamp: FileStamp
    """Before it was read."""
    facts: str
    """As JSON; see `cas.catalogue.building.reading`."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalogue remembers of a package file."""

    stamp: FileStamp
    state: PackageState


@dataclass(frozen=True, slots=True)
class Candidate:
    """A catalogued kernel that may be the dump's."""

    id: int
    """The number of its row."""
    kernel: Kernel
    examined: bool
    """The vmlinux itself has been looked into for banner and build-id."""
    stamp: FileStamp | None = None
    """The file's stamp when it was catalogued."""


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
    renamed: int = 0
    """Packages, among the unchanged ones, that were found under another path."""
    conflicts: tuple[Contest, ...] = ()
    """Kernels of which different packages say different things."""


class RunKind(StrEnum):
    """What was done by which it is told later whether the clock can be right."""

    BUILD = "build"  # cas-admin -b
    PURGE = "purge"  # jobs were looked at for their age
    ANSWERED_PURGE = "answered purge"  # and somebody who was asked has said yes


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """One run of ``cas-admin -b``, or a purge, as it was recorded."""

    kind: RunKind
    started: datetime
    """A time with its zone, as `ended`."""
    ended: datetime | None
    """``None`` while it is at work, or when it was killed."""
    counts: Mapping[str, int]
    """``added``, ``unchanged``, ``renamed``, ``removed``, ``kernels``, ``bad``, ``conflicts``;
    empty for a run that did not come to its end, and for a purge."""
    problem: str | None
    """The first thing that went wrong."""


@dataclass(frozen=True, slots=True)
class CataloguedKernel:
    """A kernel as the catalogue knows it, with the file that holds it."""

    release: str
    arch: str
    flavour: str
    build_id: str | None
    banner: str | None
    """``None``: the vmlinux itself has not been looked into, or has none."""
    path: Path
    name: str
    """The package's name; the file's, for a plain vmlinux."""
    kind: PackageKind
    version: str
    size_bytes: int | None
    """Bytes of the vmlinux."""
    digest: str | None
    state: PackageState
    """The state of the package."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much the catalogue holds."""

    packages: Mapping[str, Mapping[str, int]]
    """How many files there are, by kind and by state."""
    kernels: int
    kmod_packages: int
    """Packages that have files of kmods."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Several packages that claim one build-id and do not agree on the rest."""

    build_id: str
    kernels: tuple[CataloguedKernel, ...]
    """The kernels in the order of their paths."""
    differ: tuple[str, ...]
    """Which facts differ: ``release``, ``arch``, ``size_bytes``, ``digest``, ``banner``."""

    def __str__(self) -> str:
        where = " and ".join(str(kernel.path) for kernel in self.kernels)
        facts = ", ".join(self.differ)
        return f"build-id {self.build_id} is claimed by {where}, which differ in {facts}"


EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""A clock that shows an earlier time was not set."""


NAMELESS = frozenset({None, "", "(none)"})
"""What stands where a machine was given no name: ``UTS_NODENAME`` of the kernel."""

EVERYBODYS = frozenset({"localhost", "localhost.localdomain", "localhost6"})
"""Names that tell no machine from another."""


def machine_name(*told: str | None) -> str | None:
    """A machine's name, by the first that knows it."""
    return next((name for name in told if name not in NAMELESS), None)


def crash_time(report: Report) -> datetime | None:
    """When the machine crashed, by its own clock."""
    told = (part.crash_time for part in (report.answer, report.dump) if part)
    return next(filter(None, told), None)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job directory, as the index of jobs knows it."""

    ticket: str
    directory: Path
    started: datetime
    """A time with its zone."""
    verdict: Verdict
    osrelease: str | None = None
    build_id: str | None = None
    panic_message: str | None = None
    crashed: datetime | None = None
    """When the machine crashed, as it told; UTC where there is no time zone."""
    nodename: str | None = None
    digest: str | None = None
    """The kept dump's, see :class:`cas.files.digest.Fingerprint`."""
    signatures: tuple[Signature, ...] = ()
    model: str | None = None
    """The machine's vendor, product and board, as its firmware has them."""
    bios: str | None = None
    """Version of its firmware."""
    log_digest: str | None = None
    """See :func:`cas.klog.log_digest.log_digest`."""

    @property
    def occurred(self) -> datetime:
        """When it crashed; when it was received, where the clock of the machine cannot be right."""
        told = self.crashed
        if told is None:
            return self.started
        told = told if told.tzinfo else told.replace(tzinfo=UTC)
        return told if EARLIEST <= told <= self.started else self.started

    @classmethod
    def of(cls, report: Report, digest: str | None) -> JobRecord:
        """The index entry of a report."""
        dump, answer, finding = report.dump, report.answer, report.finding
        return cls(
            ticket=report.ticket,
            directory=report.directory,
            started=report.started,
            verdict=report.verdict,
            osrelease=dump.osrelease if dump else None,
            build_id=dump.build_id if dump else None,
            panic_message=dump.panic_message if dump else None,
            crashed=crash_time(report),
            nodename=machine_name(
                answer.nodename if answer else None, dump.nodename if dump else None
            ),
            digest=digest if dump else None,
            signatures=finding.signatures if finding else (),
            model=finding.machine.model if finding and finding.machine else None,
            bios=finding.machine.bios if finding and finding.machine else None,
            log_digest=dump.log_digest or log_digest(dump.dmesg) if dump else None,
        )


@dataclass(frozen=True, slots=True)
class Crashed:
    """A job of which it is asked whether its crash happened before."""

    ticket: str
    directory: Path
    signatures: tuple[Signature, ...] = ()
    former: str | None = None
    """What the first version of the rules calls it."""
    digest: str | None = None
    """Its dump's digest, if that is known yet."""
    until: datetime | None = None
    """Jobs that began later do not count."""
    host: str | None = None
    """Name of the machine that crashed."""
    machine: Machine | None = None
    log_digest: str | None = None
    """See :func:`cas.klog.log_digest.log_digest`."""

    @classmethod
    def of(cls, report: Report, digest: str | None, until: datetime | None = None) -> Crashed:
        """What is asked of a report whose crash has a verdict."""
        job, finding = JobRecord.of(report, digest), report.finding
        return cls(
            ticket=job.ticket,
            directory=job.directory,
            signatures=job.signatures,
            former=finding.former if finding else None,
            digest=digest,
            until=until,
            host=job.nodename,
            machine=finding.machine if finding else None,
            log_digest=job.log_digest,
        )

    @property
    def names_machine(self) -> bool:
        """Whether the host is known by a name that no other machine should have."""
        return self.host not in NAMELESS | EVERYBODYS

    @property
    def same(self) -> frozenset[str]:
        """Values of signatures of which one is enough to call another crash the same."""
        told = {each.value for each in self.signatures if each.granularity == SAME}
        return frozenset(told | ({self.former} if self.former else set()))

    @property
    def similar(self) -> frozenset[str]:
        """The same, to call it similar."""
        return frozenset(each.value for each in self.signatures if each.granularity == SIMILAR)


@dataclass(frozen=True, slots=True)
class ListedJob:
    """What a list of jobs tells of one."""

    directory: Path
    started: datetime
    verdict: Verdict | None
    """``None``: it has not come to an end."""
    osrelease: str | None = None
    nodename: str | None = None
    panic_message: str | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """A file that has the same kernels still, under another stamp."""

    path: Path
    old: FileStamp
    new: FileStamp
    kernels: tuple[PackagedKernel, ...]


def is_same(kernel: Kernel, packaged: PackagedKernel) -> bool:
    """Whether two readings of a file speak of one kernel."""
    facts = {name: (getattr(kernel, name), getattr(packaged, name)) for name in _COMPARED}
    both = {name: pair for name, pair in facts.items() if None not in pair}
    is_told = any(name in both for name in _TELLING)
    return is_told and kernel.member == packaged.member and all(a == b for a, b in both.values())
