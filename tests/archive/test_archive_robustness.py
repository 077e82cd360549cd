"""The archive while its database, its disk or a run of it fails: nothing is lost, all is told."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cas.archive.annotation import with_property
from cas.archive.archive import Archive
from cas.archive.crash_index import IndexBehind
from cas.archive.record import info_of
from cas.database.store import Store

from installed import COMMANDS, Site, closed_port, needs

CLEAN = {"PYTHONDONTWRITEBYTECODE": "1"}
"""A program that is killed, or may not write, must not spoil ours."""
PURGE = ("-p", "-d", "0", "--unfinished", "--yes")


@pytest.fixture
def site(site: Site) -> Site:
    """One whose jobs wait for a kernel: they end in a moment, and their dumps are kept."""
    site.settings["debugs"] = str(site.directory / "debugs")
    site.settings["database"] = str(site.directory / "cas.db")
    return site


def archived(site: Site, vmcore: Path, ticket: str = "T-1") -> str:
    """The id of a dump's crash, once a job has brought it into the archive."""
    done = site.cas("-i", ticket, "-f", vmcore)
    assert done.returncode == 6, done.stderr
    return site.cas("object", vmcore).stdout.strip()


def traced(site: Site, how: list[str], command: list[str]) -> subprocess.CompletedProcess[str]:
    """A command that strace(1) disturbs."""
    return subprocess.run(
        [needs("strace"), "-qq", "-o", "/dev/null", *how, *command],
        env=site.prepared() | CLEAN,
        capture_output=True,
        text=True,
        check=False,
    )


def record(site: Site, crash_id: str) -> Path:
    return site.jobs / ".archive" / "objects" / crash_id[:2] / crash_id / "info.json"


