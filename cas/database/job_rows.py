"""The index of jobs, as rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    and_,
    case,
    cast,
    delete,
    false,
    func,
    insert,
    not_,
    or_,
    select,
    true,
)

from cas.choices import Verdict
from cas.database.codec import columns_of
from cas.database.connection import Database
from cas.database.records import Crashed, JobRecord, ListedJob
from cas.database.storable import storable
from cas.database.tables import crash_words, crashes, jobs, signatures
from cas.model.finding import SAME, SIMILAR
from cas.model.occurrence import Newest, Occurrences, Seen, Tally

_NAMED = 10
"""Tickets, hosts and kernels that are told by name."""
_DUMP = func.coalesce(jobs.c.digest, cast(jobs.c.id, String))
"""What tells one dump from another: that of a job without a digest is one of its own."""
_NOTE = "note"
"""The type of crashes that notes tell of, see `cas.archive.record`."""
_OCCURRED = func.coalesce(jobs.c.crashed, jobs.c.started)


class JobRows:
    """Which job crashed how."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, job: JobRecord) -> None:
        """Add a job directory to the index, or replace what it says of it."""
        columns = columns_of(job, jobs.c.keys()) | {"crashed": job.occurred}
        with self._database.writing() as connection:
            connection.execute(delete(jobs).where(jobs.c.directory == job.directory))
            added = connection.execute(insert(jobs).values(columns))
            (number,) = added.inserted_primary_key or (None,)
            # hostile words may be the same once they are cut
            rows = {
                (each.version, storable(each.granularity, 16)): columns_of(
                    each, signatures.c.keys()
                )
                for each in job.signatures
            }
            if rows:
                named = [{"job_id": number, **row} for row in rows.values()]
                connection.execute(insert(signatures), named)

    def remove_job(self, directory: Path) -> None:
        """Take a job directory out of the index."""
        with self._database.writing() as connection:
            connection.execute(delete(jobs).where(jobs.c.directory == directory))

    def seen(self, crash: Crashed) -> Seen:
        """Whether a crash happened before.

        Jobs that have the same dump are no occurrences of their own.
        """
        query = (
            select(
                jobs.c.id,
                jobs.c.ticket,
                jobs.c.nodename,
                jobs.c.osrelease,
                _DUMP.label("dump"),
                jobs.c.log_digest,
                _OCCURRED.label("occurred"),
                signatures.c.value,
            )
            .join(signatures, signatures.c.job_id == jobs.c.id)
            .where(
                signatures.c.value.in_(sorted(crash.same | crash.similar)), _is_another_crash(crash)
            )
            .order_by(_OCCURRED.desc(), jobs.c.id.desc())
        )
        found = dict[int, Any]()
        same = set[int]()
        with self._database.reading() as connection:
            for row in connection.execute(query):
                found[row.id] = row
                if row.value in crash.same:
                    same.add(row.id)
            notes = _notes(connection, crash)
            same_dump, same_log = _same_files(connection, crash)
            uncompared = 0 if found else _uncompared(connection, crash)
            host, model = _tally_of_host(connection, crash), None
            if crash.machine is not None:
                name = crash.machine.model
                model = _tally(connection, crash, name, jobs.c.model == name)
        rows = [*found.values()]
        dumps = _dump_numbers(rows)
        numbers = {dumps[found[number].dump] for number in same}
        return Seen(
            same=_occurrences_of(
                [row for row in rows if dumps[row.dump] in numbers],
                dumps,
                [note for note in notes if note.is_same],
            ),
            similar=_occurrences_of(
                [row for row in rows if dumps[row.dump] not in numbers],
                dumps,
                [note for note in notes if not note.is_same],
            ),
            same_dump=same_dump,
            same_log=same_log,
            uncompared=uncompared,
            host=host,
            model=model,
        )

    def named_by(self, version: int) -> frozenset[Path]:
        """Directories of the jobs that have signatures of this version of the rules."""
        query = (
            select(jobs.c.directory)
            .join(signatures, signatures.c.job_id == jobs.c.id)
            .where(signatures.c.version == version)
            .distinct()
        )
        with self._database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def listed(self) -> list[ListedJob]:
        """Every job of the index, newest first."""
        columns = (jobs.c[name] for name in ListedJob.__slots__)
        query = select(*columns).order_by(jobs.c.started.desc(), jobs.c.id.desc())
        with self._database.reading() as connection:
            return [ListedJob(*row) for row in connection.execute(query)]

    def times(self) -> dict[Path, datetime]:
        """When every job began, by directory."""
        with self._database.reading() as connection:
            rows = connection.execute(select(jobs.c.directory, jobs.c.started))
            return dict(map(tuple, rows))

    def verdicts(self) -> dict[Path, Verdict]:
        """The verdict of every job, by directory."""
        with self._database.reading() as connection:
            rows = connection.execute(select(jobs.c.directory, jobs.c.verdict))
            return dict(map(tuple, rows))


