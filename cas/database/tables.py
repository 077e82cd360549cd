"""The tables, as SQLAlchemy Core sees them, and makes them in a new database.

What must hold of the data stands here, as CHECK, NOT NULL, UNIQUE and foreign keys: SQLite and
PostgreSQL keep it, whoever writes. The migrations bring a database of before to these tables; a
test compares the two.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from cas.choices import Presence, Verdict
from cas.database.column_types import FilePath, Instant, OrderedWords, Words
from cas.database.records import PackageKind, PackageState, RunKind

NAME_LIMIT = 200
"""Characters of names that are indexed: PostgreSQL's indexes hold some 2,700 bytes."""
VALUE_LIMIT = 400
"""Characters of a property's value that are indexed; by what is behind them nothing is found."""

metadata = MetaData()


def _choice_column(kind: type[StrEnum], rule: str) -> Enum:
    """One of the members of an enum, stored as its value.

    :param rule: the name of the CHECK that refuses all others
    """
    return Enum(
        kind,
        values_callable=lambda kind: [each.value for each in kind],
        native_enum=False,
        length=16,
        create_constraint=True,
        name=rule,
    )


def _package() -> Column[int]:
    """The package that a row is about, and goes with."""
    key = ForeignKey("packages.id", ondelete="CASCADE")
    return Column("package_id", Integer, key, nullable=False, index=True)


