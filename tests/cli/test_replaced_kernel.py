"""Catalogued files that are not what the catalogue says any more."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from silent_mount import silent

from installed import FIXTURES, Site

VMCORE = FIXTURES / "b" / "vmcore.kdump"
(RPM,) = (FIXTURES / "b").glob("*.rpm")
(OTHER_RPM,) = (FIXTURES / "a").glob("*.rpm")
CHANGED = "changed since cas-admin -b"
Make = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture
def kernels(site: Site) -> Path:
    """The directory of packages of a site that has no kernels yet; drgn does everything there."""
    site.keep_snippets("sys")
    site.settings |= {
        "engine": "drgn",
        "debugs": str(site.directory / "debugs"),
        "packageTimeout": "0.5",
    }
    return site.directory / "kernels"


@pytest.fixture
def plain(site: Site, kernels: Path, vmlinux_b: Path) -> Path:
    """The dump's vmlinux, catalogued."""
    shutil.copy2(vmlinux_b, kernels / "vmlinux")
    assert site.admin("-b").returncode == 0
    return kernels / "vmlinux"


def copies(kernels: Path, *names: str) -> list[Path]:
    """The package several times, in directories of these names."""
    for name in names:
        (kernels / name).mkdir()
    return [Path(shutil.copy(RPM, kernels / name)) for name in names]


def test_a_vmlinux_that_was_replaced_is_not_used(site: Site, plain: Path, vmlinux: Path) -> None:
    plain.unlink()
    plain.hardlink_to(vmlinux)  # of the same release
    done = site.cas("-i", "T-1", "-f", VMCORE)
    assert done.returncode == 6
    assert f"not usable: {plain} {CHANGED}" in done.stderr
    assert "Kernel found" not in done.stderr
    assert site.result("T-1")["answer"] is None


@pytest.mark.long
def test_the_same_vmlinux_under_another_inode_is_used_and_its_row_renewed(
    site: Site, plain: Path
) -> None:
    other = plain.with_name("copy")
    shutil.copy(plain, other)
    other.replace(plain)
    done = site.cas("-i", "T-1", "-f", VMCORE)
    assert done.returncode == 0, done.stderr
    assert CHANGED not in done.stderr
    assert site.result("T-1")["evidence"] == "build-id"
    with sqlite3.connect(site.directory / "cas.db") as database:
        (row,) = database.execute("SELECT inode, mtime_ns FROM packages")
    assert row == (plain.stat().st_ino, plain.stat().st_mtime_ns)


def test_the_next_candidate_takes_the_place_of_what_became_of_others(
    site: Site, kernels: Path
) -> None:
    """A cached kernel, too, is not said to be of a package that holds another one now."""
    fifo, replaced, good = copies(kernels, "1", "2", "3")
    assert site.admin("-b").returncode == 0
    fifo.unlink()
    os.mkfifo(fifo)
    shutil.copy(OTHER_RPM, replaced)
    done = site.cas("-i", "T-1", "-f", VMCORE)
    assert done.returncode == 0, done.stderr
    assert f"! {fifo}: it is no regular file\n" in done.stderr
    assert f"! {replaced} {CHANGED}\n" in done.stderr
    result = site.result("T-1")
    assert result["kernel"]["package"] == str(good)
    assert f"{replaced} {CHANGED}" in result["remarks"]
    shutil.copy(OTHER_RPM, good)
    again = site.cas("-i", "T-2", "-f", VMCORE)
    assert again.returncode == 0, again.stderr
    assert "extracted before, from a package that is gone or was changed" in (
        site.job("T-2") / "report.txt"
    ).read_text().replace("\n", " ")


@pytest.mark.long
def test_a_package_on_a_mount_that_hangs_holds_no_job_up(site: Site, kernels: Path) -> None:
    hung, good = copies(kernels, "1", "2")
    assert site.admin("-b").returncode == 0
    with silent(hung.parent):
        done = site.cas("-i", "T-1", "-f", VMCORE, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"! {hung}: no answer from the file system in 0.5 s\n" in done.stderr
    assert site.result("T-1")["kernel"]["package"] == str(good)
