"""What ``cas-admin VERB --json`` prints; the schemas that are shipped are made from these classes.

Sizes are in bytes, times in UTC.
"""

from __future__ import annotations

from cas.archive.noting import SignatureText
from cas.archive.record import CrashIdText
from cas.commands.answers import Version
from cas.files.record import Count, FilePath, Record, Time


class Problem(Record, frozen=True, kw_only=True):
    """Why a part of the status could not be found out."""

    problem: str


class Kernel(Record, frozen=True, kw_only=True):
    """A catalogued kernel, with the file that holds it."""

    release: str
    arch: str
    flavour: str
    build_id: str | None
    banner: str | None
    path: FilePath
    name: str
    kind: str
    version: str
    size_bytes: Count | None
    digest: str | None
    state: str


class Kernels(Record, frozen=True, kw_only=True):
    """``cas-admin kernels --json``."""

    version: Version
    kernels: tuple[Kernel, ...]


class Crash(Record, frozen=True, kw_only=True):
    """A crash program of an analysis host."""

    path: str
    version: str
    arch: str


class Host(Record, frozen=True, kw_only=True):
    """A host that analyses dumps, or is swept for them."""

    name: str
    port: int | None
    is_enabled: bool
    is_swept: bool
    problem: str | None
    checked: Time | None
    arch: str | None
    crashes: tuple[Crash, ...]
    drgn: str | None
    cpus: Count | None
    memory_bytes: Count | None
    free_bytes: Count | None
    is_shared: bool
    host_key: str | None
    remarks: tuple[str, ...]


class Hosts(Record, frozen=True, kw_only=True):
    """``cas-admin host list --json`` and ``cas-admin host check --json``."""

    version: Version
    hosts: tuple[Host, ...]


class MissingFile(Record, frozen=True, kw_only=True):
    """A file of a host that the archive lacks, or lacked before it was fetched."""

    path: str
    size_bytes: Count
    crash: str
    is_fetched: bool


class LeftFile(Record, frozen=True, kw_only=True):
    """A file of a host that was not fetched."""

    path: str
    why: str


class SweptHost(Record, frozen=True, kw_only=True):
    """What came of a host."""

    host: str
    problem: str | None
    files: Count
    known: Count
    missing: tuple[MissingFile, ...]
    left: tuple[LeftFile, ...]
    read_bytes: Count
    fetched_bytes: Count
    fetch_seconds: float
    seconds: float


class Sweeps(Record, frozen=True, kw_only=True):
    """``cas-admin sweep --json``."""

    version: Version
    hosts: tuple[SweptHost, ...]


class Flaw(Record, frozen=True, kw_only=True):
    """Something that an administrator should know."""

    where: str
    what: str
    next_step: str
    is_broken: bool


class Check(Record, frozen=True, kw_only=True):
    """``cas-admin check --json``."""

    version: Version
    jobs: Count
    flaws: tuple[Flaw, ...]


class GoingCrash(Record, frozen=True, kw_only=True):
    """A crash whose files go, or went."""

    id: CrashIdText
    size_bytes: Count
    freed_bytes: Count


class StayingCrash(Record, frozen=True, kw_only=True):
    """A crash that keeps its files, and why."""

    id: CrashIdText
    reason: str
    why: str


class Purge(Record, frozen=True, kw_only=True):
    """``cas-admin purge --json``, of the archive."""

    version: Version
    is_dry: bool
    goes: tuple[GoingCrash, ...]
    stays: tuple[StayingCrash, ...]
    freed_bytes: Count
    is_pressed: bool | None = None
    """With ``--pressure``: whether ``archiveHighWater`` was passed."""
    lacks_bytes: Count | None = None
    """With ``--pressure``: what is missing to ``archiveLowWater`` then."""


class Bad(Record, frozen=True, kw_only=True):
    """A file below ``kernels`` that cannot be used."""

    path: FilePath
    reason: str


class Contest(Record, frozen=True, kw_only=True):
    """A build-id that several packages claim, which differ."""

    build_id: str
    kernels: tuple[Kernel, ...]
    differ: tuple[str, ...]


