"""How what a run has read becomes the catalogue: in one transaction, so all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Text,
    bindparam,
    delete,
    func,
    insert,
    select,
    type_coerce,
    update,
)

from cas.database.codec import columns_of
from cas.database.records import FileStamp, PackagedKernel, PackageKind
from cas.database.tables import kernels, kmods, packages, readings
from cas.frozen import dataclass

_AT_ONCE = 500
"""Rows that are held in memory, or named in a statement."""
_INTERIM = "?"
"""Begins a path while rows are being renamed: no path does, all are absolute."""
_INT_LIMIT = (1 << 31) - 1


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


def publish_change(connection: Connection, change: Change) -> None:
    """Make the change, in the transaction of the connection."""
    dropped = list(change.dropped)
    for start in range(0, len(dropped), _AT_ONCE):
        some = dropped[start : start + _AT_ONCE]
        connection.execute(delete(packages).where(packages.c.id.in_(some)))
    if change.renamed:
        of_row = packages.c.id == bindparam("row")
        renaming = update(packages).where(of_row).values(path=bindparam("new_path"))
        for prefix in (_INTERIM, ""):  # in two steps: files may have exchanged their names
            rows = [
                {"row": row, "new_path": f"{prefix}{row}" if prefix else path}
                for row, path in change.renamed.items()
            ]
            connection.execute(renaming, rows)
    statement = insert(packages).values(scanned_at=func.now())
    returned = (packages.c.id, type_coerce(packages.c.path, Text))
    for batch in _take_readings(connection, change.read):
        if not batch:
            continue
        added = connection.execute(
            statement.returning(*returned), [columns for columns, _ in batch]
        )
        ids = {path: package_id for package_id, path in added}
        for table, rows_of in ((kernels, kernel_columns), (kmods, kmod_columns)):
            entries = [
                {"package_id": ids[columns["path"]], **entry}
                for columns, facts in batch
                for entry in rows_of(facts)
            ]
            if entries:
                connection.execute(insert(table), entries)


def _take_readings(
    connection: Connection, wanted: Set[str]
) -> Iterator[list[tuple[dict[str, Any], Mapping[str, Any]]]]:
    """The columns and facts of the wanted files; their rows among the readings are taken away."""
    last = 0
    path = type_coerce(readings.c.path, Text).label("path")  # as the paths are that are wanted
    columns = readings.c["id", "size_bytes", "mtime_ns", "inode", "facts"]
    query = select(path, *columns).where(readings.c.id > bindparam("last")).order_by(readings.c.id)
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
            stamped = {name: row[name] for name in ("path", *FileStamp._fields)}
            batch.append((stamped | package_columns(row["path"], facts), facts))
        yield batch


def package_columns(path: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the file's row."""
    told = {name: facts.get(name) for name in ("reason", "name", "arch", "build_time_s")}
    kind, suffix = facts.get("kind"), Path(path).suffix
    if not kind:  # what a file that could not be read was taken for
        kind = {
            ".rpm": PackageKind.RPM,
            ".deb": PackageKind.DEB,
            ".ddeb": PackageKind.DEB,
            ".udeb": PackageKind.DEB,
        }.get(suffix, PackageKind.VMLINUX)
    version = facts.get("version") or None
    return {**told, "state": facts["state"], "kind": kind, "version": version}


def kernel_columns(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns of its kernels' rows."""
    kernels_of_it = (PackagedKernel(*fields) for fields in facts.get("kernels", ()))
    return [
        {
            **columns_of(kernel, kernels.c.keys()),
            "arch": facts["arch"],
            "member": kernel.member or None,
            "build_id": kernel.build_id or None,
            "examined": kernel.is_examined,
        }
        for kernel in kernels_of_it
    ]


def kmod_columns(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns of the rows of its kmods."""
    return [
        {"release": release, "count": min(count, _INT_LIMIT)}
        for release, count in facts.get("kmods", {}).items()
    ]
