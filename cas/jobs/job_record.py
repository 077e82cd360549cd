"""``job.json`` as it stands on the disk; :mod:`cas.jobs.job` makes a job of it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from cas.choices import Cause, EngineChoice, Fetch, Stage, Verdict
from cas.files.record import Below, Count, FilePath, Record, Ticket, Time, Whole

Digest = Annotated[str, Meta(pattern=r"^sha256(-4MiB)?:[0-9a-f]{64}(?!\n)$")]


class Order(Record, frozen=True, kw_only=True):
    """What was asked for."""

    ticket: Ticket
    upload: FilePath
    email: str | None = None
    wants_kmods: bool = False
    engine: EngineChoice | None = None
    member: str | None = None
    more: tuple[FilePath, ...] = ()
    """Further parts of a split dump."""
    takes: bool = False
    """To move the upload into the job."""
    url: str | None = None
    """Without its secrets; `upload` is ``.`` then."""
    fetch: Fetch | None = None


class Missing(Record, frozen=True, kw_only=True):
    """One thing that a damaged dump lacks."""

    what: str
    offset: int | None = None
    cause: Cause = Cause.UNKNOWN


class Reference(Record, frozen=True, kw_only=True):
    """A dump that stays where it was submitted: the one file that is not below the directory."""

    path: Annotated[str, Meta(pattern=r"^/[^\x00]*$", description="absolute path of the dump")]
    size_bytes: Count
    digest: Digest
    inode: Count
    modified_ns: int
    changed_ns: int


class Stored(Record, frozen=True, kw_only=True):
    """The dump, and what came with it."""

    vmcore: Below | Reference
    parts: tuple[Below, ...] = ()
    sidecars: tuple[Below, ...] = ()
    missing: tuple[Missing, ...] = ()
    remarks: tuple[str, ...] = ()


class Fingerprint(Record, frozen=True, kw_only=True):
    """By what a file is known again."""

    size_bytes: Count
    digest: Digest


class Job(Whole, frozen=True, kw_only=True):
    """An order, how far it came, and what is kept of it."""

    order: Order
    stages: Annotated[tuple[Stage, ...], Meta(min_length=1)]
    stored: Stored | None = None
    verdict: Verdict | None = None
    lacks_kernel: bool = False
    """Of a kernel log that was judged without its kernel."""
    files: dict[Below, Fingerprint] = field(default_factory=dict)
    dump_purged: Time | None = None
    """When a purge was about to remove the dump; the reports stay."""
