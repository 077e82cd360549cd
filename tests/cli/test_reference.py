"""``storage = reference``: a plain dump stays where it is, for good."""

from __future__ import annotations

import json
import lzma
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cas.dump import identify

from installed import FIXTURES, Site


@pytest.fixture
def referring(site_b: Site) -> Site:
    site_b.settings |= {"storage": "reference", "engine": "drgn"}
    site_b.keep_snippets("sys")
    return site_b


@pytest.fixture
def upload(tmp_path: Path, vmcore_b: Path) -> Path:
    (tmp_path / "up").mkdir()
    return Path(shutil.copy(vmcore_b, tmp_path / "up" / "vmcore"))


def test_a_plain_dump_stays_where_it_is(referring: Site, upload: Path, tmp_path: Path) -> None:
    """Through a link; what the job knows of it, each command that opens it, and its end."""
    link = tmp_path / "link"
    link.symlink_to(upload)
    inode, mode, content = upload.stat().st_ino, upload.stat().st_mode, upload.read_bytes()
    done = referring.cas("-i", "T-1", "-f", link)
    assert done.returncode == 0, done.stderr
    assert f"the dump stays where it is, the job has no copy of it: {upload} (" in done.stderr
    job = referring.job("T-1")
    assert not (job / "vmcore").exists()
    record, result = json.loads((job / "job.json").read_text()), referring.result("T-1")
    there = record["stored"]["vmcore"]
    assert (there["path"], there["size_bytes"]) == (str(upload), len(content))
    assert there["digest"].startswith("sha256")
    assert (result["reference"], result["dump"]["path"]) == (there, str(upload))
    assert result["verdict"] == "complete"
    debugged = referring.cas("debug", "T-1", "-c", "sys")
    assert "PANIC" in debugged.stdout
    assert "Comparing the dump" not in debugged.stderr
    assert f"last job: cas identify {upload}\n" in referring.cas("identify", "T-1").stderr
    before = {path.name: path.read_bytes() for path in job.iterdir() if path.is_file()}
    assert referring.admin("reprocess", "T-1").returncode == 0
    assert {path.name: path.read_bytes() for path in job.iterdir() if path.is_file()} == before
    assert referring.admin("check").returncode == 0
    assert referring.admin("-p", "-d", "0", "--yes").returncode == 0
    assert not job.exists()
    state = upload.stat()
    assert (state.st_ino, state.st_mode, state.st_nlink) == (inode, mode, 1)
    assert upload.read_bytes() == content


@pytest.mark.long
def test_a_dump_that_a_job_needs_where_it_is_is_not_moved(referring: Site, upload: Path) -> None:
    assert referring.cas("-i", "T-1", "-f", upload).returncode == 0
    done = referring.cas("-i", "T-2", "-f", upload, "--take")
    assert done.returncode == 0, done.stderr
    why = f"it is the dump of {referring.job('T-1')}, which has no copy of it"
    assert f"{upload} was copied and stays where it is: {why}" in done.stderr
    assert (referring.job("T-2") / "vmcore" / "vmcore").read_bytes() == upload.read_bytes()
    assert referring.admin("check").returncode == 0


def test_of_a_dump_that_was_changed_nothing_is_believed_and_a_missing_one_is_told(
    referring: Site, upload: Path
) -> None:
    shutil.copy2(upload, upload.with_name("whole"))
    assert referring.cas("-i", "T-1", "-f", upload).returncode == 0
    words = ("debug", "T-1", "-c", "sys -t")
    upload.touch()
    assert referring.cas(*words).returncode == 0
    times = upload.stat()
    with upload.open("r+b") as file:
        file.seek(-2000, 2)
        file.write(b"another content")
    os.utime(upload, ns=(times.st_atime_ns, times.st_mtime_ns))
    refused = referring.cas(*words)
    assert (refused.returncode, refused.stdout) == (5, "")
    assert f"{upload} has another content than was received" in refused.stderr
    assert (
        f"its dump {upload} has another content than was sealed" in referring.admin("check").stdout
    )
    upload.unlink()
    told = f"has no dump any more: {upload}, where it was to stay, is missing"
    gone = referring.cas(*words)
    assert (gone.returncode, gone.stdout) == (2, "")
    assert told in gone.stderr
    assert "put it back, or mount its file system" in gone.stderr
    checked = referring.admin("check")
    assert checked.returncode != 0
    assert told in checked.stdout
    upload.with_name("whole").rename(upload)
    assert referring.cas(*words).returncode == 0
    assert referring.admin("check").returncode == 0


def test_a_waiting_job_goes_on_once_its_dump_is_there_again(
    site: Site, tmp_path: Path, catalogued: Callable[[Site, str], Site]
) -> None:
    upload = Path(shutil.copy(FIXTURES / "b" / "vmcore.kdump", tmp_path))
    shared = site.settings["debugs"]
    site.settings |= {"storage": "reference", "engine": "drgn", "debugs": str(tmp_path / "debugs")}
    site.keep_snippets("sys")
    assert site.cas("-i", "T-1", "-f", upload).returncode == 6
    site.settings["debugs"] = shared
    upload.rename(tmp_path / "away")
    (rpm,) = (FIXTURES / "b").glob("*.rpm")
    shutil.copy(rpm, site.settings["kernels"])
    done = site.admin("-b")
    assert f"{upload}, where it was to stay, is missing" in done.stderr
    assert site.result("T-1")["verdict"] == "interrupted"
    (tmp_path / "away").rename(upload)
    done = site.cas("-i", "T-1")
    assert done.returncode == 0, done.stderr
    assert site.result("T-1")["dump"]["path"] == str(upload)


def test_what_is_packed_or_split_or_a_kernel_log_is_the_jobs_own(
    referring: Site, upload: Path, tmp_path: Path
) -> None:
    """Nobody knows a kernel here: none of them needs its debugger."""
    referring.settings["database"] = str(tmp_path / "other.db")
    referring.settings["debugs"] = str(tmp_path / "debugs")
    log = tmp_path / "console.log"
    log.write_text(identify(upload).dmesg or "")
    assert referring.cas("-i", "T-1", "-f", log).returncode == 3
    assert (referring.job("T-1") / "vmcore" / "console.log").is_file()
    packed = tmp_path / "packed.xz"
    packed.write_bytes(lzma.compress(upload.read_bytes(), preset=0))
    done = referring.cas("-i", "T-2", "-f", packed)
    assert done.returncode == 6, done.stderr
    assert (referring.job("T-2") / "vmcore" / "packed").is_file()
    done = referring.cas("-i", "T-3", "-f", referring.job("T-2") / "vmcore" / "packed")
    assert "copied and stays where it is: it belongs to another job" in done.stderr
    assert (referring.job("T-3") / "vmcore" / "packed").is_file()
    odd = shutil.copy(upload, tmp_path / "of a customer")
    done = referring.cas("-i", "T-5", "-f", odd)
    assert "its path has characters that not every debugger takes" in done.stderr
    done = referring.cas("-i", "T-4", "-f", upload, "--take")
    assert f"{upload} was moved to {referring.job('T-4')}/vmcore/vmcore" in done.stderr
