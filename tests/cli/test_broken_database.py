"""A broken index costs no result, and `cas-admin index` mends it."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from cas.database.store import Store
from cas.model.host import Host

from installed import Site, closed_port

WAITING = 6


@pytest.fixture
def bare(site: Site) -> Site:
    """A site that knows no kernel."""
    site.settings["debugs"] = str(site.directory / "debugs")
    return site


def execute(site: Site, statement: str) -> None:
    with closing(sqlite3.connect(site.settings["database"])) as connection:
        connection.executescript(statement)


def damage(site: Site, table: str) -> None:
    """Overwrite the first page of a table."""
    path = Path(site.settings["database"])
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (page,) = connection.execute(query, (table,)).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


def reported(done: subprocess.CompletedProcess[str], site: Site, ticket: str) -> str:
    """What was said, where the report is there and nothing came of it that is no sentence."""
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert "NULL pointer dereference" in (site.job(ticket) / "report.txt").read_text()
    return done.stderr


def test_a_damaged_database_costs_no_result_and_is_mended(
    site_b: Site, vmcore_b: Path, shared: Path
) -> None:
    site_b.settings |= {"engine": "drgn", "debugs": str(site_b.directory / "debugs")}
    site_b.keep_snippets("sys")
    Store(site_b.settings["database"]).hosts.put_host(Host("arm", 22, is_enabled=False))
    damage(site_b, "kernels")
    said = reported(done := site_b.cas("-i", "T-1", "-f", vmcore_b), site_b, "T-1")
    assert done.returncode == WAITING
    assert "kernels cannot be looked up: database" in said
    assert "malformed" in said
    assert "→ run: cas-admin index" in said
    assert site_b.result("T-1")["verdict"] == "waiting"

    checked = site_b.admin("check")
    assert checked.returncode == 4
    assert "cas.db: is damaged" in checked.stdout
    assert "run: cas-admin index, then: cas-admin -b" in checked.stdout
    assert "cas-admin index" in site_b.admin("-b").stderr

    damaged = Path(site_b.settings["database"]).read_bytes()
    done = site_b.admin("index")
    assert (done.returncode, done.stdout) == (0, "1 job entered\n")
    (aside,) = site_b.directory.glob("cas.db.damaged-*[0-9]")
    assert aside.read_bytes() == damaged
    assert f"the damaged file is kept as {aside}" in done.stderr
    assert "1 registered analysis host taken over" in done.stderr
    assert "run: cas-admin -b" in done.stderr
    assert "arm" in [host.name for host in Store(site_b.settings["database"]).registered_hosts()]
    site_b.settings["debugs"] = str(shared / "debugs")
    assert f"complete {site_b.job('T-1')}" in site_b.admin("-b").stdout
    assert site_b.admin("check").returncode == 0

    # with a kernel that was extracted before, a job needs no catalogue
    Path(site_b.settings["database"]).write_bytes(bytes(9000))
    said = reported(done := site_b.cas("-i", "T-2", "-f", vmcore_b), site_b, "T-2")
    assert (done.returncode, done.stdout) == (0, f"{site_b.job('T-2')}\n")
    assert "whether packages contradict the extracted kernel is not known" in said
    assert "similar crashes cannot be looked up" in said
    assert "later run: cas-admin index" in said
    assert any("is not known" in remark for remark in site_b.result("T-2")["remarks"])
    done = site_b.admin("index")
    assert (done.returncode, done.stdout) == (3, "2 jobs entered\n")
    assert "the registered analysis hosts may be lost" in done.stderr


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("DROP TABLE jobs", marks=pytest.mark.long),
        "CREATE TRIGGER t BEFORE INSERT ON jobs BEGIN SELECT RAISE(ABORT, 'not today'); END",
    ],
)
def test_a_job_that_cannot_be_entered_has_its_report(
    bare: Site, vmcore_b: Path, statement: str
) -> None:
    Store(bare.settings["database"]).open()
    execute(bare, statement)
    said = reported(done := bare.cas("-i", "T-1", "-f", vmcore_b), bare, "T-1")
    assert done.returncode == WAITING
    assert "the job is not in the index: database" in said
    assert "later run: cas-admin index" in said
    if "DROP" in statement:
        done = bare.admin("index")
        assert (done.returncode, done.stdout) == (0, "1 job entered\n")
        assert "lacks jobs" in done.stderr
    else:
        assert "not today" in bare.admin("index").stderr
        execute(bare, "DROP TRIGGER t")
        assert bare.admin("index").returncode == 0
    assert bare.admin("check").returncode == 0


def test_a_broken_database_is_said_in_full_once(bare: Site) -> None:
    Path(bare.settings["database"]).write_bytes(b"SQLite format 3\0" + b"\xff" * 8192)
    done = bare.admin("status")
    assert done.returncode == 3
    assert done.stdout.count("run: cas-admin index") == 1
    assert "HOSTS\n  ! the same as of PACKAGES\n" in done.stdout


def test_a_file_that_is_none_of_ours_stays_where_it_is(bare: Site) -> None:
    letter = bare.directory / "letter"
    letter.write_text("Dear support,\n" * 500)
    bare.settings["database"] = str(letter)
    done = bare.admin("index")
    assert done.returncode == 2
    assert "nothing in it shows that it is one of cas" in done.stderr
    assert letter.read_text() == "Dear support,\n" * 500


@pytest.mark.parametrize("how", [pytest.param("closed", marks=pytest.mark.long), "silent"])
def test_a_server_that_is_not_there_leaves_a_report_and_a_job_to_go_on_with(
    bare: Site, vmcore_b: Path, how: str
) -> None:
    known = bare.settings["database"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = closed_port() if how == "closed" else silent.getsockname()[1]
        url = f"postgresql://cas@127.0.0.1:{port}/cas?connect_timeout=2"
        bare.settings["database"] = url
        begun = time.monotonic()
        said = reported(done := bare.cas("-i", "T-1", "-f", vmcore_b), bare, "T-1")
        assert time.monotonic() - begun < 30
    assert done.returncode == 75
    assert f"127.0.0.1:{port}" in said
    assert "later run: cas-admin index" in said
    record = json.loads((bare.job("T-1") / "job.json").read_text())
    assert record["verdict"] == bare.result("T-1")["verdict"] == "interrupted"
    bare.settings["database"] = known
    assert bare.cas("-i", "T-1").returncode == WAITING
