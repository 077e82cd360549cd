#!/usr/bin/env python3
"""What a job asks the database before its first answer: without SQLAlchemy, and with it.

usage: bench/first_query.py [ROUNDS]

Each way is a process of its own, from before the import to the answer: in ms, and of a processor,
which other work on the machine changes less. The ways take turns, and the first round, which reads
the files from the disk, does not count.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from cas.database.connection import Database
from cas.database.host_rows import HostRows
from cas.database.tables import kernels, packages
from cas.model.host import Host

ROUNDS = 15
KERNELS = 10_000
# what a job has loaded anyway by then is imported before the clock starts
TIMED = """
import sys, time
import cas.model.kernel, cas.model.host, cas.settings.config, cas.files.record, cas.errors
begun, worked = time.perf_counter(), time.process_time()
from cas.database.store import Store
store = Store(sys.argv[1])
found = {call}
print((time.perf_counter() - begun) * 1e3, (time.process_time() - worked) * 1e3)
assert len(found) == {expected}, found
"""
WAYS = {
    "kernels of a build-id, plain sqlite3": ("store.claims(sys.argv[2])", 1),
    "kernels of a build-id, SQLAlchemy": ("store.kernels.with_build_id(sys.argv[2])", 1),
    "hosts, plain sqlite3": ("store.registered_hosts()", 3),
    "hosts, SQLAlchemy": ("store.hosts.all_hosts()", 3),
}


def fill(path: Path) -> str:
    """A catalogue of many kernels, and a few hosts; a build-id that is in it."""
    database = Database(str(path), 60.0)
    numbers = range(1, KERNELS + 1)
    moment = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    package = {"name": "kernel-debuginfo", "arch": "x86_64", "state": "ok", "kind": "rpm"}
    package |= {"size_bytes": 1, "mtime_ns": 1, "inode": 1, "scanned_at": moment}
    kernel = {"arch": "x86_64", "flavour": "", "member": "/vmlinux", "examined": True}
    with database.writing() as connection:
        rows = [{"id": each, "path": f"/{each}.rpm", **package} for each in numbers]
        connection.execute(packages.insert(), rows)
        rows = [
            {"package_id": each, "release": f"{each}.el9", "build_id": f"{each:040x}", **kernel}
            for each in numbers
        ]
        connection.execute(kernels.insert(), rows)
    for name in ("arm-01", "arm-02", "s390-01"):
        HostRows(database).put_host(Host(name))
    return f"{KERNELS // 2:040x}"


def main() -> None:
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    with tempfile.TemporaryDirectory(prefix="bench-first-query-") as scratch:
        path = Path(scratch, "cas.db")
        build_id = fill(path)
        took: dict[str, list[tuple[float, ...]]] = {way: [] for way in WAYS}
        for number in range(rounds + 1):
            for way, (call, expected) in WAYS.items():
                script = TIMED.format(call=call, expected=expected)
                argv = [sys.executable, "-c", script, str(path), build_id]
                told = subprocess.check_output(argv, text=True).split()
                took[way] += [tuple(map(float, told))] if number else []
    for way, each in took.items():
        wall, cpu = (statistics.median(times) for times in zip(*each, strict=True))
        print(f"{way:38} {wall:6.1f} ms, of a processor {cpu:6.1f} ms")


if __name__ == "__main__":
    main()
