#!/usr/bin/env python3
"""What ``cas ls``, ``cas groups`` and a dry purge take on an archive of very many crashes.

usage: bench/archive.py [--crashes N] [--postgresql N] [--rounds N] [--keep DIRECTORY]

Each figure is a ratio within one run: our command and its peer take turns, each as a process of its
own. The peer of a listing is ten lines of SQLAlchemy that print the same rows (compared); that of
``groups`` and of ``cas-admin purge`` is our ``ls`` of the same crashes, that of ``object`` is
``cas --version``. The rows are made up: what a record of a crash turns into by the program's own
code; for the purge each has a file of its size, without blocks.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import create_engine, text

from cas.archive.constraints import selection_of
from cas.archive.record import File, Info
from cas.archive.shown import indexed
from cas.choices import Presence
from cas.database.crash_rows import LINE, selected
from cas.database.store import Store
from cas.model.archived import EVERY, IndexedCrash

TOP = Path(__file__).parents[1]
CAS = Path(sys.executable).with_name("cas")
ADMIN = Path(sys.executable).with_name("cas-admin")
PEER = """
import sys
from datetime import datetime, timezone
from sqlalchemy import create_engine, text
C = ("NAME", "TYPE", "TIME", "NODE/CMD", "TICKET")
print(f"{C[0]:16} {C[1]:5} {C[2]:19} {C[3]:16} {C[4]}")
with create_engine(sys.argv[1]).connect() as connection:
    for id, type, time, node, ticket in connection.execute(text(sys.argv[2])):
        when = datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
        print(f"{id[:16]} {type:5} {when} {node or '-':16} {ticket or '-':7}".rstrip())