def test_what_is_said_while_the_database_is_locked_is_there_when_it_is_not(
    site: Site, small: Path
) -> None:
    crash_id = archived(site, small)
    config = site.world().config
    archive = Archive.of(config, Store(config.database, timeout_s=0.1))
    archive.store.open()
    with sqlite3.connect(config.database, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert site.cas("report").stdout == "1\n"  # who only reads is not kept waiting
        with pytest.raises(IndexBehind) as raised, archive.changing(crash_id) as draft:
            draft.info = with_property(draft.info, "triage", "bmc")
        assert raised.value.exit_code == 75
        assert "locked" in str(raised.value)
        other.execute("ROLLBACK")
    other.close()
    assert info_of(record(site, crash_id).read_bytes()).properties == {"triage": "bmc"}
    assert site.cas("report", "triage=bmc").stdout == "1\n"
    assert list((site.jobs / ".archive" / "unindexed").iterdir()) == []


def test_with_a_change_still_to_be_entered_a_damaged_database_is_told_as_such(
    site: Site, small: Path
) -> None:
    crash_id = archived(site, small)
    before = record(site, crash_id).read_bytes()
    Archive.of(site.world().config).index.note_change(crash_id)
    Path(site.settings["database"]).write_bytes(b"garbage" * 1000)
    for words in (("ls",), ("set", crash_id, "triage", "bmc")):
        done = site.cas(*words)
        assert done.returncode == 4, done.stderr
        assert "is recorded" not in done.stderr
        assert "run: cas-admin index" in done.stderr
    assert record(site, crash_id).read_bytes() == before


@pytest.mark.long
def test_a_job_that_ends_while_the_database_is_locked_is_listed_afterwards(
    site: Site, small: Path
) -> None:
    """It waits a minute for each of its two rows."""
    assert site.cas("ls").returncode == 0
    with sqlite3.connect(site.settings["database"], isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        crash_id = archived(site, small)
        other.execute("ROLLBACK")
    other.close()
    assert info_of(record(site, crash_id).read_bytes()).tickets == ("T-1",)
    assert site.cas("ls").stdout.splitlines()[1].startswith(crash_id[:16])


def test_a_database_that_cannot_be_reached_is_told_and_nothing_changes(
    site: Site, small: Path
) -> None:
    crash_id = archived(site, small)
    before = record(site, crash_id).read_bytes()
    site.settings["database"] = f"postgresql://cas@127.0.0.1:{closed_port()}/cas"
    for words in (
        ("ls",),
        ("info", crash_id),
        ("report",),
        ("set", crash_id, "a", "b"),
        ("ticket", crash_id, "T-2"),
        ("hold", crash_id),
    ):
        done = site.cas(*words)
        assert done.returncode == 75, words
        assert done.stderr.startswith("! database "), done.stderr
    assert record(site, crash_id).read_bytes() == before


def test_a_full_disk_leaves_the_record_as_it_was(site: Site, small: Path) -> None:
    crash_id = archived(site, small)
    before = record(site, crash_id).read_bytes()
    part = record(site, crash_id).with_name(".info.json.part")
    command = [sys.executable, str(COMMANDS / "cas"), "set", crash_id, "a", "b"]
    done = traced(site, ["-P", str(part), "-e", "inject=write:error=ENOSPC"], command)
    assert done.returncode == 75, done.stderr
    assert "no room for info.json in " in done.stderr
    assert record(site, crash_id).read_bytes() == before
    assert site.cas("set", crash_id, "a", "x").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_an_archive_that_cannot_be_written_is_read(site: Site, small: Path) -> None:
    crash_id = archived(site, small)
    place = site.jobs / ".archive"
    script = (
        f"mount --bind {place} {place} && mount -o remount,ro,bind {place} && "
        f"{COMMANDS}/cas ls && {COMMANDS}/cas info {crash_id} >/dev/null && "
        f"{COMMANDS}/cas set {crash_id} a b"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env=site.prepared() | CLEAN,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(done.stderr)
    assert crash_id[:16] in done.stdout
    assert done.returncode == 2
    assert "Read-only file system" in done.stderr
    assert "mount the file system for writing" in done.stderr


def outputs(site: Site, *ids: str) -> list[str]:
    calls = [("ls",), ("ls", "presence", "hold", "triage"), ("report", "presence")]
    calls += [("info", f"id={each}") for each in ids]
    return [site.cas(*words).stdout for words in calls]


@pytest.mark.long
def test_the_index_made_anew_prints_the_same_of_what_was_purged_ticketed_and_held(
    site: Site, vmcore_b: Path, vmcore: Path
) -> None:
    purged = archived(site, vmcore_b, "T-1")
    assert site.cas("set", purged, "triage", "bmc").returncode == 0
    assert site.admin(*PURGE).returncode == 0
    held = archived(site, vmcore, "T-2")
    assert site.cas("ticket", held, "KEEP").returncode == 0
    assert site.cas("hold", held, "for the audit").returncode == 0
    before = outputs(site, purged, held)
    for file in site.directory.glob("cas.db*"):
        file.unlink()
    assert site.admin("index").returncode == 0
    assert outputs(site, purged, held) == before


def test_a_job_that_was_removed_by_hand_leaves_its_crash_with_the_next_index(
    site: Site, small: Path
) -> None:
    crash_id = archived(site, small, "T-1")
    archived(site, small, "T-2")
    shutil.rmtree(site.jobs / "T-1")
    assert site.admin("index").returncode == 0
    found = json.loads(site.cas("info", crash_id).stdout)
    assert (found["tickets"], found["presence"]) == (["T-2"], "here")
    assert [name.partition("/")[0] for name in found["jobs"]] == ["T-2"]
    assert site.admin("check").returncode == 0


def test_jobs_of_a_work_directory_that_is_not_mounted_stay_in_their_crashes(
    site: Site, vmcore_b: Path
) -> None:
    site.settings["store"] = str(site.directory / "store")
    crash_id = archived(site, vmcore_b)
    before = site.cas("info", crash_id).stdout
    away = site.jobs.rename(site.directory / "away")
    site.jobs.mkdir(mode=0o700)
    done = site.admin("index")
    assert f"{site.jobs} has no job, and 1 crash names some, which are kept" in done.stderr
    site.jobs.rmdir()
    away.rename(site.jobs)
    done = site.admin("index")
    assert "is it mounted?" not in done.stderr
    assert site.cas("info", crash_id).stdout == before


@pytest.mark.parametrize("at", [("link", 1), pytest.param(("rename", 2), marks=pytest.mark.long)])
def test_old_jobs_are_taken_over_by_the_run_after_one_that_was_killed(
    site: Site, vmcore_b: Path, at: tuple[str, int]
) -> None:
    for ticket in ("T-1", "T-2"):
        crash_id = archived(site, vmcore_b, ticket)
    before = site.cas("info", f"id={crash_id}").stdout
    shutil.rmtree(site.jobs / ".archive")
    call, number = at
    command = [sys.executable, str(COMMANDS / "cas-admin"), "index"]
    killed = traced(site, ["-e", f"inject={call}:signal=SIGKILL:when={number}"], command)
    assert killed.returncode == -9, killed.stderr
    assert site.admin("index").returncode == 0
    (dump,) = (record(site, crash_id).parent / "files").iterdir()
    assert dump.stat().st_nlink == 3
    there, was = (json.loads(text) for text in (site.cas("info", crash_id).stdout, before))
    assert (there["jobs"], there["stack"]) == (was["jobs"], was["stack"])
    assert site.admin("check").returncode == 0
