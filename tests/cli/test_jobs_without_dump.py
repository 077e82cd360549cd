"""Jobs whose dump was purged from the archive: their reports stay, and they say so."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from cas.jobs.job import load_job

from installed import COMMANDS, Site

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
NOBODY = 65534
PURGE = ("purge", "--older", "0d", "--delete", "-v")


@pytest.fixture
def finished(own_finished: Site) -> Site:
    """A site with a job that has ended, whose dump is a second name of the archive's file."""
    (kept,) = own_finished.jobs.glob(".archive/objects/*/*/files/*")
    (dump,) = (own_finished.job("T-1") / "vmcore").iterdir()
    kept.unlink()
    os.link(dump, kept)
    return own_finished


def dumps(site: Site) -> list[Path]:
    return [
        *site.jobs.glob(".archive/objects/*/*/files/*"),
        *(site.job("T-1") / "vmcore").iterdir(),
    ]


def test_the_dump_goes_from_its_job_and_the_reports_stay(finished: Site) -> None:
    job = finished.job("T-1")
    (kept, dump), before = dumps(finished), job.stat().st_mtime_ns
    size_bytes = dump.stat().st_blocks * 512
    listed = json.loads(finished.admin("purge", "--older", "0d", "--json").stdout)
    assert listed["freed_bytes"] == size_bytes
    done = finished.admin(*PURGE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("MiB freed")
    assert not kept.exists()
    assert not dump.exists()
    assert load_job(job).dump_purged
    assert job.stat().st_mtime_ns == before  # it is no younger for -p
    assert finished.cas("show", "T-1").returncode == 0
    (crash_id,) = (path.name for path in finished.jobs.glob(".archive/objects/*/*"))
    info = json.loads(finished.cas("info", "T-1").stdout)
    assert (info["presence"], info["jobs"]) == ("purged", [f"T-1/{job.name}"])
    opened = finished.cas("debug", "T-1")
    assert opened.returncode == 2
    assert "has no dump any more: it was purged on " in opened.stderr
    assert "its reports are there" in opened.stderr
    assert finished.admin("check").returncode == 0, finished.admin("check").stdout
    assert finished.admin("reprocess", "T-1").returncode == 0
    assert load_job(job).dump_purged
    assert finished.admin("index").returncode == 0
    assert json.loads(finished.cas("info", crash_id).stdout)["presence"] == "purged"
    # also where the archive was lost, and the jobs alone tell of it
    shutil.rmtree(finished.jobs / ".archive")
    assert finished.admin("index").returncode == 0
    assert json.loads(finished.cas("info", crash_id).stdout)["presence"] == "purged"
    gone = finished.admin("-p", "-d", "0", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert not job.exists()


def test_a_job_in_which_somebody_works_keeps_the_dump(finished: Site) -> None:
    job = finished.job("T-1")
    with (job / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = finished.admin(*PURGE)
    assert done.returncode == 0
    assert f"stays: a run is working in the job T-1/{job.name}" in done.stdout
    assert len(dumps(finished)) == 2


def test_a_job_that_is_young_keeps_the_dump(finished: Site) -> None:
    done = finished.admin("purge", "--older", "1d", "--delete")
    assert done.stdout.splitlines() == ["1 crash stays: 1 not old enough", "0 bytes freed"]
    assert len(dumps(finished)) == 2


def test_a_job_that_is_not_ours_keeps_the_dump(finished: Site) -> None:
    job = finished.job("T-1")
    moved = finished.directory / "moved"
    job.rename(moved)
    job.symlink_to(moved)
    done = finished.admin(*PURGE)
    assert f"stays: the job T-1/{job.name} is left alone: a symbolic link" in done.stdout
    assert f"left alone in {finished.jobs}: T-1/{job.name}: a symbolic link" in done.stderr
    assert len(dumps(finished)) == 2


@AS_ROOT
def test_what_is_somebody_elses_stays(finished: Site) -> None:
    job, store = finished.job("T-1"), finished.jobs / ".archive"
    os.chown(job, NOBODY, NOBODY)
    done = finished.admin(*PURGE)
    who = f"belongs to {pwd.getpwuid(NOBODY).pw_name}"
    assert f"stays: the job T-1/{job.name} is left alone: {who}" in done.stdout
    os.chown(job, 0, 0)
    os.chown(store, NOBODY, NOBODY)
    done = finished.admin(*PURGE)
    assert (done.returncode, done.stdout) == (5, "")
    assert f"the archive {store} {who}" in done.stderr
    assert len(dumps(finished)) == 2


@AS_ROOT
def test_nothing_goes_of_a_job_in_which_something_is_mounted(finished: Site) -> None:
    job = finished.job("T-1")
    (job / "mnt").mkdir()
    script = f"mount -t tmpfs none {job}/mnt && exec {COMMANDS}/cas-admin {' '.join(PURGE)}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env=finished.prepared(),
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 4
    assert "something is mounted in it" in done.stderr
    assert "1 of 1 could not be removed" in done.stderr
    assert len(dumps(finished)) == 2


def test_what_lies_beside_the_dump_stays(finished: Site) -> None:
    job, precious = finished.job("T-1"), finished.directory / "precious"
    precious.write_text("somebody's")
    (job / "vmcore" / "notes.txt").write_text("mine")
    (job / "vmcore" / "link").symlink_to(precious)
    (kept,) = finished.jobs.glob(".archive/objects/*/*/files/*")
    beside = kept.with_name("f" * 64)
    beside.write_text("of nobody")
    assert finished.admin(*PURGE).returncode == 0
    assert {path.name for path in (job / "vmcore").iterdir()} == {"notes.txt", "link"}
    assert precious.read_text() == "somebody's"
    assert beside.exists()
    assert not kept.exists()


def test_a_job_that_waits_keeps_the_dump(waiting: Site) -> None:
    done = waiting.admin(*PURGE)
    assert done.returncode == 0
    assert "waits, was stopped or is under way\n" in done.stdout
    assert len(dumps(waiting)) == 2


def test_a_new_job_brings_the_dump_back(finished: Site, vmcore: Path) -> None:
    before = finished.job("T-1")
    assert finished.admin(*PURGE).returncode == 0
    assert finished.cas("upload", vmcore).returncode == 0
    info = json.loads(finished.cas("info", "T-1").stdout)
    assert info["presence"] == "here"
    assert not any((before / "vmcore").iterdir())
