"""The index of jobs, as rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import delete, insert, select

from cas.catalogue.database.connection import Database
from cas.catalogue.database.storable import storable
from cas.catalogue.database.tables import jobs
from cas.catalogue.facts import JobRecord

_SIMILAR_LIMIT = 1000


class JobRows:
    """Which job crashed how."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, job: JobRecord) -> None:
        """Add a job directory to the index, or replace what it says of it."""
        directory = storable(str(job.directory))
        with self._database.writing() as connection:
            connection.execute(delete(jobs).where(jobs.c.directory == directory))
            connection.execute(
                insert(jobs).values(
                    ticket=job.ticket,
                    directory=directory,
                    started=job.started.astimezone(UTC).replace(tzinfo=None),
                    verdict=job.verdict,
                    osrelease=storable(job.osrelease),
                    build_id=storable(job.build_id),
                    signature=job.signature,
                    panic_message=storable(job.panic_message),
                )
            )

    def remove(self, directory: Path) -> None:
        """Take a job directory out of the index."""
        with self._database.writing() as connection:
            connection.execute(delete(jobs).where(jobs.c.directory == storable(str(directory))))

    def tickets_with(self, signature: str, excluding: Path) -> tuple[str, ...]:
        """Tickets with this signature, newest first, each once."""
        query = (
            select(jobs.c.ticket)
            .where(jobs.c.signature == signature, jobs.c.directory != storable(str(excluding)))
            .order_by(jobs.c.started.desc(), jobs.c.id.desc())
            .limit(_SIMILAR_LIMIT)
        )
        with self._database.reading() as connection:
            return tuple(dict.fromkeys(connection.execute(query).scalars()))

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