def _is_another_crash(crash: Crashed) -> ColumnElement[bool]:
    """That a job is neither the one that is asked about nor one of the same dump, nor too late."""
    other = jobs.c.directory != crash.directory
    if crash.digest is not None:
        other = and_(other, or_(jobs.c.digest.is_(None), jobs.c.digest != crash.digest))
    if (event := _same_event(crash)) is not None:
        other = and_(other, not_(func.coalesce(event, false())))
    return other if crash.until is None else and_(other, jobs.c.started < crash.until)


def _same_event(crash: Crashed) -> ColumnElement[bool] | None:
    """That a job is of the same dump in another file; ``None``: that cannot be told."""
    return None if crash.log_digest is None else jobs.c.log_digest == crash.log_digest


def _dump_numbers(rows: Sequence[Any]) -> dict[str, int]:
    """A number for each dump, the same for two files of one."""
    numbers, events = dict[str, int](), dict[str, int]()
    for row in rows:
        number = numbers.setdefault(row.dump, len(numbers))
        if row.log_digest is not None:
            numbers[row.dump] = events.setdefault(row.log_digest, number)
    return numbers


class _Note(NamedTuple):
    """A crash without a dump."""

    nodename: str | None
    osrelease: str | None
    occurred: datetime
    is_same: bool


def _notes(connection: Connection, crash: Crashed) -> list[_Note]:
    """The noted crashes that are called the same, or similar, newest first."""
    values = sorted(crash.same | crash.similar)
    release, named = crash_words.alias(), crash_words.alias()
    query = (
        select(crashes.c.id, crashes.c.node, release.c.value, crashes.c.time_s, named.c.value)
        .join(named, named.c.crash_id == crashes.c.id)
        .outerjoin(release, and_(release.c.crash_id == crashes.c.id, release.c.name == "release"))
        .where(
            named.c.name.in_([f"signatures.{each.replace(' ', '_')}" for each in (SAME, SIMILAR)]),
            named.c.value.in_(values),
            crashes.c.type == _NOTE,
        )
        .order_by(crashes.c.time_s.desc(), crashes.c.id)
    )
    if crash.until is not None:
        query = query.where(crashes.c.added_s < crash.until.timestamp())
    found = dict[str, _Note]()
    for number, node, osrelease, time_s, value in connection.execute(query):
        before = found.get(number)
        is_same = value in crash.same or (before is not None and before.is_same)
        found[number] = _Note(node, osrelease, datetime.fromtimestamp(time_s, UTC), is_same)
    return list(found.values())


def _occurrences_of(
    rows: Sequence[Any], dumps: Mapping[str, int], notes: Sequence[_Note]
) -> Occurrences | None:
    """What jobs, and notes, say together.

    :param rows: newest first, as the notes
    :param dumps: which is which
    """
    if not rows and not notes:
        return None
    all_newest_first = sorted((*rows, *notes), key=lambda one: one.occurred, reverse=True)
    return Occurrences(
        count=len({dumps[row.dump] for row in rows}) + len(notes),
        since=all_newest_first[-1].occurred,
        tickets=_newest_names(row.ticket for row in rows),
        hosts=_newest_names(one.nodename for one in all_newest_first),
        kernels=_newest_names(one.osrelease for one in all_newest_first),
        notes=len(notes),
    )


