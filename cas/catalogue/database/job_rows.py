"""The index of jobs, as rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    and_,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
)

from cas.catalogue.database.connection import Database
from cas.catalogue.database.storable import storable
from cas.catalogue.database.tables import jobs, signatures
from cas.catalogue.facts import Crashed, JobRecord
from cas.model import Newest, Occurrences, Seen

_NAMED = 10
"""Tickets, hosts and kernels that are told by name."""
_OCCURRED = func.coalesce(jobs.c.crashed, jobs.c.started)


class JobRows:
    """Which job crashed how."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, job: JobRecord) -> None:
        """Add a job directory to the index, or replace what it says of it."""
        directory = storable(str(job.directory))
        with self._database.writing() as connection:
            connection.execute(delete(jobs).where(jobs.c.directory == directory))
            added = connection.execute(
                insert(jobs).values(
                    ticket=job.ticket,
                    directory=directory,
                    started=_utc(job.started),
                    verdict=job.verdict,
                    osrelease=storable(job.osrelease),
                    build_id=storable(job.build_id),
                    panic_message=storable(job.panic_message),
                    crashed=_utc(job.occurred),
                    nodename=storable(job.nodename),
                    digest=job.digest,
                )
            )
            if job.signatures:
                (number,) = added.inserted_primary_key or (None,)
                values = {
                    (each.version, storable(each.granularity, 16)): storable(each.value, 128)
                    for each in job.signatures
                }
                rows = [
                    {"job_id": number, "version": version, "granularity": name, "value": value}
                    for (version, name), value in values.items()
                ]
                connection.execute(insert(signatures), rows)

    def remove(self, directory: Path) -> None:
        """Take a job directory out of the index."""
        with self._database.writing() as connection:
            connection.execute(delete(jobs).where(jobs.c.directory == storable(str(directory))))

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
                func.coalesce(jobs.c.digest, cast(jobs.c.id, String)).label("dump"),
                _OCCURRED.label("occurred"),
                signatures.c.value,
            )
            .join(signatures, signatures.c.job_id == jobs.c.id)
            .where(signatures.c.value.in_(sorted(crash.same | crash.similar)), _other(crash))
            .order_by(_OCCURRED.desc(), jobs.c.id.desc())
        )
        found = dict[int, Any]()
        same = set[int]()
        with self._database.reading() as connection:
            for row in connection.execute(query):
                found[row.id] = row
                if row.value in crash.same:
                    same.add(row.id)
            same_dump = _same_dump(connection, crash)
        dumps = {found[number].dump for number in same}
        return Seen(
            same=_occurrences([row for row in found.values() if row.dump in dumps]),
            similar=_occurrences([row for row in found.values() if row.dump not in dumps]),
            same_dump=same_dump,
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
            return frozenset(Path(name) for name in connection.execute(query).scalars())

    def times(self) -> dict[Path, datetime]:
        """When every job began, by directory."""
        with self._database.reading() as connection:
            rows = connection.execute(select(jobs.c.directory, jobs.c.started)).all()
        return {Path(row[0]): row[1].replace(tzinfo=UTC) for row in rows}

    def verdicts(self) -> dict[Path, str]:
        """The verdict of every job, by directory."""
        with self._database.reading() as connection:
            rows = connection.execute(select(jobs.c.directory, jobs.c.verdict)).all()
        return {Path(row[0]): row[1] for row in rows}


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None)


def _other(crash: Crashed) -> ColumnElement[bool]:
    """That a job is neither the one that is asked about nor one of the same dump, nor too late."""
    other = jobs.c.directory != storable(str(crash.directory))
    if crash.digest is not None:
        other = and_(other, or_(jobs.c.digest.is_(None), jobs.c.digest != crash.digest))
    return other if crash.until is None else and_(other, jobs.c.started < _utc(crash.until))


def _occurrences(rows: Sequence[Any]) -> Occurrences | None:
    """What jobs say together.

    :param rows: newest first
    """
    if not rows:
        return None
    return Occurrences(
        count=len({row.dump for row in rows}),
        since=rows[-1].occurred.replace(tzinfo=UTC),
        tickets=_newest(row.ticket for row in rows),
        hosts=_newest(row.nodename for row in rows),
        kernels=_newest(row.osrelease for row in rows),
    )


def _newest(names: Iterable[str | None]) -> Newest:
    different = dict.fromkeys(name for name in names if name)
    return Newest(len(different), tuple(islice(different, _NAMED)))


def _same_dump(connection: Connection, crash: Crashed) -> tuple[str, ...]:
    """Tickets whose jobs have the same dump; of the same ticket the jobs."""
    if crash.digest is None:
        return ()
    own = storable(str(crash.directory))
    query = (
        select(jobs.c.ticket, jobs.c.directory)
        .where(jobs.c.digest == crash.digest, jobs.c.directory != own)
        .order_by(jobs.c.started.desc(), jobs.c.id.desc())
    )
    if crash.until is not None:
        query = query.where(jobs.c.started < _utc(crash.until))
    names = (
        f"{ticket}/{Path(directory).name}" if ticket == crash.ticket else ticket
        for ticket, directory in connection.execute(query)
    )
    return tuple(dict.fromkeys(names))
