"""The runs of the build, and what one has read and not published yet, as rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Text,
    delete,
    func,
    insert,
    select,
    true,
    type_coerce,
    update,
)

from cas.database.codec import value_of
from cas.database.connection import Database
from cas.database.records import BuildRecord, FileStamp, Reading, RunKind
from cas.database.tables import builds, readings

KEPT = 20
"""Runs that are remembered, each."""
KEPT_DAYS = 1000
"""Days of which one run is remembered."""
_AT_ONCE = 500
"""Rows that one statement names."""


class BuildRows:
    """The last runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin_run(self) -> int:
        """A new run's number."""
        return self._insert_run(RunKind.BUILD)

    def note_purge(self, *, is_answered: bool) -> None:
        """Remember that jobs were looked at for their age, and whether somebody was asked."""
        self._insert_run(RunKind.ANSWERED_PURGE if is_answered else RunKind.PURGE, ended=func.now())

    def _insert_run(self, kind: RunKind, **more: object) -> int:
        values = {"kind": kind, "started": func.now(), "counts": {}, **more}
        statement = insert(builds).values(values).returning(builds.c.id)
        last = func.max(builds.c.id)
        by_day = select(last).group_by(func.date(builds.c.started)).order_by(last.desc())
        last_of_days = by_day.limit(KEPT_DAYS)
        with self._database.writing() as connection:
            number = connection.execute(statement).scalar_one()
            connection.execute(
                delete(builds).where(builds.c.id <= number - KEPT, builds.c.id.not_in(last_of_days))
            )
        return int(number)

    def end_run(self, number: int, counts: Mapping[str, int], problem: str | None) -> None:
        """Remember how a run ended."""
        values = {"counts": counts, "problem": problem, "ended": func.now()}
        with self._database.writing() as connection:
            connection.execute(update(builds).where(builds.c.id == number).values(values))

    def last(self) -> tuple[BuildRecord, ...]:
        """The last runs, newest first, without purges."""
        return self._select_runs(KEPT, builds.c.kind == RunKind.BUILD)

    def all_runs(self) -> tuple[BuildRecord, ...]:
        """All runs that are remembered, and the purges, newest first."""
        return self._select_runs(None, true())

    def forget_after(self, time: datetime) -> None:
        """Forget the runs that say they began after a time."""
        with self._database.writing() as connection:
            connection.execute(delete(builds).where(builds.c.started > time))

    def _select_runs(
        self, limit: int | None, wanted: ColumnElement[bool]
    ) -> tuple[BuildRecord, ...]:
        query = select(builds).where(wanted).order_by(builds.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings()
            return tuple(value_of(BuildRecord, row) for row in rows)


class ReadingRows:
    """What has been read and waits for the end of the run."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stamps(self) -> dict[str, FileStamp]:
        """The stamps of the files that have been read, by path."""
        columns = readings.c["size_bytes", "mtime_ns", "inode"]
        query = select(type_coerce(readings.c.path, Text), *columns)
        with self._database.reading() as connection:
            return {row[0]: FileStamp(*row[1:]) for row in connection.execute(query)}

    def keep_readings(self, read: Sequence[Reading]) -> None:
        """Keep what was read of new files."""
        rows = [
            {"path": reading.path, "facts": reading.facts, **reading.stamp._asdict()}
            for reading in read
        ]
        with self._database.writing() as connection:
            connection.execute(insert(readings), rows)

    def forget(self, paths: Iterable[str]) -> None:
        """Drop what does not hold any more."""
        paths = list(paths)
        if not paths:
            return
        with self._database.writing() as connection:
            for start in range(0, len(paths), _AT_ONCE):
                some = paths[start : start + _AT_ONCE]
                connection.execute(delete(readings).where(readings.c.path.in_(some)))
