"""Dumps on file systems that never answer, as of an NFS server that is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from silent_mount import silent

from installed import Site, few_of

BUSY = """#!/bin/sh
case $1 in --version) echo "crash 8.0.5"; exit;; esac
while :; do sleep 0.1; done
"""


@pytest.fixture
def upload(tmp_path: Path, vmcore_b: Path) -> Path:
    (tmp_path / "up").mkdir()
    return Path(shutil.copy(vmcore_b, tmp_path / "up" / "vmcore"))


@pytest.mark.long
def test_a_dump_that_does_not_answer_is_not_waited_for(site_b: Site, upload: Path) -> None:
    site_b.settings |= {"storage": "reference", "engine": "drgn"}
    assert site_b.cas("-i", "T-1", "-f", upload).returncode == 0
    job = site_b.job("T-1")
    with silent(upload.parent):
        began = site_b.start("cas", "-i", "T-2", "-f", upload)
        done = site_b.cas("debug", "T-1", "-c", "sys")
        assert done.returncode == 2
        assert f"{job} cannot read its dump, {upload}: no answer from the" in done.stderr
        _, said = began.communicate(timeout=120)
        assert began.returncode == 75
        assert f"{upload} cannot be read: no answer from the file system in 30 s" in said
    assert not (site_b.jobs / "T-2").exists()


@pytest.mark.parametrize("storage", few_of(("reference", "copy"), {"copy"}))
def test_a_run_ends_where_its_dump_falls_silent_but_goes_on_with_a_copy(
    site_b: Site, upload: Path, storage: str
) -> None:
    crash = site_b.directory / "crash"
    crash.write_text(BUSY)
    crash.chmod(0o755)
    site_b.settings |= {"storage": storage, "crash": str(crash), "engine": "auto"}
    site_b.settings |= {"watchdog": "0.5", "startTimeout": "20", "sandbox": "none"}
    site_b.keep_snippets("sys")
    running = site_b.start("cas", "-i", "T-1", "-f", upload)
    said = ""
    assert running.stderr
    for line in running.stderr:
        said += line
        if "Opening it with crash" in line:
            break
    with silent(upload.parent):
        _, rest = running.communicate(timeout=120)
    said += rest
    record = json.loads((site_b.job("T-1") / "job.json").read_text())
    if storage == "reference":
        assert running.returncode == 75, said
        told = f"{upload}: no answer from the file system in 5 s: the job stops here"
        assert f"{told}; when it answers again: cas -i T-1" in said
        assert (record["verdict"], record["stored"]) == (None, None)
        del site_b.settings["crash"]
        site_b.settings |= {"engine": "drgn", "watchdog": "30"}
        done = site_b.cas("-i", "T-1")
        assert done.returncode == 0, done.stderr
    else:
        assert running.returncode == 0, said
        assert "the file system of the upload does not answer any more: the copy was read" in said
        assert record["verdict"] == "complete"
