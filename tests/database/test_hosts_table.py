"""Analysis hosts in the database."""

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from postgresql import on_both

from cas.database.connection import MIGRATIONS, Database
from cas.database.records import Crashed
from cas.database.store import Store
from cas.model.host import CrashProgram, Host

NOW = datetime(2026, 11, 21, 8, 41, 20, tzinfo=UTC)
ARM = Host(
    "arm-03",
    2222,
    is_enabled=False,
    problem="it has no flock: install util-linux there",
    checked=NOW,
    arch="aarch64",
    crashes=(CrashProgram("/usr/bin/crash", "8.0.2", "aarch64"),),
    drgn="0.3.0",
    cpus=96,
    memory_bytes=1 << 40,
    free_bytes=1 << 45,
    is_shared=True,
    host_key="ssh-ed25519 SHA256:x",
    remarks=("/opt/crash/bin/crash-arm hangs",),
)


@on_both
def test_a_host_comes_back_with_all_its_facts(store: Store) -> None:
    swept = Host("db01", is_swept=True)
    for host in (ARM, swept):
        store.hosts.put_host(host)
    assert store.registered_hosts() == (ARM, swept)
    assert store.hosts.all_hosts() == (ARM, swept)


def test_hosts_come_by_name_and_port(store: Store) -> None:
    for host in (Host("b", 2), Host("a"), Host("b"), Host("b", 1)):
        store.hosts.put_host(host)
    assert list(map(str, store.registered_hosts())) == ["a", "b", "b:1", "b:2"]


@pytest.mark.parametrize("port", [None, 22])
def test_a_host_is_registered_once(store: Store, port: int | None) -> None:
    for arch in ("x86_64", "aarch64"):
        store.hosts.put_host(Host("arm-03", port, arch=arch))
    assert store.registered_hosts() == (Host("arm-03", port, arch="aarch64"),)


@pytest.mark.parametrize("port", [None, 22])
def test_the_database_itself_has_a_host_once(
    tmp_path: Path, store: Store, port: int | None
) -> None:
    store.hosts.put_host(Host("arm-03", port))
    with (
        sqlite3.connect(tmp_path / "cas.db") as connection,
        pytest.raises(sqlite3.IntegrityError, match="UNIQUE"),
    ):
        connection.execute(
            "INSERT INTO hosts (name, port, is_enabled, crashes, is_shared, remarks)"
            " SELECT name, port, 1, '[]', 0, '[]' FROM hosts"
        )


def test_renewed_facts_neither_enable_a_host_nor_bring_it_back(store: Store) -> None:
    before = replace(ARM, is_enabled=True)
    store.hosts.put_host(before)
    assert store.hosts.enable_host("arm-03", 2222, is_enabled=False)
    assert store.hosts.renew_host(replace(before, problem=None))
    assert store.registered_hosts() == (replace(before, problem=None, is_enabled=False),)
    assert store.hosts.remove_host("arm-03", 2222)
    assert not store.hosts.renew_host(before)
    assert store.registered_hosts() == ()


def test_only_the_named_port_is_removed(store: Store) -> None:
    store.hosts.put_host(Host("a"))
    store.hosts.put_host(Host("a", 2222))
    assert store.hosts.remove_host("a", None)
    assert not store.hosts.remove_host("a", None)
    assert store.registered_hosts() == (Host("a", 2222),)


def test_a_time_of_another_zone_is_the_same_instant(store: Store) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    store.hosts.put_host(replace(ARM, checked=there))
    (host,) = store.registered_hosts()
    assert host.checked == NOW


def test_a_database_of_the_first_version_gets_the_table_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "cas.db"
    directory = Path("/cores/T-1/0")
    with Database(str(path), 1).migrating() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    with sqlite3.connect(path) as old:
        assert not old.execute("SELECT * FROM sqlite_master WHERE name = 'hosts'").fetchall()
        columns = "(ticket, directory, started, verdict, signature)"
        old.execute(
            f"INSERT INTO jobs {columns} VALUES (?, ?, ?, ?, ?)",  # noqa: S608
            ("T-1", str(directory), "2026-11-21 08:41:20", "complete", "s"),
        )
    store = Store(path)
    store.hosts.put_host(ARM)
    assert store.registered_hosts() == (ARM,)
    assert store.jobs.seen(Crashed("T-2", Path("/"), former="s")).tickets == ("T-1",)
