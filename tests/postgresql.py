"""A PostgreSQL server of our own: below a temporary directory, reached by a Unix socket."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from cas.database.tables import metadata

START_S = 60.0
on_both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
"""For a test of what holds for every kind of database."""
now_and_then_on_both = pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True
)
"""The same, where others show already what a server does with such rows."""


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database, for as long as the block lasts."""
    programs = _programs()
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to be root
    # not pytest's directory: the path of a socket has 107 bytes at most
    directory = Path(tempfile.mkdtemp(prefix="cas-pg-"))
    try:
        if user:
            shutil.chown(directory, user, user)
        data = directory / "data"
        _run(
            [programs / "initdb", "-D", data, "-U", "cas", "-A", "trust", "-N", "-E", "UTF8"], user
        )
        server = subprocess.Popen(
            [
                *(programs / "postgres", "-D", data, "-k", directory, "-F"),
                *("-c", "listen_addresses="),
            ],
            user=user,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(programs, directory)
            yield f"postgresql://cas@/postgres?host={directory}"
        finally:
            _end(server)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def empty(url: str) -> None:
    """Forget everything in a database, except the tables' version."""
    names = ", ".join(table.name for table in metadata.sorted_tables)
    with psycopg.connect(url) as connection:
        connection.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")  # type: ignore[arg-type]


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    if not found:
        message = "postgresql is not installed (see tests/system-packages)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    return found[-1]


def _run(argv: list[str | Path], user: str | None) -> None:
    subprocess.run(argv, check=True, user=user, capture_output=True, cwd="/")


def _wait(programs: Path, directory: Path) -> None:
    until = time.monotonic() + START_S
    while subprocess.run([programs / "pg_isready", "-q", "-h", directory], check=False).returncode:
        assert time.monotonic() < until, "PostgreSQL does not start"
        time.sleep(0.05)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGQUIT)  # at once: nothing in it is worth a checkpoint
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
