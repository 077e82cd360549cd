"""Every query that the catalogue makes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, insert, select, update

from cas.catalogue.connection import Database
from cas.catalogue.facts import Candidate, FileStamp, JobRecord, Known, Package
from cas.catalogue.host_rows import HostRows
from cas.catalogue.tables import jobs, kernels, kmods, packages
from cas.model import Kernel

_KERNEL_COLUMNS = tuple(
    kernels.c["release", "arch", "member", "build_id", "banner", "size_bytes", "digest"]
)
_CANDIDATE_COLUMNS = (*_KERNEL_COLUMNS, kernels.c.id, kernels.c.examined, packages.c.path)
_SIMILAR_LIMIT = 1000


class Store:
    """The catalogue's rows, as values."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.hosts = HostRows(database)

    def known_packages(self) -> dict[Path, Known]:
        """What is remembered of every package file."""
        columns = packages.c["path", "size_bytes", "mtime_ns", "inode", "state"]
        with self._database.reading() as connection:
            rows = connection.execute(select(*columns)).all()
        return {Path(row[0]): Known(FileStamp(row[1], row[2], row[3]), row[4]) for row in rows}

    def bad_packages(self) -> list[tuple[Path, str]]:
        """The package files that cannot be used, with the reason."""
        query = (
            select(packages.c.path, packages.c.reason)
            .where(packages.c.state != "ok")
            .order_by(packages.c.path)
        )
        with self._database.reading() as connection:
            return [(Path(row[0]), row[1] or "") for row in connection.execute(query)]

    def put_package(self, path: Path, stamp: FileStamp, package: Package) -> None:
        """Replace what is known of a package file, its kernels included."""
        with self._database.writing() as connection:
            package_id = _put(
                connection,
                path,
                stamp,
                name=package.name,
                arch=package.arch,
                state="ok",
                build_time_s=package.build_time_s,
                kind=package.kind,
                version=package.version,
            )
            rows = [
                {
                    "package_id": package_id,
                    "release": kernel.release,
                    "arch": package.arch,
                    "flavour": kernel.flavour,
                    "member": kernel.member or "",
                    "build_id": kernel.build_id,
                    "size_bytes": kernel.size_bytes,
                    "digest": kernel.digest,
                    "banner": kernel.banner,
                    "examined": kernel.is_examined,
                }
                for kernel in package.kernels
            ]
            if rows:
                connection.execute(insert(kernels), rows)
            holdings = [
                {"package_id": package_id, "release": release, "count": count}
                for release, count in package.kmods.items()
            ]
            if holdings:
                connection.execute(insert(kmods), holdings)

    def put_bad_package(self, path: Path, stamp: FileStamp, state: str, reason: str) -> None:
        """Remember why a package file cannot be used."""
        with self._database.writing() as connection:
            _put(connection, path, stamp, name="", arch="", state=state, reason=reason)

    def remove_packages(self, paths: Iterable[Path]) -> None:
        """Forget package files and their kernels, all at once."""
        with self._database.writing() as connection:
            for path in paths:
                connection.execute(delete(packages).where(packages.c.path == str(path)))

    def count_kernels(self) -> int:
        """How many kernels are catalogued."""
        with self._database.reading() as connection:
            return connection.execute(select(func.count()).select_from(kernels)).scalar_one()

    def with_build_id(self, build_id: str) -> list[Candidate]:
        """The kernels that have this build-id."""
        return self._candidates(kernels.c.build_id == _storable(build_id))

    def with_release(self, release: str) -> list[Candidate]:
        """The kernels of this release, of any architecture."""
        return self._candidates(kernels.c.release == _storable(release))

    def set_identity(self, kernel_id: int, banner: str | None, build_id: str | None) -> None:
        """Remember what a vmlinux says about itself."""
        values = {"banner": banner, "build_id": build_id, "examined": True}
        with self._database.writing() as connection:
            connection.execute(update(kernels).where(kernels.c.id == kernel_id).values(values))

    def put_job(self, job: JobRecord) -> None:
        """Add a job directory to the index, or replace what it says of it."""
        directory = str(job.directory)
        with self._database.writing() as connection:
            connection.execute(delete(jobs).where(jobs.c.directory == directory))
            connection.execute(
                insert(jobs).values(
                    ticket=job.ticket,
                    directory=directory,
                    started=job.started.astimezone(UTC).replace(tzinfo=None),
                    verdict=job.verdict,
                    osrelease=_storable(job.osrelease),
                    build_id=_storable(job.build_id),
                    signature=job.signature,
                    panic_message=_storable(job.panic_message),
                )
            )

    def remove_job(self, directory: Path) -> None:
        """Take a job directory out of the index."""
        with self._database.writing() as connection:
            connection.execute(delete(jobs).where(jobs.c.directory == str(directory)))

    def tickets_with(self, signature: str, excluding: Path) -> tuple[str, ...]:
        """Tickets with this signature, newest first, each once."""
        query = (
            select(jobs.c.ticket)
            .where(jobs.c.signature == signature, jobs.c.directory != str(excluding))
            .order_by(jobs.c.started.desc(), jobs.c.id.desc())
            .limit(_SIMILAR_LIMIT)
        )
        with self._database.reading() as connection:
            return tuple(dict.fromkeys(connection.execute(query).scalars()))

    def directories_of(self, verdict: str) -> tuple[Path, ...]:
        """Job directories with this verdict, oldest first."""
        query = (
            select(jobs.c.directory)
            .where(jobs.c.verdict == verdict)
            .order_by(jobs.c.started, jobs.c.id)
        )
        with self._database.reading() as connection:
            return tuple(map(Path, connection.execute(query).scalars()))

    def verdicts(self) -> dict[Path, str]:
        """The verdict of every job, by directory."""
        with self._database.reading() as connection:
            rows = connection.execute(select(jobs.c.directory, jobs.c.verdict)).all()
        return {Path(row[0]): row[1] for row in rows}

    def damage(self) -> tuple[str, ...]:
        """What the database says about its own file."""
        return self._database.damage()

    def _candidates(self, condition: ColumnElement[bool]) -> list[Candidate]:
        query = (
            select(*_CANDIDATE_COLUMNS).join(packages).where(condition).order_by(packages.c.path)
        )
        with self._database.reading() as connection:
            return [_candidate(row) for row in connection.execute(query).mappings()]


def _storable(text: str | None) -> str | None:
    """A dump's words, without the characters that a database refuses."""
    if text is None:
        return None
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _put(connection: Connection, path: Path, stamp: FileStamp, **columns: Any) -> int:
    """Insert a package's row in place of the old one; its id."""
    connection.execute(delete(packages).where(packages.c.path == str(path)))
    values = columns | {
        "path": str(path),
        "size_bytes": stamp.size_bytes,
        "mtime_ns": stamp.mtime_ns,
        "inode": stamp.inode,
        "scanned_at": func.now(),
    }
    statement = insert(packages).values(values).returning(packages.c.id)
    return int(connection.execute(statement).scalar_one())


def _candidate(row: RowMapping) -> Candidate:
    columns = {column.key: row[column] for column in _KERNEL_COLUMNS}
    columns["member"] = columns["member"] or None  # of a plain vmlinux
    kernel = Kernel(source=Path(row[packages.c.path]), **columns)
    return Candidate(row[kernels.c.id], kernel, row[kernels.c.examined])
