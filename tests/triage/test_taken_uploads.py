"""``--take``: a plain dump is moved into its job, or copied with a sentence why."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cas.intake.taking import why_copied
from cas.jobs.work_directory import STATE

from installed import Site


@pytest.fixture
def drgn(site_b: Site) -> Site:
    site_b.settings["engine"] = "drgn"
    site_b.keep_snippets("sys")
    return site_b


@pytest.fixture
def upload(tmp_path: Path, vmcore_b: Path) -> Path:
    (tmp_path / "up").mkdir()
    return Path(shutil.copy(vmcore_b, tmp_path / "up" / "vmcore"))


def test_a_file_of_ours_is_moved_and_goes_with_the_job(drgn: Site, upload: Path) -> None:
    upload.chmod(0o644)
    inode, content = upload.stat().st_ino, upload.read_bytes()
    done = drgn.cas("-i", "T-1", "-f", upload, "--take")
    assert done.returncode == 0, done.stderr
    kept = drgn.job("T-1") / "vmcore" / "vmcore"
    told = f"{upload} was moved to {kept}, and goes when the job is purged"
    assert told in done.stderr
    assert told in drgn.result("T-1")["remarks"]
    assert not upload.exists()
    assert (kept.stat().st_ino, kept.stat().st_nlink, kept.stat().st_mode & 0o777) == (
        inode,
        2,  # the other name is the archive's
        0o400,
    )
    assert kept.read_bytes() == content
    assert drgn.admin("check").returncode == 0
    assert drgn.admin("-p", "-d", "0", "--yes").returncode == 0
    assert not kept.exists()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda file: os.link(file, file.with_name("second")), "the file has 2 names"),
        pytest.param(
            lambda file: file.rename(file.with_name("real")) and file.symlink_to("real"),
            "symbolic",
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_cannot_be_moved_is_copied(
    site: Site, upload: Path, tmp_path: Path, spoil: object, why: str
) -> None:
    """Nobody knows the kernel."""
    site.settings["debugs"] = str(tmp_path / "debugs")
    assert callable(spoil)
    spoil(upload)
    content = upload.read_bytes()
    done = site.cas("-i", "T-1", "-f", upload, "--take")
    assert done.returncode == 6, done.stderr
    assert f"{upload} was copied and stays where it is: " in done.stderr
    assert why in done.stderr
    assert (site.job("T-1") / "vmcore" / "vmcore").read_bytes() == upload.read_bytes() == content


def test_no_file_is_moved_of_another_user_job_or_file_system(upload: Path, tmp_path: Path) -> None:
    assert why_copied(upload, tmp_path) is None
    assert why_copied(upload, Path("/proc")) == (
        "it lies on another file system than the work directory"
    )
    upload.with_name(STATE).touch()
    assert why_copied(upload, tmp_path) == "it belongs to another job"
    other = upload if os.geteuid() == 0 else Path("/etc/passwd")
    if other is upload:
        os.chown(upload, 65534, -1)
    assert (why_copied(other, tmp_path) or "").startswith("it belongs to ")
    assert ", not " in (why_copied(other, tmp_path) or "")
