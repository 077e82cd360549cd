"""What a job asks before its first answer, straight out of a SQLite file.

SQLAlchemy takes 0.2 s to import, and a job whose vmlinux was extracted before, or that goes to a
host, needs nothing else of the database until drgn is at work. bench/first_query.py measures both
ways in processes of their own, from before the import to the answer: 29 ms of a processor here, 347
with SQLAlchemy; for the hosts 36 and 331 (on a busy machine).

It is no second way to use the database: three queries, read only, of what the newest tables have.
Where the file is of another version or damaged, or the database a server's, the usual way is taken,
and says what is wrong. Rows become values by the same codec, and a test compares the answers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from cas.database import HEAD
from cas.database.codec import candidate_of, value_of
from cas.database.records import Candidate
from cas.database.storable import storable
from cas.model.host import Host

_CANDIDATES = """
SELECT kernels.id, release, kernels.arch, member, build_id, banner, kernels.size_bytes, digest,
    examined, path AS source, packages.size_bytes AS file_size_bytes, mtime_ns AS file_mtime_ns,
    inode AS file_inode
FROM kernels JOIN packages ON packages.id = package_id WHERE kernels.{} = ? ORDER BY path"""
_HOSTS = "SELECT * FROM hosts ORDER BY name, port"
_BUSY_S = 10.0
Row = Mapping[str, Any]
Value = TypeVar("Value")


def quick_candidates(database: str, build_id: str) -> list[Candidate] | None:
    """The catalogued kernels with a build-id.

    It asks the database in every run, not a mark in the cache of extracted kernels: caches are
    many, and one may just be filled while ``cas-admin -b`` finds that packages contradict one
    another.

    :param database: a path, or a URL
    :return: ``None`` when they are not to be had in this way
    """
    return _quick_kernels(database, "build_id", build_id)


def quick_of_release(database: str, release: str) -> list[Candidate] | None:
    """The catalogued kernels of a release, of any architecture; as `quick_candidates`."""
    return _quick_kernels(database, "release", release)


def _quick_kernels(database: str, column: str, word: str) -> list[Candidate] | None:
    if "://" not in database:
        try:
            Path(database).expanduser().stat()
        except FileNotFoundError:
            return []  # and none is made for that
        except OSError:
            return None
    return _decoded_rows(
        database,
        _CANDIDATES.format(column),
        (storable(word),),
        lambda row: candidate_of({**row, "examined": bool(row["examined"])}),
    )


def quick_hosts(database: str) -> list[Host] | None:
    """Every registered host, by name and port.

    :param database: a path, or a URL
    :return: ``None`` when they are not to be had in this way
    """
    return _decoded_rows(database, _HOSTS, (), host_of)


def host_of(row: Row) -> Host:
    """A host as SQLite itself tells it, which has neither truth values nor times nor JSON.

    :raises ValueError: a column holds what none of ours does
    :raises TypeError: it holds another kind of value
    """
    checked = row["checked"]
    return value_of(
        Host,
        {
            **row,
            "port": row["port"] or None,  # 0 until the sixth version of the tables
            "is_enabled": bool(row["is_enabled"]),
            "is_swept": bool(row.get("is_swept", False)),
            "is_shared": bool(row["is_shared"]),
            "checked": checked and datetime.fromisoformat(checked).replace(tzinfo=UTC),
            "crashes": json.loads(row["crashes"]),
            "remarks": json.loads(row["remarks"]),
        },
    )


def _decoded_rows(
    database: str, query: str, sought: tuple[str, ...], decoded: Callable[[Row], Value]
) -> list[Value] | None:
    if "://" in database:
        return None
    path = Path(database).expanduser().absolute()
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        uri = path.as_uri() + "?mode=ro"
        with closing(sqlite3.connect(uri, timeout=_BUSY_S, uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")  # one state for version and rows
            (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            if version != HEAD:
                return None
            return [decoded(dict(row)) for row in connection.execute(query, sought)]
    except (OSError, sqlite3.Error, ValueError, TypeError, LookupError):
        return None
