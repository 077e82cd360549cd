"""The registered hosts out of a SQLite file, without SQLAlchemy, which takes 0.25 s to import.

A job that goes to a host needs nothing else of the database before its first answer.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cas.model import CrashProgram, Host

PLAIN = ("drgn", "cpus", "memory_bytes", "free_bytes", "arch", "host_key", "problem")
"""Facts that are stored as they are."""
QUERY = "SELECT * FROM hosts ORDER BY name, port"
BUSY_S = 10.0


def read_hosts(database: str) -> tuple[Host, ...] | None:
    """Every registered host, by name and port.

    :param database: a path, or a URL
    :return: ``None`` when it is not to be had in this way; the usual one tells why
    """
    if "://" in database:
        return None
    path = Path(database).expanduser().absolute()
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        uri = path.as_uri() + "?mode=ro"
        with closing(sqlite3.connect(uri, timeout=BUSY_S, uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return tuple(host_of(dict(row)) for row in connection.execute(QUERY))
    except (OSError, sqlite3.Error, KeyError, ValueError, TypeError):
        return None


def host_of(row: Mapping[str, Any]) -> Host:
    """A host as its row tells it; SQLite itself has neither truth values nor times."""
    checked = row["checked"]
    if isinstance(checked, str):
        checked = datetime.fromisoformat(checked)
    return Host(
        name=row["name"],
        port=row["port"] or None,
        is_enabled=bool(row["is_enabled"]),
        checked=checked and checked.replace(tzinfo=UTC),
        crashes=tuple(CrashProgram(**program) for program in json.loads(row["crashes"])),
        remarks=tuple(json.loads(row["remarks"])),
        is_shared=bool(row["is_shared"]),
        **{name: row[name] for name in PLAIN},
    )
