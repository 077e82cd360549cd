"""The catalogue's tables, as SQLAlchemy Core sees them, and makes them in a new database.

The migrations bring a database of before to them; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

HEAD = "0005"
"""The newest migration; a test compares it with Alembic's."""

NAME_LIMIT = 200
"""Characters of names that are indexed: PostgreSQL's indexes hold some 2,700 bytes."""

metadata = MetaData()

packages = Table(
    "packages",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("path", Text, nullable=False, unique=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("arch", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("build_time_s", BigInteger),
    Column("scanned_at", DateTime, nullable=False),
    Column("inode", BigInteger, nullable=False, server_default="0"),
    Column("kind", String(16), nullable=False, server_default="rpm"),
    Column("version", Text, nullable=False, server_default=""),
    Column("trust", Text),
)
"""``state`` is ``ok``, ``bad`` or ``unreadable``; times are UTC. ``trust`` says what came of the
check of its signature, once that was made: ``ok`` or a sentence."""

readings = Table(
    "readings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("path", Text, nullable=False, unique=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("facts", Text, nullable=False),
)
"""What a run has read and not published yet, as JSON: after an interruption it is not read again.
All of it becomes packages and kernels at once."""

builds = Table(
    "builds",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("started", DateTime, nullable=False),
    Column("ended", DateTime),
    Column("summary", Text, nullable=False),
    Column("problem", Text),
)
"""Runs of ``cas-admin -b``, the last few; ``summary`` is a JSON object, times are UTC."""

kernels = Table(
    "kernels",
    metadata,
    Column("id", Integer, primary_key=True),
    Column(
        "package_id",
        Integer,
        ForeignKey("packages.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("release", String(160), nullable=False, index=True),
    Column("arch", String(32), nullable=False),
    Column("flavour", String(160), nullable=False),
    Column("member", Text, nullable=False),
    Column("build_id", String(128), index=True),
    Column("banner", Text),
    Column("examined", Boolean, nullable=False),
    Column("size_bytes", BigInteger),
    Column("digest", Text),
)
"""``examined``: whether the vmlinux itself was read; ``banner`` is empty until then."""

kmods = Table(
    "kmods",
    metadata,
    Column("id", Integer, primary_key=True),
    Column(
        "package_id",
        Integer,
        ForeignKey("packages.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("release", String(160), nullable=False, index=True),
    Column("count", Integer, nullable=False),
)
"""Which packages have files of kernel modules, of which release, and how many. Which those are is
read from the package when they are needed: ten thousand packages have sixty million."""

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ticket", String(64), nullable=False, index=True),
    Column("directory", Text, nullable=False, unique=True),
    Column("started", DateTime, nullable=False),
    Column("verdict", String(16), nullable=False, index=True),
    Column("osrelease", Text),
    Column("build_id", Text),
    Column("panic_message", Text),
    Column("crashed", DateTime),
    Column("nodename", Text, index=True),
    Column("digest", String(128), index=True),
    Column("model", String(NAME_LIMIT), index=True),
    Column("bios", String(NAME_LIMIT)),
    Column("log_digest", String(64), index=True),
)
"""``crashed`` is when the machine crashed, ``started`` where that is not known; times are UTC.
``nodename`` is the machine's name, ``digest`` that of the dump as it is kept; ``model`` and
``bios`` are what the kernel log says of the hardware and its firmware; by ``log_digest``, that of
the same log, another file of one dump is known."""

signatures = Table(
    "signatures",
    metadata,
    Column("job_id", Integer, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("granularity", String(16), primary_key=True),
    Column("value", String(128), nullable=False, index=True),
)
"""What each job's crash is called. The first version of the rules knew one granularity, ``full``; a
job has its row until it is reprocessed."""

hosts = Table(
    "hosts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("is_enabled", Boolean, nullable=False),
    Column("problem", Text),
    Column("checked", DateTime),
    Column("arch", String(32)),
    Column("crashes", Text, nullable=False),
    Column("drgn", Text),
    Column("cpus", Integer),
    Column("memory_bytes", BigInteger),
    Column("free_bytes", BigInteger),
    Column("is_shared", Boolean, nullable=False),
    Column("host_key", Text),
    Column("remarks", Text, nullable=False),
    UniqueConstraint("name", "port", name="hosts_name_port"),
)
"""``port`` is 0 where none was named, since NULLs count as different from one another; ``crashes``
is a JSON array of objects, ``remarks`` one of texts; ``checked`` is UTC."""