"""
ALL = "SELECT id, type, time_s, node, ticket FROM crashes {} ORDER BY time_s, id"
WORD = "id IN (SELECT crash_id FROM crash_words WHERE name = '{}' AND value {})"
THREE = (
    ("release=6.1.7*", "model=Dell Inc. PowerEdge R640*", "kind=null-dereference"),
    ALL.format(
        "WHERE "
        + " AND ".join(
            (
                WORD.format("release", ">= '6.1.7' AND value < '6.1.8'"),
                WORD.format(
                    "model",
                    ">= 'Dell Inc. PowerEdge R640' AND value < 'Dell Inc. PowerEdge R641'",
                ),
                WORD.format("kind", "= 'null-dereference'"),
            )
        )
    ),
)
MODELS = (
    *("Dell Inc. PowerEdge R640/0W23H8", "Dell Inc. PowerEdge R740/06WXJT"),
    *("HPE ProLiant DL380 Gen10/ProLiant DL380 Gen10", "Supermicro SYS-6029P-TRT/X11DPi-NT"),
    *("LENOVO ThinkSystem SR650/-[7X06CTO1WW]-", "QEMU Standard PC (Q35 + ICH9, 2009)"),
)
KINDS = ("null-dereference", "bad-address", "soft-lockup", "hung-task", "bug", "panic")
FUNCTIONS = tuple(
    f"{verb}_{noun}"
    for verb in ("read", "put", "lock", "map")
    for noun in ("folio", "inode", "page", "skb", "bio", "dentry", "extent", "queue")
)
MODULES = ("ext4", "xfs", "nvme", "i40e", "mlx5_core", "dm_mod", "kvm", "bonding")


def crashes(number: int) -> Iterator[IndexedCrash]:
    """Crashes as a large site has them: a few hundred kinds, some of which happen often.

    They come in the order of their ids, as ``cas-admin index`` enters them.
    """
    chance = random.Random(5)  # noqa: S311  rows, not secrets
    for each in range(number):
        named = int(chance.paretovariate(0.6)) % 400
        title = f"NULL pointer dereference in {FUNCTIONS[named % 32]} [{MODULES[named % 8]}]"
        node = f"web{chance.randrange(4000):04}.example.com"
        digest = f"sha256:{each:064x}"
        time_s = 1_700_000_000 + chance.randrange(50_000_000)
        facts = {
            "node": node,
            "release": f"6.1.{chance.randrange(90)}-{chance.randrange(3)}.x86_64",
            "model": MODELS[chance.randrange(6)],
            "bios": f"2.{chance.randrange(20)}",
            "arch": "x86_64",
            "build_id": f"{chance.getrandbits(160):040x}",
            "panic": f"BUG: kernel NULL pointer dereference, address: {named:016x}",
            "verdict": "complete",
            "engine": "crash",
            "task": f"worker/{chance.randrange(64)}",
            "uptime": chance.randrange(10_000_000),
            "cpus": 64,
            "memory": 1 << 37,
            "taint": "GOE",
            "modules": list(MODULES),
            "title": title,
            "kind": KINDS[named % 6],
            "culprit": FUNCTIONS[named % 32],
            "confidence": "high",
            "stack": [f"{name}+0x{named:x}" for name in FUNCTIONS[named % 24 :][:8]],
        }
        if named:  # a few have no signature
            facts["signatures"] = {"title": f"{named:016x}", "top_3": f"{named + 4096:016x}"}
        info = Info(
            id=f"{(each << 128) // number | chance.getrandbits(64):032x}",
            time_s=time_s,
            added_s=time_s + 100,
            facts=facts,
            files=(
                File(
                    name="vmcore",
                    digest=digest,
                    size_bytes=each,
                    format="KDUMP",
                    is_whole=True,
                    added_s=time_s,
                ),
            ),
            jobs=(f"T-{each % 50_000}/2026.01.01.00.00.00",),
        )
        yield indexed(info, f"/cores/{each}", Presence.HERE)


def fill(database: str, number: int) -> None:
    """Put so many crashes into an empty database."""
    begun = time.monotonic()
    Store(database).crashes.put(crashes(number))
    took = time.monotonic() - begun
    print(f"{number:,} crashes indexed in {took:.0f} s", flush=True)


def settle(url: str) -> None:
    """Have a server know its tables, as it does by itself some time later, and tell their size."""
    with create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM ANALYZE"))
        size = text("SELECT pg_size_pretty(pg_database_size(current_database()))")
        print(f"the database has {connection.execute(size).scalar_one()}", flush=True)


def plan(url: str) -> None:
    """Print how a server finds the crashes of three constraints."""
    meant = selection_of(THREE[0], datetime.now(UTC))
    engine = create_engine(url)
    query = selected(meant, LINE).compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        for (line,) in connection.execute(text(f"EXPLAIN {query}".replace(":", r"\:"))):
            print(f"    {line}", flush=True)


def store_files(store: Path, database: str) -> None:
    """Give each crash its directory and its file, of the size that is recorded and without blocks;
    and have the site been in use all the time, so that its clock is believed."""
    begun, names = time.monotonic(), Store(database)
    for line, _, info in names.crashes.records(EVERY):
        (file,) = json.loads(info)["files"]
        place = store / "objects" / line.id[:2] / line.id / "files"
        place.mkdir(parents=True)
        with (place / file["digest"].partition(":")[2]).open("wb") as dump:
            dump.truncate(file["size_bytes"])
    names.builds.last()
    with sqlite3.connect(database) as connection:
        connection.executemany(
            "INSERT INTO builds (kind, started, counts) VALUES ('build', datetime('now', ?), '{}')",
            [(f"-{days} days",) for days in range(1, 1200, 20)],
        )
    connection.close()
    print(f"files of all stored in {time.monotonic() - begun:.0f} s", flush=True)


def measured(
    argv: Sequence[str | Path], environment: Mapping[str, str], out: Path
) -> tuple[float, float]:
    """Seconds of a processor, and peak resident memory in MiB, of a command."""
    with out.open("wb") as stdout:
        child = subprocess.Popen(
            [*map(str, argv)], stdout=stdout, env={**os.environ, **environment}
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{argv} failed: {child.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compared(
    label: str, ours: Sequence[Sequence[str | Path]], environment: Mapping[str, str], rounds: int
) -> None:
    """Print the medians of two commands in turns, and their ratio; what the first prints counts."""
    took: list[list[float]] = [[], []]
    peaks = [0.0, 0.0]
    with tempfile.TemporaryDirectory(prefix="bench-archive-") as scratch:
        outs = [Path(scratch, name) for name in ("ours", "peer")]
        for number in range(rounds + 1):
            for at, argv in enumerate(ours):
                seconds, peak = measured(argv, environment, outs[at])
                took[at] += [seconds] if number else []  # the first reads the files from the disk
                peaks[at] = max(peaks[at], peak)
        same = outs[0].read_bytes() == outs[1].read_bytes()
        lines = outs[0].read_bytes().count(b"\n")
    one, other = (statistics.median(each) for each in took)
    told = f"{lines:,} lines" + ", the same as the peer's" * same
    print(
        f"{label:34} {one:6.2f} s, peer {other:6.2f} s: {one / other:.2f} x,"
        f" {peaks[0]:.0f} MiB, {told}",
        flush=True,
    )


def site(directory: Path, database: str, store: Path | None = None) -> dict[str, str]:
    """A configuration with this database; the environment that names it."""
    (directory / "cores").mkdir(exist_ok=True)
    settings = {
        "kernels": directory,
        "workDirectory": directory / "cores",
        "debugs": directory / "debugs",
        "database": database,
        "store": store or directory / "cores" / ".archive",
    }
    lines = [f"{key} = {value}" for key, value in settings.items()]
    conf = directory / "cas.conf"
    conf.write_text("\n".join(("[settings]", *lines, "")))
    return {"CAS_CONF": str(conf)}


def listings(name: str, database: str, url: str, directory: Path, rounds: int) -> None:
    """Measure listings of a filled database, and groups of it."""
    environment = site(directory, database)
    peer = directory / "peer.py"
    peer.write_text(PEER)
    constraints, query = THREE
    every = [[CAS, "ls"], [sys.executable, peer, url, ALL.format("")]]
    compared(f"ls of all, {name}", every, environment, rounds)
    three = [[CAS, "ls", *constraints], [sys.executable, peer, url, query]]
    compared(f"ls by three constraints, {name}", three, environment, rounds)
    for by in ("signature", "host"):
        groups = [[CAS, "groups", "--by", by], [CAS, "ls"]]
        compared(f"groups by {by} / ls, {name}", groups, environment, rounds)


def purge_by_rules(name: str, database: str, store: Path, directory: Path, rounds: int) -> None:
    """Measure a dry purge by three rules, of crashes with their files."""
    rules = ["--older", "2y", "--larger", "30K", "--keep-exemplar"]
    compared(
        f"purge by three rules / ls, {name}",
        [[ADMIN, "purge", *rules], [CAS, "ls"]],
        site(directory, database, store),
        rounds,
    )


def object_of_a_large_dump(directory: Path, rounds: int) -> None:
    """Measure ``object`` of a sparse dump of 64 GiB, and what it reads of it."""
    from sparse_vmcore import write_vmcore

    packed = TOP / "tests/kernels/fixtures/a/vmcore.elf.xz"
    source, dump = directory / "vmcore.elf", directory / "vmcore.64g"
    with source.open("wb") as file:
        subprocess.run(["xz", "-dc", packed], stdout=file, check=True)
    write_vmcore(dump, 64 << 30, source)
    environment = site(directory, str(directory / "empty.db"))
    compared(
        "object of 64 GiB / --version",
        [[CAS, "object", dump], [CAS, "--version"]],
        environment,
        rounds,
    )
    trace = directory / "trace"
    argv = ["strace", "-f", "-qq", "-e", "trace=read,pread64,preadv", "-P", dump, "-o", trace]
    subprocess.run([*argv, CAS, "object", dump], env={**os.environ, **environment}, check=True)
    ends = (
        line.rpartition("= ")[2].split()[0]
        for line in trace.read_text().splitlines()
        if "= " in line
    )
    read_bytes = sum(int(each) for each in ends if each.isdigit())
    print(f"object reads {read_bytes:,} bytes of the dump", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crashes", type=int, default=100_000)
    parser.add_argument("--postgresql", type=int, default=0, metavar="N")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="a directory whose database is used again")
    options = parser.parse_args()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-archive-")))
        kept = options.keep or scratch
        database = kept / "cas.db"
        if not database.exists():
            fill(str(database), options.crashes)
        store = kept / "archive"
        if not store.exists():
            store_files(store, str(database))
        listings(
            f"{options.crashes:,}",
            str(database),
            f"sqlite:///{database}",
            scratch,
            options.rounds,
        )
        purge_by_rules(f"{options.crashes:,}", str(database), store, scratch, options.rounds)
        object_of_a_large_dump(scratch, options.rounds)
        if options.postgresql:
            sys.path.insert(0, str(TOP / "tests"))
            from postgresql import postgresql

            url = stack.enter_context(postgresql())
            fill(url, options.postgresql)
            name = f"{options.postgresql:,} on PostgreSQL"
            sqlalchemys = url.replace("postgresql://", "postgresql+psycopg://", 1)
            settle(sqlalchemys)
            listings(name, url, sqlalchemys, scratch, options.rounds)
            plan(sqlalchemys)


if __name__ == "__main__":
    main()
