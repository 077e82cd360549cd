"""Analysis hosts in the database."""

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from postgresql import on_both

from cas.catalogue import Catalogue, Crashed
from cas.database.connection import MIGRATIONS, Database
from cas.model import CrashProgram, Host

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
def test_a_host_comes_back_with_all_its_facts(catalogue: Catalogue) -> None:
    catalogue.put_host(ARM)
    assert catalogue.hosts() == (ARM,)


def test_hosts_come_by_name_and_port(catalogue: Catalogue) -> None:
    for host in (Host("b", 2), Host("a"), Host("b"), Host("b", 1)):
        catalogue.put_host(host)
    assert list(map(str, catalogue.hosts())) == ["a", "b", "b:1", "b:2"]


@pytest.mark.parametrize("port", [None, 22])
def test_a_host_is_registered_once(catalogue: Catalogue, port: int | None) -> None:
    for arch in ("x86_64", "aarch64"):
        catalogue.put_host(Host("arm-03", port, arch=arch))
    assert catalogue.hosts() == (Host("arm-03", port, arch="aarch64"),)


@pytest.mark.parametrize("port", [None, 22])
def test_the_database_itself_has_a_host_once(
    tmp_path: Path, catalogue: Catalogue, port: int | None
) -> None:
    catalogue.put_host(Host("arm-03", port))
    with (
        sqlite3.connect(tmp_path / "cas.db") as connection,
        pytest.raises(sqlite3.IntegrityError, match="UNIQUE"),
    ):
        connection.execute(
            "INSERT INTO hosts (name, port, is_enabled, crashes, is_shared, remarks)"
            " SELECT name, port, 1, '[]', 0, '[]' FROM hosts"
        )


def test_renewed_facts_neither_enable_a_host_nor_bring_it_back(catalogue: Catalogue) -> None:
    before = replace(ARM, is_enabled=True)
    catalogue.put_host(before)
    assert catalogue.enable_host("arm-03", 2222, is_enabled=False)
    assert catalogue.renew_host(replace(before, problem=None))
    assert catalogue.hosts() == (replace(before, problem=None, is_enabled=False),)
    assert catalogue.remove_host("arm-03", 2222)
    assert not catalogue.renew_host(before)
    assert catalogue.hosts() == ()


def test_only_the_named_port_is_removed(catalogue: Catalogue) -> None:
    catalogue.put_host(Host("a"))
    catalogue.put_host(Host("a", 2222))
    assert catalogue.remove_host("a", None)
    assert not catalogue.remove_host("a", None)
    assert catalogue.hosts() == (Host("a", 2222),)


def test_a_time_of_another_zone_is_the_same_instant(catalogue: Catalogue) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    catalogue.put_host(replace(ARM, checked=there))
    (host,) = catalogue.hosts()
    assert host.checked == NOW


def test_a_database_of_the_first_version_gets_the_table_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "cas.db"
    directory = Path("/cores/T-1/0")
    with Database(str(path), 1).writing() as connection:
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
    catalogue = Catalogue(path)
    catalogue.put_host(ARM)
    assert catalogue.hosts() == (ARM,)
    assert catalogue.seen(Crashed("T-2", Path("/"), former="s")).tickets == ("T-1",)
