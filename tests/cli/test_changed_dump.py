"""A dump that is not what was received any more, or was still written when it was read."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_crash import opened

from installed import FIXTURES, Site

VMCORE = FIXTURES / "b" / "vmcore.kdump"
(RPM,) = (FIXTURES / "b").glob("*.rpm")
CHANGED = "has another content than was received"


@pytest.fixture
def drgn(site: Site) -> Site:
    """A site without packages and kernels, on which drgn does everything."""
    site.settings |= {"engine": "drgn", "debugs": str(site.directory / "debugs")}
    site.keep_snippets("sys")
    return site


def change(path: Path) -> None:
    """Change one bit of the dump's last page, which no debugger looks at."""
    with path.open("r+b") as file:
        file.seek(-2000, 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


@pytest.fixture
def waiting_b(site: Site, put_waiting: Callable[[Site, str], Site]) -> Site:
    """A site with the job T-1 on that dump, whose kernel nobody has."""
    return put_waiting(site, "b")


def test_a_waiting_job_does_not_go_on_with_another_dump(waiting_b: Site) -> None:
    drgn = waiting_b
    job = drgn.job("T-1")
    change(job / "vmcore" / "vmcore.kdump")
    shutil.copy(RPM, drgn.settings["kernels"])
    done = drgn.admin("-b")
    assert f"failed {job}\n" in done.stdout
    result = drgn.result("T-1")
    assert (result["verdict"], result["stage"]) == ("failed", "stored")
    assert f"vmcore.kdump {CHANGED}: 2,897,973 bytes, sha256" in result["reason"]
    assert "cas -i ID -f FILE" in result["hint"]
    assert (result["answer"], result["dump"], result["sections"]) == (None, None, [])
    assert {path.name for path in job.iterdir() if not path.name.startswith(".")} == {
        "T-1.log",
        "job.json",
        "report.html",
        "report.txt",
        "result.json",
        "vmcore",
    }
    checked = drgn.admin("check")
    assert "vmcore.kdump has another content than was sealed" in checked.stdout


def test_a_dump_that_is_gone_is_said(waiting_b: Site) -> None:
    (waiting_b.job("T-1") / "vmcore" / "vmcore.kdump").unlink()
    done = waiting_b.cas("-i", "T-1")
    assert done.returncode == 4
    assert "vmcore.kdump is gone, which was received and kept" in done.stderr


def test_an_upload_that_is_still_written_is_not_taken(drgn: Site, tmp_path: Path) -> None:
    upload, is_over = tmp_path / "upload", threading.Event()
    # on a busy machine the writer may have no turn while a plain file is copied
    shutil.copy(FIXTURES / "a" / "vmcore.elf.xz", upload)

    def write_on() -> None:
        with upload.open("ab", buffering=0) as file:
            while not is_over.is_set():
                file.write(b"more")

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        done = drgn.cas("-i", "T-1", "-f", upload)
    finally:
        is_over.set()
        writer.join()
    assert done.returncode == 4
    assert f"{upload} changed while it was read, from " in done.stderr
    assert "wait until it is written to its end" in done.stderr


def test_a_debugger_gets_another_dump_only_by_force(own_finished: Site) -> None:
    drgn = own_finished
    crash = drgn.directory / "crash"
    crash.write_text(f'#!/bin/sh\n{opened()}opened "$@"; echo told\n')
    crash.chmod(0o755)
    drgn.settings["crash"] = str(crash)
    vmcore = drgn.job("T-1") / "vmcore" / "vmcore.elf"
    words = ("debug", "T-1", "--engine", "crash", "-c", "sys -t")
    vmcore.touch()
    assert drgn.cas(*words).returncode == 0
    change(vmcore)
    refused = drgn.cas(*words)
    assert (refused.returncode, refused.stdout) == (5, "")
    assert CHANGED in refused.stderr
    assert "add --force" in refused.stderr
    forced = drgn.cas(*words, "--force")
    assert (forced.returncode, forced.stdout) == (0, "told\n")
    assert "debugs another dump by --force" in (drgn.job("T-1") / "T-1.log").read_text()
    assert json.loads((drgn.job("T-1") / "job.json").read_text())["verdict"] == "complete"
