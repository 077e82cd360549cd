"""How what a run has read becomes the catalogue: in one transaction, so all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from cas.catalogue.database.tables import kernels, kmods, packages, readings
from cas.catalogue.reading import kernel_columns, kmod_columns, package_columns

_AT_ONCE = 500
"""Rows that are held in memory, or named in a statement."""
_INTERIM = "?"
"""Begins a path while rows are being renamed: no path does, all are absolute."""
_STAMP = ("size_bytes", "mtime_ns", "inode")


@dataclass(frozen=True, slots=True)
class Change:
    """The way from the catalogue as it is to the one that is published."""

    dropped: Sequence[int]
    """Rows of files that are gone, or that have other content now."""
    renamed: Mapping[int, str]
    """New paths of rows that stay."""
    read: Set[str]
    """Paths of the readings that are published."""

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.dropped or self.renamed or self.read)


def publish(connection: Connection, change: Change) -> None:
    """Make the change, in the transaction of the connection."""
    for ids in _batches(list(change.dropped)):
        connection.execute(delete(packages).where(packages.c.id.in_(ids)))
    _rename(connection, change.renamed)
    for batch in _readings(connection, change.read):
        _enter(connection, batch)


def _rename(connection: Connection, renamed: Mapping[int, str]) -> None:
    """In two steps: files may have exchanged their names."""
    if not renamed:
        return
    statement = (
        update(packages).where(packages.c.id == bindparam("row")).values(path=bindparam("new_path"))
    )
    for prefix in (_INTERIM, ""):
        rows = [
            {"row": row, "new_path": f"{prefix}{row}" if prefix else path}
            for row, path in renamed.items()
        ]
        connection.execute(statement, rows)


def _readings(
    connection: Connection, wanted: Set[str]
) -> Iterator[list[tuple[dict[str, Any], Mapping[str, Any]]]]:
    """The columns and facts of the wanted files; their rows among the readings are taken away."""
    last = 0
    query = select(readings).where(readings.c.id > bindparam("last")).order_by(readings.c.id)
    while wanted:
        rows = connection.execute(query.limit(_AT_ONCE), {"last": last}).mappings().all()
        if not rows:
            return
        last = rows[-1]["id"]
        mine = [row for row in rows if row["path"] in wanted]
        connection.execute(delete(readings).where(readings.c.id.in_([row["id"] for row in mine])))
        batch = []
        for row in mine:
            facts = json.loads(row["facts"])
            columns = {name: row[name] for name in ("path", *_STAMP)}
            batch.append((columns | package_columns(row["path"], facts), facts))
        yield batch


def _enter(connection: Connection, batch: list[tuple[dict[str, Any], Mapping[str, Any]]]) -> None:
    if not batch:
        return
    rows = [columns for columns, _ in batch]
    statement = insert(packages).values(scanned_at=func.now())
    returned = connection.execute(statement.returning(packages.c.id, packages.c.path), rows)
    ids = {path: package_id for package_id, path in returned}
    for table, columns_of in ((kernels, kernel_columns), (kmods, kmod_columns)):
        entries = [
            {"package_id": ids[columns["path"]], **entry}
            for columns, facts in batch
            for entry in columns_of(facts)
        ]
        if entries:
            connection.execute(insert(table), entries)


def _batches(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
