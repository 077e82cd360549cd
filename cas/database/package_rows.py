"""The catalogued files, as rows."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import ColumnElement, Text, and_, distinct, func, select, type_coerce, update

from cas.database.codec import value_of
from cas.database.connection import Database
from cas.database.kernel_rows import KERNEL_COLUMNS
from cas.database.records import Counts, FileStamp, Known, PackageState, Renewal, is_same
from cas.database.tables import kernels, kmods, packages
from cas.model.kernel import Kernel

_STAMP = tuple(packages.c["size_bytes", "mtime_ns", "inode"])


class KnownRow(NamedTuple):
    """What is remembered of a file; there are ten thousands, so it is no more than a tuple."""

    path: str
    size_bytes: int
    mtime_ns: int
    inode: int
    state: str
    id: int


class PackageRows:
    """Which files hold debug information, or should and do not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known_rows(self) -> list[KnownRow]:
        """What is remembered of every file."""
        with self._database.reading() as connection:
            path = type_coerce(packages.c.path, Text)  # no Path is made of ten thousand
            query = select(path, *_STAMP, packages.c.state, packages.c.id)
            return list(map(KnownRow._make, connection.execute(query).all()))

    def known_packages(self) -> dict[Path, Known]:
        """What is remembered of every file, by path."""
        return {
            Path(row.path): Known(FileStamp(*row[1:4]), PackageState(row.state))
            for row in self.known_rows()
        }

    def bad(self) -> list[tuple[Path, str]]:
        """The files that cannot be used, with the reason."""
        query = (
            select(packages.c.path, packages.c.reason)
            .where(packages.c.state != PackageState.OK)
            .order_by(packages.c.path)
        )
        with self._database.reading() as connection:
            return [(path, reason or "") for path, reason in connection.execute(query)]

    def counts(self) -> Counts:
        """How much there is."""
        columns = (packages.c.kind, packages.c.state)
        by_kind: dict[str, dict[str, int]] = defaultdict(dict)
        with self._database.reading() as connection:
            for kind, state, number in connection.execute(
                select(*columns, func.count()).group_by(*columns).order_by(*columns)
            ):
                by_kind[kind][state] = number
            return Counts(
                packages=dict(by_kind),
                kernels=connection.execute(select(func.count()).select_from(kernels)).scalar_one(),
                kmod_packages=connection.execute(
                    select(func.count(distinct(kmods.c.package_id)))
                ).scalar_one(),
            )

    def renew_stamp(self, renewal: Renewal) -> None:
        """Note another stamp of a file whose kernels are all what they were.

        Whether anybody vouches for it is to be found out anew.
        """
        same = and_(packages.c.path == renewal.path, *_has_stamp(renewal.old))
        query = select(*KERNEL_COLUMNS).join(packages).where(same)
        with self._database.writing() as connection:
            known = [value_of(Kernel, row) for row in connection.execute(query).mappings()]
            if len(known) == len(renewal.kernels) and all(
                any(is_same(kernel, packaged) for packaged in renewal.kernels) for kernel in known
            ):
                values = renewal.new._asdict() | {"trust": None}
                connection.execute(update(packages).where(same).values(values))

    def with_kmods(self, release: str, arch: str) -> list[Path]:
        """The packages that have kmods' files of a kernel, those with most first."""
        query = (
            select(packages.c.path)
            .join(kmods)
            .where(kmods.c.release == release, packages.c.arch == arch)
            .order_by(kmods.c.count.desc(), packages.c.path)
        )
        with self._database.reading() as connection:
            return [*connection.execute(query).scalars()]

    def trust_of(self, path: Path, stamp: FileStamp | None = None) -> str | None:
        """What came of the check of a file's signature; ``None`` when there was none.

        :param stamp: of the file now; what was said of other content does not count
        """
        query = select(packages.c.trust, *_STAMP).where(packages.c.path == path)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None or (stamp is not None and FileStamp(*row[1:]) != stamp):
            return None
        return None if row[0] is None else str(row[0])

    def set_trust(self, path: Path, stamp: FileStamp, text: str) -> None:
        """Remember what came of the check, unless the file is catalogued with other content."""
        same = and_(packages.c.path == path, *_has_stamp(stamp))
        with self._database.writing() as connection:
            connection.execute(update(packages).where(same).values(trust=text))


def _has_stamp(stamp: FileStamp) -> tuple[ColumnElement[bool], ...]:
    return tuple(packages.c[name] == value for name, value in stamp._asdict().items())