class Packages(Record, frozen=True, kw_only=True):
    """What is catalogued."""

    packages: dict[str, dict[str, Count]]
    kernels: Count
    kmod_packages: Count
    bad: tuple[Bad, ...]
    contested: tuple[Contest, ...]


class Build(Record, frozen=True, kw_only=True):
    """One run of ``cas-admin -b``."""

    started: Time
    ended: Time | None
    counts: dict[str, Count]
    problem: str | None


class Builds(Record, frozen=True, kw_only=True):
    """The last runs, newest first."""

    last: tuple[Build, ...]


class Cache(Record, frozen=True, kw_only=True):
    """What the extracted kernels take."""

    size_bytes: Count
    limit_bytes: Count
    kernels: Count
    in_use: Count
    closed: Count


class Waiting(Record, frozen=True, kw_only=True):
    """A kernel for which jobs wait."""

    release: str
    arch: str
    build_id: str
    jobs: tuple[FilePath, ...]
    reason: str | None
    hint: str | None


class Held(Record, frozen=True, kw_only=True):
    """Jobs that are kept for one reason, and what they take."""

    jobs: Count
    size_bytes: Count


class Jobs(Record, frozen=True, kw_only=True):
    """The jobs that are kept."""

    verdicts: dict[str, Count]
    mails: Count
    waiting: tuple[Waiting, ...]
    held: dict[str, Held]
    skipped: tuple[str, ...]


class ArchiveCounts(Record, frozen=True, kw_only=True):
    """What the archive has."""

    crashes: Count
    files: Count
    size_bytes: Count
    missing: Count
    elsewhere: Count
    """Crashes whose best file was never copied here, or is in a store."""
    free_bytes: Count
    added_bytes: dict[str, Count]
    """In the last 30 and 7 days, by their number; not where there was none so long ago."""
    lasts_days: dict[str, float]
    """How long the room lasts at these rates; not where nothing came."""
    is_pressed: bool | None
    """Whether ``archiveHighWater`` is passed; ``None``: there is none."""


class Known(Record, frozen=True, kw_only=True):
    """The known issues in effect."""

    issues: Count
    files: tuple[FilePath, ...]
    faults: tuple[str, ...]


class HostCounts(Record, frozen=True, kw_only=True):
    """The analysis hosts, as they were when they were last asked."""

    registered: Count
    of_use: Count
    failed: Count
    disabled: Count
    swept: Count
    """Those that are swept for dumps; they do not count above."""


class Engine(Record, frozen=True, kw_only=True):
    """A debugger as it is configured."""

    name: str
    arch: str | None
    version: str | None
    path: FilePath | None
    problem: str | None


class Engines(Record, frozen=True, kw_only=True):
    """What reads dumps on this machine."""

    engines: tuple[Engine, ...]


class Sandbox(Record, frozen=True, kw_only=True):
    """What programs that read a dump run in."""

    name: str


class Space(Record, frozen=True, kw_only=True):
    """What is free, and what of it a dump may take."""

    workDirectory_free_bytes: Count
    debugs_free_bytes: Count
    dump_room_bytes: Count
    largest_dump_bytes: Count


STATUS: dict[str, type[Record]] = {
    "packages": Packages,
    "builds": Builds,
    "cache": Cache,
    "jobs": Jobs,
    "archive": ArchiveCounts,
    "known": Known,
    "hosts": HostCounts,
    "engines": Engines,
    "sandbox": Sandbox,
    "space": Space,
}
"""The parts of ``cas-admin status --json``; in the place of each may stand a `Problem`."""


class SkippedCrash(Record, frozen=True, kw_only=True):
    """A signature of which a whole dump is kept."""

    signature: SignatureText
    crashes: Count
    """How many have it, notes among them."""
    exemplar: CrashIdText
    """The crash with the best dump."""
    title: str | None


class Skiplist(Record, frozen=True, kw_only=True):
    """``cas-admin skiplist --json``."""

    version: Version
    rules: Count
    """Number of the rules by which signatures are made."""
    granularity: str
    crashes: tuple[SkippedCrash, ...]
