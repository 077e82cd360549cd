"""A database that is of no use as it is: what it lacks is made anew, a damaged file is set aside.

The index of jobs and the catalogue of packages can be made again at any time. The registered hosts
are nowhere else: they are read out of the damaged file, as far as it goes.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path

from cas.database.connection import BUILD_LOCK, Database, build_lock, url_of
from cas.database.host_rows import HostRows
from cas.database.quick_queries import host_of
from cas.database.rows import Rows
from cas.database.tables import hosts, kernels, kmods, metadata, packages
from cas.errors import CasError, ConfigError, DatabaseDamaged
from cas.frozen import dataclass
from cas.model.host import Host

_MAGIC = b"SQLite format 3\0"
"""Begins every SQLite file, see its file format document, section 1.3."""
_VERSIONS = "alembic_version"
"""A table of each of our databases, and of hardly any other SQLite file."""
_SEARCH_BYTES = 1 << 20
_STAMP = "%Y.%m.%d.%H.%M.%S"
_HOSTS = ("SELECT * FROM hosts ORDER BY rowid", "SELECT * FROM hosts ORDER BY rowid DESC")
_BESIDE = ("-wal", "-shm", "")
"""What belongs to a SQLite file, in the order in which it is moved: no other file may find its
log."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What was wrong, and what was done."""

    fault: str
    aside: Path | None = None
    """Where the damaged file is now; ``None``: only tables were made anew."""
    hosts: tuple[Host, ...] = ()
    """The hosts that were taken over from the damaged file."""
    has_lost_hosts: bool = False
    """There may have been others."""
    has_lost_packages: bool = False
    """The packages must be catalogued again."""


@dataclass(frozen=True, slots=True)
class _Fault:
    what: str
    lacking: frozenset[str] = frozenset()
    """Tables that are gone, where that is all; none: the file itself is damaged."""


def repair(
    database: str, timeout_s: float, now: datetime, wait: Callable[[], None]
) -> Repair | None:
    """Make a database usable again; nothing is done to one that is.

    :param wait: called when a build has it, before this waits
    :return: ``None`` when nothing was wrong
    :raises ConfigError: it is none of ours
    :raises DatabaseDamaged: a server's, which only its administrator can mend
    :raises TryAgain: it is locked or cannot be reached
    """
    fault = _find_fault(database, timeout_s)
    if fault is None:
        return None
    url = url_of(database)
    if url.get_backend_name() != "sqlite":
        return _make_lacking_tables(database, timeout_s, fault)
    path = Path(url.database or "")
    _require_ours(path)
    with build_lock(str(path), wait):
        fault = _find_fault(database, timeout_s)
        if fault is None:  # another one was faster
            return None
        if fault.lacking:
            return _make_lacking_tables(database, timeout_s, fault)
        # a symbolic link stays: SQLite has the log beside what it leads to
        return _replace_file(path.resolve(), timeout_s, fault, now)


def _find_fault(database: str, timeout_s: float) -> _Fault | None:
    try:
        opened = Database(database, timeout_s)
        lacking = opened.lacking_tables()
        damage = opened.file_damage(thorough=True)
        if not lacking and not damage:
            # as a value: a sound file may hold what none of ours does
            rows = Rows(opened)
            for read in (
                rows.hosts.all_hosts,
                rows.jobs.verdicts,
                rows.packages.known_packages,
                rows.builds.last,
            ):
                read()
            rows.kernels.listed()
    except DatabaseDamaged as error:
        return _Fault(str(error))
    if damage:
        return _Fault(f"database {opened.name}: {damage[0]}")
    if lacking:
        return _Fault(f"database {opened.name} lacks {', '.join(sorted(lacking))}", lacking)
    return None


def _make_lacking_tables(database: str, timeout_s: float, fault: _Fault) -> Repair:
    """Make the tables that are gone."""
    if not fault.lacking:
        raise DatabaseDamaged(
            fault.what,
            hint="restore it from a backup, or give `database` in cas.conf an empty one; then run: "
            "cas-admin -b && cas-admin index",
        )
    Database(database, timeout_s).make(fault.lacking)
    return Repair(
        fault.what,
        has_lost_hosts=hosts.name in fault.lacking,
        has_lost_packages=not fault.lacking.isdisjoint((packages.name, kernels.name, kmods.name)),
    )


def _replace_file(path: Path, timeout_s: float, fault: _Fault, now: datetime) -> Repair:
    """Set the file aside, with another one in its place that knows the hosts."""
    kept, are_all = _salvaged_hosts(path)
    fresh = path.with_name(f"{path.name}.new")
    for suffix in _BESIDE:
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    rows = HostRows(Database(str(fresh), timeout_s))
    for host in kept:
        rows.put_host(host)
    with suppress(OSError):  # let the group use the new file that may use the old one
        state = path.stat()
        os.chown(fresh, -1, state.st_gid)
        fresh.chmod(stat.S_IMODE(state.st_mode))
    aside = path.with_name(f"{path.name}.damaged-{now.astimezone().strftime(_STAMP)}")
    while os.path.lexists(aside):
        now += timedelta(seconds=1)
        aside = path.with_name(f"{path.name}.damaged-{now.astimezone().strftime(_STAMP)}")
    for suffix in _BESIDE:
        there = Path(f"{path}{suffix}")
        if os.path.lexists(there):
            there.rename(f"{aside}{suffix}")
    fresh.rename(path)
    return Repair(fault.what, aside, kept, has_lost_hosts=not are_all, has_lost_packages=True)


def _salvaged_hosts(path: Path) -> tuple[tuple[Host, ...], bool]:
    """The hosts of a damaged file, and whether these are all.

    Rows are read from the first on, and then from the last on, each time up to the damage.
    """
    found: dict[tuple[str, int | None], Host] = {}
    for query in _HOSTS:
        are_all = True
        try:
            for row in _raw_rows(path, query):
                try:
                    host = host_of(dict(row))
                except (LookupError, ValueError, TypeError, AttributeError):
                    are_all = False
                    continue
                found[host.name, host.port] = host
        except sqlite3.Error:
            are_all = False
        if are_all:
            break
    return tuple(found.values()), are_all


def _raw_rows(path: Path, query: str) -> Iterator[sqlite3.Row]:
    uri = path.absolute().as_uri() + "?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
        # what is wrong with the definition of another table does not matter here
        connection.execute("PRAGMA writable_schema = ON")
        yield from connection.execute(query)


def _require_ours(path: Path) -> None:
    """Refuse to move a file that nothing shows to be a database of this program.

    :raises ConfigError: it is none
    """
    try:
        with path.open("rb") as file:
            head = file.read(_SEARCH_BYTES)
    except OSError as error:
        raise CasError(f"cannot read {path}: {error.strerror}") from error
    is_ours = _VERSIONS.encode() in head or Path(f"{path}{BUILD_LOCK}").exists()
    if head.startswith(_MAGIC):
        try:
            names = {row[0] for row in _raw_rows(path, "SELECT name FROM sqlite_master")}
        except sqlite3.Error:
            names = set()
        is_ours = not names.isdisjoint((_VERSIONS, *metadata.tables)) if names else is_ours
    if not is_ours:
        raise ConfigError(
            f"database: {path} is damaged, and nothing in it shows that it is one of cas",
            hint="if `database` in cas.conf is right, move the file away; then run: "
            "cas-admin -b && cas-admin index",
        )
