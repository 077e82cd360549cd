"""What packages claim of a build-id, straight out of a SQLite file.

SQLAlchemy takes 0.25 s to import, which a job with a warm cache has not had to spend; this takes
a millisecond. It asks the database in every run, not a mark in the cache: caches are many, and
one may just be filled while ``cas-admin -b`` finds the conflict.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from cas.database.records import Candidate, FileStamp
from cas.model import Kernel

_QUERY = (
    "SELECT release, kernels.arch, build_id, banner, kernels.size_bytes, digest, path, member, "
    "kernels.id, packages.size_bytes, mtime_ns, inode "
    "FROM kernels JOIN packages ON packages.id = package_id WHERE build_id = ? ORDER BY path"
)
_BUSY_S = 10.0


def read_claims(database: str, build_id: str) -> list[Candidate] | None:
    """The catalogued kernels with a build-id.

    :param database: a path, or a URL
    :return: ``None`` when they are not to be had in this way; the usual one tells why
    """
    if "://" in database:
        return None
    path = Path(database).expanduser().absolute()
    if not path.exists():
        return []
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        uri = path.as_uri() + "?mode=ro"
        with closing(sqlite3.connect(uri, timeout=_BUSY_S, uri=True)) as connection:
            return [_candidate(row) for row in connection.execute(_QUERY, (build_id,))]
    except (sqlite3.Error, ValueError, TypeError):
        return None


def _candidate(row: tuple[Any, ...]) -> Candidate:
    release, arch, build_id, banner, size_bytes, digest, path, member, row_id, *stamp = row
    kernel = Kernel(
        release=release,
        arch=arch,
        source=Path(path),
        member=member or None,
        build_id=build_id,
        banner=banner,
        size_bytes=int(size_bytes) if size_bytes is not None else None,
        digest=digest,
    )
    return Candidate(row_id, kernel, examined=True, stamp=FileStamp(*map(int, stamp)))