packages = Table(
    "packages",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("path", FilePath, nullable=False, unique=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("name", Words),
    Column("arch", Words(32)),
    Column("state", _choice_column(PackageState, "packages_state_known"), nullable=False),
    Column("reason", Words),
    Column("build_time_s", BigInteger),
    Column("scanned_at", Instant, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("kind", _choice_column(PackageKind, "packages_kind_known"), nullable=False),
    Column("version", Words),
    Column("trust", Words),
    CheckConstraint("size_bytes >= 0", name="packages_size"),
    CheckConstraint("(state = 'ok') = (reason IS NULL)", name="packages_reason"),
    CheckConstraint(
        "state <> 'ok' OR (name IS NOT NULL AND arch IS NOT NULL)", name="packages_identity"
    ),
)
"""Files that hold debug information, or should. What could not be read has a ``reason``, and no
``name``, ``arch`` and ``version``; a plain vmlinux has no ``version``, either. ``inode`` has its 64
bits with a sign. ``trust`` says what came of the check of the signature, once that was made: ``ok``
or a sentence."""

readings = Table(
    "readings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("path", FilePath, nullable=False, unique=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("facts", Text, nullable=False),
    CheckConstraint("size_bytes >= 0", name="readings_size"),
)
"""What a run has read and not published yet: after an interruption it is not read again. All of it
becomes packages and kernels at once. ``facts`` is JSON, but Text here: a reader's process has
written it, and nobody needs to decode it before it is published."""

builds = Table(
    "builds",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", _choice_column(RunKind, "builds_kind_known"), nullable=False),
    Column("started", Instant, nullable=False),
    Column("ended", Instant),
    Column("counts", JSON, nullable=False),
    Column("problem", Words),
)
"""Runs of ``cas-admin -b`` and purges, the last few. ``counts`` is an object of numbers, empty for
what did not come to its end."""

kernels = Table(
    "kernels",
    metadata,
    Column("id", Integer, primary_key=True),
    _package(),
    Column("release", Words(160), nullable=False, index=True),
    Column("arch", Words(32), nullable=False),
    Column("flavour", Words(160), nullable=False),
    Column("member", Words),
    Column("build_id", Words(128), index=True),
    Column("banner", Words),
    Column("examined", Boolean, nullable=False),
    Column("size_bytes", BigInteger),
    Column("digest", Words),
    CheckConstraint("size_bytes >= 0", name="kernels_size"),
    CheckConstraint("member <> ''", name="kernels_member"),
    CheckConstraint("build_id <> ''", name="kernels_build_id"),
)
"""``member`` is the path of the vmlinux in its package, NULL where the file is the vmlinux itself.
``flavour`` is empty for a distribution's plain kernel. ``examined``: the vmlinux itself was read;
until then ``banner`` is not known."""

kmods = Table(
    "kmods",
    metadata,
    Column("id", Integer, primary_key=True),
    _package(),
    Column("release", Words(160), nullable=False, index=True),
    Column("count", Integer, nullable=False),
    CheckConstraint("count > 0", name="kmods_count"),
)
"""Which packages have files of kernel modules, of which release, and how many. Which those are is
read from the package when they are needed: ten thousand packages have sixty million."""

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ticket", String(64), nullable=False, index=True),
    Column("directory", FilePath, nullable=False, unique=True),
    Column("started", Instant, nullable=False),
    Column("verdict", _choice_column(Verdict, "jobs_verdict_known"), nullable=False, index=True),
    Column("osrelease", Words),
    Column("build_id", Words),
    Column("panic_message", Words),
    Column("crashed", Instant),
    Column("nodename", Words(NAME_LIMIT), index=True),
    Column("digest", String(128), index=True),
    Column("model", Words(NAME_LIMIT), index=True),
    Column("bios", Words(NAME_LIMIT)),
    Column("log_digest", String(64), index=True),
    CheckConstraint("ticket <> ''", name="jobs_ticket"),
)
"""The index of job directories. ``crashed`` is when the machine crashed, ``started`` where that is
not known. ``nodename`` is the machine's name, ``digest`` that of the dump as it is kept; ``model``
and ``bios`` are what the kernel log says of the hardware and its firmware; by ``log_digest``, that
of the same log, another file of one dump is known."""

signatures = Table(
    "signatures",
    metadata,
    Column("job_id", Integer, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("granularity", Words(16), primary_key=True),
    Column("value", Words(128), nullable=False, index=True),
    CheckConstraint("version > 0", name="signatures_version"),
)
"""What each job's crash is called. The first version of the rules knew one granularity, ``full``; a
job has its row until it is reprocessed."""

crashes = Table(
    "crashes",
    metadata,
    Column("id", OrderedWords(32), primary_key=True),
    Column("type", OrderedWords(16), nullable=False),
    Column("time_s", BigInteger, nullable=False, index=True),
    Column("added_s", BigInteger, nullable=False, index=True),
    Column("node", OrderedWords(NAME_LIMIT), index=True),
    Column("cmd", OrderedWords(NAME_LIMIT)),
    Column("ticket", Words),
    Column("presence", _choice_column(Presence, "crashes_presence_known"), nullable=False),
    Column("info", Text, nullable=False),
    CheckConstraint("length(id) = 32", name="crashes_id"),
)
"""The index of the archive: what ``cas ls`` prints of each crash, and in ``info`` the object that
``cas info`` prints, as JSON but for its presence. ``ticket`` has all tickets, with commas."""

crash_words = Table(
    "crash_words",
    metadata,
    Column(
        "crash_id",
        OrderedWords(32),
        ForeignKey("crashes.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("name", OrderedWords(NAME_LIMIT), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("value", OrderedWords(VALUE_LIMIT), nullable=False),
    CheckConstraint("name <> ''", name="crash_words_name"),
    CheckConstraint("position >= 0", name="crash_words_position"),
)
"""Every value of ``info`` by its dotted name; the members of an array have one name, and their
``position`` in it."""
Index("crash_words_by_value", crash_words.c.name, crash_words.c.value, crash_words.c.crash_id)

hosts = Table(
    "hosts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Words, nullable=False),
    Column("port", Integer),
    Column("is_enabled", Boolean, nullable=False),
    Column("is_swept", Boolean, nullable=False, server_default=false()),
    Column("problem", Words),
    Column("checked", Instant),
    Column("arch", Words(32)),
    Column("crashes", JSON, nullable=False),
    Column("drgn", Words),
    Column("cpus", Integer),
    Column("memory_bytes", BigInteger),
    Column("free_bytes", BigInteger),
    Column("is_shared", Boolean, nullable=False),
    Column("host_key", Words),
    Column("remarks", JSON, nullable=False),
    UniqueConstraint("name", "port", name="hosts_name_port"),
    CheckConstraint("name <> ''", name="hosts_name"),
    CheckConstraint("port BETWEEN 1 AND 65535", name="hosts_port"),
    CheckConstraint("cpus > 0", name="hosts_cpus"),
    CheckConstraint("memory_bytes >= 0", name="hosts_memory"),
    CheckConstraint("free_bytes >= 0", name="hosts_free"),
)
"""The analysis hosts, and those that are swept. ``port`` is NULL where the administrator has named
none; ``crashes`` is an array of objects, ``remarks`` one of texts."""

# NULLs count as different from one another in a UNIQUE, so that this one is for them alone;
# NULLS NOT DISTINCT came only with PostgreSQL 15
Index(
    "hosts_name_without_port",
    hosts.c.name,
    unique=True,
    sqlite_where=hosts.c.port.is_(None),
    postgresql_where=hosts.c.port.is_(None),
)
