"""Whether a database will say no the next time as well: permissions, passwords, names."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from cas.errors import NotPermitted
from cas.files.permission import not_permitted

_BESIDE = ("", "-wal", "-shm", "-journal")
"""Files that SQLite writes; the last three are made and removed as they are needed."""
PING_S = 5
"""For a server to say whether it is there."""
_TOO_MANY = ("too many", "connection slots")
"""Of PostgreSQL's 53300, which libpq does not tell of a connection that it could not make."""


def denied(path: Path) -> NotPermitted | None:
    """What keeps this user from a SQLite file; ``None``: nothing, it was busy or is damaged."""
    for file in (path.with_name(path.name + end) for end in _BESIDE):
        if os.path.lexists(file) and not os.access(file, os.R_OK | os.W_OK):
            return _not_writable(file)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return _not_writable(path)
    return None


def is_refused(cause: Any, url: URL) -> bool:
    """Whether a PostgreSQL server that is there, and well, does not want this user.

    :param cause: of psycopg, from making a connection
    :param url: to which the connection was to be made
    """
    from psycopg import pq  # whoever has such an error has it loaded

    connection = getattr(cause, "pgconn", None)
    if connection is None or connection.status != pq.ConnStatus.BAD:
        return False
    if any(words in str(cause) for words in _TOO_MANY):
        return False
    if "connect_timeout" not in url.query:  # a server that is silent would be waited for
        url = url.update_query_dict({"connect_timeout": str(PING_S)})
    there = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return pq.PGconn.ping(there.encode()) == pq.Ping.OK


def _not_writable(file: Path) -> NotPermitted:
    is_read_only = os.statvfs(file.parent).f_flag & os.ST_RDONLY if file.parent.exists() else 0
    number = errno.EROFS if is_read_only else errno.EACCES
    return not_permitted(file, OSError(number, os.strerror(number)))
