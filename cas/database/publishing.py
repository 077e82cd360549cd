"""How what a run has read becomes the catalogue: in one transaction, so all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from cas.database.records import PackagedKernel
from cas.database.storable import storable
from cas.database.tables import kernels, kmods, packages, readings

_AT_ONCE = 500
"""Rows that are held in memory, or named in a statement."""
_INTERIM = "?"
"""Begins a path while rows are being renamed: no path does, all are absolute."""
_INT_LIMIT = (1 << 31) - 1
_LIMITS = {"arch": 32, "release": 160, "flavour": 160, "build_id": 128}
"""Characters that columns hold."""
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


def package_columns(path: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the file's row."""
    return {
        "state": facts["state"],
        "reason": storable(facts.get("reason")),
        "name": storable(facts.get("name", "")),
        "arch": storable(facts.get("arch", ""), _LIMITS["arch"]),
        "build_time_s": facts.get("build_time_s"),
        "kind": facts.get("kind") or _kind(path),
        "version": storable(facts.get("version", "")),
    }


def kernel_columns(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns of its kernels' rows."""
    return [
        {
            "release": storable(kernel.release, _LIMITS["release"]),
            "arch": storable(facts["arch"], _LIMITS["arch"]),
            "flavour": storable(kernel.flavour, _LIMITS["flavour"]),
            "member": storable(kernel.member or ""),
            "build_id": storable(kernel.build_id, _LIMITS["build_id"]),
            "size_bytes": kernel.size_bytes,
            "digest": storable(kernel.digest),
            "banner": storable(kernel.banner),
            "examined": kernel.is_examined,
        }
        for kernel in (PackagedKernel(*fields) for fields in facts.get("kernels", ()))
    ]


def kmod_columns(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns of the rows of its kmods."""
    return [
        {"release": storable(release, _LIMITS["release"]), "count": min(count, _INT_LIMIT)}
        for release, count in facts.get("kmods", {}).items()
    ]


def _kind(path: str) -> str:
    """What a file that could not be read was taken for."""
    suffix = Path(path).suffix
    if suffix == ".rpm":
        return "rpm"
    return "deb" if suffix in (".deb", ".ddeb", ".udeb") else "vmlinux"
