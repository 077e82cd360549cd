"""What the database itself keeps true of its rows, in a new one and in one of before."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from postgresql import now_and_then_on_both, on_both
from sqlalchemy import Connection, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from cas.choices import Verdict
from cas.database.connection import MIGRATIONS, Database
from cas.database.quick_queries import quick_candidates, quick_hosts, quick_of_release
from cas.database.records import FileStamp, JobRecord, RunKind
from cas.database.store import Store
from cas.database.tables import (
    builds,
    hosts,
    jobs,
    kernels,
    kmods,
    metadata,
    packages,
    signatures,
)
from cas.errors import DatabaseDamaged
from cas.model.finding import Signature
from cas.model.host import CrashProgram, Host

NOW = datetime(2026, 11, 21, 8, 41, 20, tzinfo=UTC)
ID = "ab" * 20
PACKAGE = {
    **{"id": 1, "path": "/p.rpm", "size_bytes": 1, "mtime_ns": 2, "inode": 3, "kind": "rpm"},
    **{"name": "kernel-debuginfo", "arch": "x86_64", "state": "ok", "scanned_at": NOW},
}
KERNEL = {
    **{"package_id": 1, "release": "6.1", "arch": "x86_64", "flavour": "", "member": "/vmlinux"},
    **{"build_id": ID, "examined": True, "size_bytes": 5},
}
HOST = {"name": "arm", "is_enabled": True, "is_shared": False, "crashes": [], "remarks": []}
JOB = {"id": 1, "ticket": "T-1", "directory": "/1", "started": NOW, "verdict": "complete"}
ROWS = {
    packages: PACKAGE,
    kernels: KERNEL,
    kmods: {"package_id": 1, "release": "6.1", "count": 1},
    jobs: JOB,
    signatures: {"job_id": 1, "version": 2, "granularity": "title", "value": "x"},
    builds: {"kind": "build", "started": NOW, "counts": {}},
    hosts: HOST,
}


def enter(connection: Connection, **changes: dict[str, Any]) -> None:
    """A row of each table, parents first."""
    for table, row in ROWS.items():
        connection.execute(insert(table).values(row | changes.get(table.name, {})))


@on_both
def test_rows_that_keep_the_rules_are_taken(database: str) -> None:
    opened = Database(database, 1)
    with opened.writing() as connection:
        enter(connection)
    with opened.reading() as connection:
        assert all(connection.execute(select(table)).first() for table in ROWS)


@now_and_then_on_both
@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("packages", {"path": "/p.rpm", "state": "bad"}),  # without a reason
        ("packages", {"reason": "cut short"}),  # of one that can be used
        ("packages", {"name": None}),
        ("packages", {"arch": None}),
        ("packages", {"size_bytes": -1}),
        ("kernels", {"member": ""}),
        ("kernels", {"build_id": ""}),
        ("kernels", {"size_bytes": -1}),
        ("kernels", {"package_id": 7}),
        ("kmods", {"count": 0}),
        ("kmods", {"package_id": 7}),
        ("jobs", {"ticket": ""}),
        ("jobs", {"verdict": "splendid"}),
        ("signatures", {"version": 0}),
        ("signatures", {"job_id": 7}),
        ("hosts", {"name": ""}),
        ("hosts", {"port": 0}),
        ("hosts", {"port": 65536}),
        ("hosts", {"cpus": 0}),
        ("hosts", {"memory_bytes": -1}),
        ("hosts", {"free_bytes": -1}),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused(
    database: str, table: str, change: dict[str, object]
) -> None:
    opened = Database(database, 1)
    with pytest.raises(DatabaseDamaged) as caught, opened.writing() as connection:
        enter(connection, **{table: change})
    assert isinstance(caught.value.__cause__, IntegrityError)


@on_both
@pytest.mark.parametrize(("table", "column"), [("packages", "kind"), ("builds", "kind")])
def test_a_word_that_is_no_member_is_refused(database: str, table: str, column: str) -> None:
    opened = Database(database, 1)
    with opened.writing() as connection:
        enter(connection)
    with pytest.raises(DatabaseDamaged), opened.writing() as connection:
        connection.execute(text(f"UPDATE {table} SET {column} = 'splendid'"))  # noqa: S608


@on_both
def test_a_job_may_have_every_verdict(store: Store) -> None:
    for verdict in Verdict:
        store.jobs.put(JobRecord("T-1", Path("/", verdict), NOW, verdict))
    assert store.jobs.verdicts() == {Path("/", verdict): verdict for verdict in Verdict}


@on_both
def test_what_belongs_to_a_row_goes_with_it(database: str) -> None:
    opened = Database(database, 1)
    with opened.writing() as connection:
        enter(connection)
        connection.execute(packages.delete())
        connection.execute(jobs.delete())
    with opened.reading() as connection:
        assert not any(connection.execute(select(t)).first() for t in (kernels, kmods, signatures))


def rules(connection: Connection) -> dict[str, set[tuple[str, str]]]:
    """The checks of each table, with the spaces that do not count left out."""
    found = inspect(connection)
    return {
        name: {
            (str(check["name"]), "".join(check["sqltext"].split()))
            for check in found.get_check_constraints(name)
        }
        for name in metadata.tables
    }


def migrate(database: str, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with Database(database, 1).migrating() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, version)


@on_both
def test_a_migrated_database_has_the_rules_of_a_new_one(database: str) -> None:
    with Database(database, 1).reading() as connection:
        new = rules(connection)
    assert sum(map(len, new.values())) > 15
    migrate(database, "0005")
    with Database(database, 1).reading() as connection:
        assert rules(connection) == new


OF_BEFORE = (
    "INSERT INTO packages (id, path, size_bytes, mtime_ns, inode, name, arch, state, reason, kind, "
    "version, scanned_at) VALUES "
    "(1, '/p.rpm', 1, 2, 3, 'kernel', 'x86_64', 'ok', NULL, 'rpm', '6.1-1', '2026-11-21'), "
    "(2, '/bad.rpm', 1, 2, 4, '', '', 'bad', 'cut short', 'rpm', '', '2026-11-21'), "
    "(3, '/vmlinux', 1, 2, 5, 'vmlinux', 'x86_64', 'ok', NULL, 'vmlinux', '', '2026-11-21')",
    "INSERT INTO kernels (package_id, release, arch, flavour, member, build_id, examined) VALUES "
    "(1, '6.1', 'x86_64', '', '/vmlinux', 'abc', TRUE), (3, '6.2', 'x86_64', '', '', NULL, TRUE)",
    "INSERT INTO kmods (package_id, release, count) VALUES (1, '6.1', 7)",
    "INSERT INTO jobs (id, ticket, directory, started, verdict) VALUES "
    "(1, 'T-1', '/1', '2026-11-21 08:41:20', 'complete')",
    "INSERT INTO signatures (job_id, version, granularity, value) VALUES (1, 2, 'title', 'x')",
    "INSERT INTO hosts (name, port, is_enabled, crashes, is_shared, remarks) VALUES "
    """('arm', 0, TRUE, '[{"path": "/c", "version": "8", "arch": "aarch64"}]', FALSE, '["a"]')""",
    """INSERT INTO builds (started, summary) VALUES ('2026-11-21 08:41:20', '{"added": 3}'), """
    """('2026-11-22 08:41:20', '{"purge": 1}'), """
    """('2026-11-23 08:41:20', '{"purge": 1, "answered": 1}'), ('2026-11-24 08:41:20', '{}')""",
)


@on_both
def test_rows_of_before_are_all_there_and_none_stands_for_nothing(database: str) -> None:
    migrate(database, "0005")
    fill_before(database)
    store = Store(database)
    assert [
        (one.kernel.source, one.kernel.member, one.stamp)
        for word in ("6.1", "6.2")
        for one in store.kernels.with_release(word)
    ] == [
        (Path("/p.rpm"), "/vmlinux", FileStamp(1, 2, 3)),
        (Path("/vmlinux"), None, FileStamp(1, 2, 5)),
    ]
    assert store.packages.with_kmods("6.1", "x86_64") == [Path("/p.rpm")]
    assert store.packages.bad() == [(Path("/bad.rpm"), "cut short")]
    assert store.jobs.named_by(2) == {Path("/1")}
    (host,) = store.registered_hosts()
    assert host == Host("arm", crashes=(CrashProgram("/c", "8", "aarch64"),), remarks=("a",))
    assert [(run.kind, run.counts) for run in store.builds.all_runs()] == [
        (RunKind.BUILD, {}),
        (RunKind.ANSWERED_PURGE, {}),
        (RunKind.PURGE, {}),
        (RunKind.BUILD, {"added": 3}),
    ]
    with Database(database, 1).reading() as connection:
        named = select(packages.c["name", "arch", "version"]).order_by(packages.c.id)
        assert connection.execute(named).all() == [
            ("kernel", "x86_64", "6.1-1"),
            (None, None, None),
            ("vmlinux", "x86_64", None),
        ]


def fill_before(database: str) -> None:
    """Rows as the release before has written them, in tables of its version."""
    if database.startswith("postgresql"):
        import psycopg

        with psycopg.connect(database) as server:
            for statement in OF_BEFORE:
                server.execute(statement)  # type: ignore[call-overload]
        return
    with sqlite3.connect(database) as file:
        for statement in OF_BEFORE:
            file.execute(statement)
    file.close()


@on_both
def test_whoever_goes_back_finds_the_rows_of_before(database: str) -> None:
    store = Store(database)
    store.hosts.put_host(Host("arm"))
    store.jobs.put(
        JobRecord("T-1", Path("/1"), NOW, Verdict.COMPLETE, signatures=(Signature(2, "t", "x"),))
    )
    store.builds.note_purge(is_answered=True)
    store.builds.end_run(store.builds.begin_run(), {"added": 1}, None)
    with Database(database, 1).writing() as connection:
        connection.execute(insert(packages).values(PACKAGE))
        connection.execute(insert(kernels).values(KERNEL | {"member": None}))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with Database(database, 1).migrating() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0005")

        def told(query: str) -> list[object]:
            return [*connection.execute(text(query)).scalars()]

        assert told("SELECT port FROM hosts") == [0]
        assert told("SELECT member FROM kernels") == [""]
        assert told("SELECT version FROM packages") == [""]
        assert told("SELECT value FROM signatures") == ["x"]
        summaries = map(json.loads, told("SELECT summary FROM builds ORDER BY id"))  # type: ignore[arg-type]
        assert [*summaries] == [{"purge": 1, "answered": 1}, {"added": 1}]
        command.upgrade(config, "head")  # the server is everybody's


def test_the_quick_queries_answer_as_the_usual_ones(tmp_path: Path, store: Store) -> None:
    path = str(tmp_path / "cas.db")
    crashes = (CrashProgram("/usr/bin/crash", "8.0.2", "aarch64"),)
    for host in (
        Host("b", 2, is_enabled=False),
        Host("a", crashes=crashes, checked=NOW),
        Host("b"),
    ):
        store.hosts.put_host(host)
    with Database(path, 1).writing() as connection:
        connection.execute(insert(packages), [PACKAGE, PACKAGE | {"id": 2, "path": "/vmlinux"}])
        rows = [KERNEL, KERNEL | {"package_id": 2, "member": None, "banner": "Linux"}]
        for row in rows:
            connection.execute(insert(kernels).values(row))
    assert quick_hosts(path) == [*store.hosts.all_hosts()]
    assert quick_candidates(path, ID) == store.kernels.with_build_id(ID)
    assert len(store.claims(ID)) == 2
    release = store.claims(ID)[0].kernel.release
    assert quick_of_release(path, release) == store.kernels.with_release(release)
    assert quick_of_release(path, "none") == []


def test_the_quick_queries_leave_a_database_of_before_to_the_usual_ones(tmp_path: Path) -> None:
    path = str(tmp_path / "cas.db")
    migrate(path, "0005")
    fill_before(path)
    assert quick_hosts(path) is None
    assert quick_candidates(path, ID) is None
    assert [str(host) for host in Store(path).registered_hosts()] == ["arm"]
    assert quick_hosts(path) == [*Store(path).hosts.all_hosts()]


def test_a_value_of_another_type_is_told_with_its_place(tmp_path: Path, store: Store) -> None:
    store.hosts.put_host(Host("arm", cpus=4))
    with sqlite3.connect(tmp_path / "cas.db") as connection:
        connection.execute("UPDATE hosts SET cpus = 'many'")  # which SQLite keeps
    connection.close()
    with pytest.raises(DatabaseDamaged, match=r"Expected `int \| null`, got `str` - at `\$\.cpus`"):
        store.registered_hosts()
