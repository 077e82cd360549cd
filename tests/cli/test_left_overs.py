"""What stopped runs leave: nothing in TMPDIR, and records that say one thing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from cas.supervise import scratch

from installed import COMMANDS, Site, few_of

WAITING = 6


@pytest.fixture
def temporary(site: Site) -> Path:
    """Where the site's runs have their temporary directories."""
    site.settings["debugs"] = str(site.directory / "debugs")
    directory = site.directory / "tmp"
    directory.mkdir()
    site.environment["TMPDIR"] = str(directory)
    return directory


def age(path: Path) -> None:
    """Let a directory be older than any that is just being made."""
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))


def test_the_next_run_removes_what_a_killed_one_left_and_nothing_else(
    site: Site, vmcore_b: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.start("cas", "-i", "T-1", "-f", vmcore_b) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Reading the dump" in line:
                process.kill()
    (left,) = temporary.iterdir()
    assert re.fullmatch(r"cas-room-[a-z0-9_]{8}", left.name)

    foreign = [temporary / name for name in ("cas-room-12", "cas-room-ABCDEFGH", "room-12345678")]
    open_to_others = temporary / "cas-room-87654321"
    for directory in (*foreign, open_to_others):
        directory.mkdir(mode=0o700)
    open_to_others.chmod(0o755)
    young = temporary / "cas-room-aaaaaaaa"
    young.mkdir(mode=0o700)
    target = site.directory / "elsewhere"
    target.mkdir(mode=0o700)
    (target / "kept").touch()
    link = temporary / "cas-room-bbbbbbbb"
    link.symlink_to(target)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with scratch() as in_use:
        for directory in (left, *foreign, open_to_others, target, in_use):
            age(directory)
        assert site.cas("-i", "T-1").returncode == WAITING
        there = {*foreign, open_to_others, young, link, in_use}
        assert set(temporary.iterdir()) == there
        assert (target / "kept").exists()


SHORTAGES = {
    "bytearray(1 << 60)": "there is not enough memory",
    'raise RuntimeError("can\'t start new thread")': "no more threads can be started",
    "[open('/dev/null') for _ in range(10**6)]": "Too many open files",
}


@pytest.mark.parametrize("shortage", few_of(SHORTAGES, {"bytearray(1 << 60)"}))
def test_a_shortage_is_named_and_the_job_can_be_gone_on_with(
    site: Site, vmcore_b: Path, temporary: Path, shortage: str
) -> None:
    site.environment["PYTHONPATH"] = str(site.directory)
    run_short_of(site, shortage)
    done = site.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 75
    assert SHORTAGES[shortage] in done.stderr
    assert "ulimit -v unlimited" in done.stderr
    assert "internal error" not in done.stderr
    del site.environment["PYTHONPATH"]
    assert site.cas("-i", "T-1").returncode == WAITING


def run_short_of(site: Site, shortage: str) -> None:
    """Have every command meet a shortage when it loads SQLAlchemy."""
    (site.directory / "sitecustomize.py").write_text(
        f"""
import sys

class Finder:
    def find_spec(name, path=None, target=None):
        if name == "sqlalchemy":
            {shortage}

sys.meta_path.insert(0, Finder)
"""
    )


@pytest.mark.long
def test_a_limit_on_files_is_not_blamed_on_the_disk(
    site: Site, vmcore: Path, temporary: Path
) -> None:
    done = subprocess.run(
        [
            *("bash", "-c", 'ulimit -f 4096; exec "$0" "$@"', COMMANDS / "cas"),
            *("-i", "T-1", "-f", vmcore),
        ],
        env=site.prepared(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 75
    assert "is larger than this process may make a file: 4.0 MiB" in done.stderr
    assert "ulimit -f unlimited" in done.stderr
    assert done.stderr.endswith("then run: cas -i T-1\n")
    assert "* interrupted, exit status 75\n" in done.stderr
    assert done.stdout == f"{site.job('T-1')}\n"
    assert "no room" not in done.stderr
    assert list(temporary.iterdir()) == []
    record = json.loads((site.job("T-1") / "job.json").read_text())
    assert record["verdict"] == site.result("T-1")["verdict"] == "interrupted"
    assert "Verdict     interrupted" in (site.job("T-1") / "report.txt").read_text()
    done = site.admin("check")
    assert done.returncode == 0
    assert "was stopped on its way" in done.stdout