def _newest_names(names: Iterable[str | None]) -> Newest:
    different = dict.fromkeys(name for name in names if name)
    return Newest(len(different), tuple(islice(different, _NAMED)))


def _tally_of_host(connection: Connection, crash: Crashed) -> Tally | None:
    """All crashes of the machine, by name; where both models are known they must be the same."""
    if not crash.names_machine:
        return None
    which = jobs.c.nodename == crash.host
    if crash.machine:
        same = jobs.c.model == crash.machine.model
        which = and_(which, or_(jobs.c.model.is_(None), same))
    return _tally(connection, crash, crash.host or "", which)


def _tally(
    connection: Connection, crash: Crashed, name: str, which: ColumnElement[bool]
) -> Tally | None:
    """How often; counted by the database, since a model may have very many jobs."""
    bios = crash.machine.bios if crash.machine else None
    where = and_(which, _is_another_crash(crash))
    same_bios = case((jobs.c.bios == (bios or ""), _DUMP))
    counts = select(
        func.count(_DUMP.distinct()),
        func.min(_OCCURRED),
        func.count(jobs.c.nodename.distinct()),
        func.count(same_bios.distinct()),
        func.count(func.coalesce(jobs.c.log_digest, _DUMP).distinct()),
    ).where(where)
    files, since, hosts, with_bios, events = connection.execute(counts).one()
    count = min(files, events)
    if not count:
        return None

    # of each job the signature that decides whether a crash is the same
    versions = {each.version for each in crash.signatures}
    value = {
        granularity: func.max(case((signatures.c.granularity == granularity, signatures.c.value)))
        for granularity in (SAME, SIMILAR)
    }
    deciding = (
        select(func.coalesce(value[SAME], value[SIMILAR]).label("value"))
        .join(jobs, jobs.c.id == signatures.c.job_id)
        .where(where, signatures.c.version.in_(versions) if versions else true())
        .group_by(signatures.c.job_id)
        .subquery()
    )
    different = connection.scalar(select(func.count(deciding.c.value.distinct())))
    return Tally(
        name=name,
        count=count,
        since=since,
        signatures=different or 0,
        hosts=hosts,
        same_bios=min(with_bios, count) if bios else None,
    )


def _uncompared(connection: Connection, crash: Crashed) -> int:
    """How many other jobs have a name by rules of which this crash has none."""
    versions = {each.version for each in crash.signatures} | ({1} if crash.former else set())
    if not crash.signatures:
        return 0
    query = (
        select(func.count(signatures.c.job_id.distinct()))
        .join(jobs, jobs.c.id == signatures.c.job_id)
        .where(signatures.c.version.not_in(sorted(versions)), _is_another_crash(crash))
    )
    return connection.scalar(query) or 0


def _same_files(connection: Connection, crash: Crashed) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tickets whose jobs have the same dump, and those with the same kernel log only; of the same
    ticket the jobs.
    """
    event = _same_event(crash)
    same = [jobs.c.digest == crash.digest] if crash.digest is not None else []
    same += [event] if event is not None else []
    if not same:
        return (), ()
    query = (
        select(jobs.c.ticket, jobs.c.directory, jobs.c.digest)
        .where(or_(*same), jobs.c.directory != crash.directory)
        .order_by(jobs.c.started.desc(), jobs.c.id.desc())
    )
    if crash.until is not None:
        query = query.where(jobs.c.started < crash.until)
    dumps, logs = dict[str, None](), dict[str, None]()
    for ticket, directory, digest in connection.execute(query):
        name = f"{ticket}/{directory.name}" if ticket == crash.ticket else ticket
        is_dump = digest is not None and digest == crash.digest
        (dumps if is_dump else logs)[name] = None
    return tuple(dumps), tuple(name for name in logs if name not in dumps)
