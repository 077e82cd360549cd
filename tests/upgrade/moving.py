"""A site at another place: its paths rewritten, its jobs sealed anew."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
from pathlib import Path


def replace_in(directory: Path, old: str, new: str) -> None:
    """Write another path into every file below a directory; their times stay as they are."""
    for path in directory.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if old.encode() in content:
            mode = path.stat().st_mode
            path.chmod(mode | stat.S_IWUSR)  # what is extracted for good is for reading only
            path.write_bytes(content.replace(old.encode(), new.encode()))
            path.chmod(mode)


def reseal(directory: Path) -> None:
    """Have ``job.json`` know the files as they are now; those that are not there are left out."""
    state = directory / "job.json"
    job = json.loads(state.read_text())
    for name, sealed in job["files"].items():
        path = directory / name
        if path.is_file() and sealed["digest"].startswith("sha256:"):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            sealed |= {"size_bytes": path.stat().st_size, "digest": f"sha256:{digest}"}
    state.write_text(json.dumps(job, indent=1))


def replace_in_rows(database: Path, old: str, new: str) -> None:
    """Write another path into every text of an SQLite file."""
    connection = sqlite3.connect(database)
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    for (table,) in tables:
        for _, column, kind, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
            if kind.upper() in ("TEXT", "VARCHAR"):
                change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"  # noqa: S608
                connection.execute(change, (old, new))
    connection.commit()
    connection.close()
