"""Kernel modules' debug information: exactly of what was loaded, for both debuggers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from catalogue import deb_packages
from catalogue import kernel_packages as kp
from debuginfod_server import debuginfod

from installed import FIXTURES, Site, needs

RELEASE = "6.1.192-1.cas1.x86_64"
TREE = f"/usr/lib/debug/lib/modules/{RELEASE}"
STUCK = "a9e8519dff54ee6253b383ad9572e308fb2fc34f"
"""Build-id of the cas_stuck that was loaded."""
KEPT = ("prelude", "source", "sys", "traceback")
"""Of the shipped snippets."""
OTHER = kp.build_id("another cas_stuck")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory, indexed: Path) -> Site:
    """A job of a kernel whose kmods are in other packages than its vmlinux; one is missing.

    One of the site's own snippets hangs.
    """
    directory = tmp_path_factory.mktemp("split")
    kernels = directory / "kernels"
    (kernels / "cas1").mkdir(parents=True)
    (kernels / "cas1/vmlinux").symlink_to(indexed)
    (package,) = (FIXTURES / "a").glob("*.rpm")
    subprocess.run([needs("bsdtar"), "-xf", package, "-C", directory, "*.ko.debug"], check=True)
    kmods = {path.name: path.read_bytes() for path in directory.rglob("*.ko.debug")}
    needs("dpkg-deb")
    oops = {f"{TREE}/kernel/drivers/cas/cas_oops.ko": kmods["cas_oops.ko.debug"]}
    deb_packages.build(directory, oops, "zstd").rename(
        kernels / "linux-image-cas1-modules-dbg_1_amd64.deb"
    )
    others = {
        f"{TREE}/extra/nf-cas-dummy.ko-1-2.x86_64.debug": kmods["nf-cas-dummy.ko.debug"],
        f"{TREE}/extra/cas_stuck.ko.debug": kp.elf(OTHER, extra_section=".debug_info"),
        f"{TREE}/extra/cas_spare.ko.debug": kmods["cas_spare.ko.debug"],
    }
    kp.build(kp.Recipe(others, name="kernel-modules-debuginfo"), kernels)
    site = Site(
        directory,
        {
            "kernels": str(kernels),
            "workDirectory": str(directory / "cores"),
            "debugs": str(directory / "debugs"),
            "database": str(directory / "cas.db"),
        },
    )
    done = site.admin("-b")
    assert (done.returncode, done.stdout[:8]) == (0, "1 kernel"), done.stdout + done.stderr
    needs("crash")
    snippets = site.keep_snippets(*KEPT)
    (snippets / "hang").write_text("# title: A snippet that hangs\n!sleep 1000\nsys\n")
    (snippets / "old~").write_text("sys\n")
    (snippets / "arch").write_text('#!/bin/sh\necho "!echo $CAS_ARCH $CAS_KERNEL"\n')
    (snippets / "arch").chmod(0o755)
    site.settings |= {"commandTimeout": "4"}
    done = site.cas("-i", "T-1", "-f", FIXTURES / "a" / "vmcore.elf.xz", "-m")
    assert done.returncode == 3, done.stderr
    (directory / "said").write_text(done.stderr)
    return site


@pytest.mark.long
def test_with_crash_the_snippets_run_there_with_file_and_line_in_kmods_of_other_packages(
    split: Site,
) -> None:
    """One test, for each worker would make the job for its own."""
    one_that_hangs_is_named(split)
    crash_shows_file_and_line_in_kmods(split)
    only_files_of_the_loaded_builds_are_there_and_the_rest_is_named(split)


def one_that_hangs_is_named(split: Site) -> None:
    said, result = (split.directory / "said").read_text(), split.result("T-1")
    job = split.job("T-1")
    assert "hang: !sleep 1000: timed out after 4 s" in said
    *_, verdict, following = said.splitlines()
    assert verdict.startswith("! partial, exit status 3: of ")
    assert following.startswith(f"* next: less {job}/report.txt; ")
    assert result["engine"] == "crash"
    status = {section["name"]: section["status"] for section in result["sections"]}
    assert (status.pop("hang"), set(status.values())) == ("timeout", {"ok"})
    assert status.keys() == {*KEPT, "arch"} - {"prelude"}
    assert result["limits_hit"] == ["hang: timeout"]
    assert "x86_64 6.1.192-1.cas1.x86_64" in (job / "arch").read_text()
    assert "DUMPFILE" in (job / "hang").read_text()
    assert "'old~'" in (job / "T-1.log").read_text()
    assert "[exception RIP: cas_sum_entries" in (job / "traceback").read_text()


@pytest.mark.long
def test_the_jobs_own_command_opens_crash(split: Site) -> None:
    shell = subprocess.run(
        [split.job("T-1") / "crash", "-s"],
        input="sys\nexit\n",
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "DUMPFILE:" in shell.stdout


def crash_shows_file_and_line_in_kmods(split: Site) -> None:
    result = split.result("T-1")
    frames = [frame for frame in result["answer"]["backtrace"] if frame["kmod"] == "cas_oops"]
    assert {frame["file"] for frame in frames} == {"drivers/cas/cas_oops.c"}
    assert result["answer"]["problems"] == []
    assert result["engine"] == "crash"
    assert "./drivers/cas/cas_oops.c: 88" in (split.job("T-1") / "source").read_text()


def only_files_of_the_loaded_builds_are_there_and_the_rest_is_named(split: Site) -> None:
    files = {path.name for path in (split.job("T-1") / TREE[1:]).iterdir()}
    assert files == {"cas_oops.ko", "nf-cas-dummy.ko.debug"}
    kmods = {kmod["name"]: kmod for kmod in split.result("T-1")["answer"]["kmods"]}
    assert kmods["cas_stuck"]["build_id"] == STUCK
    has_debuginfo = {name for name, kmod in kmods.items() if kmod["has_debuginfo"]}
    assert has_debuginfo == {"cas_oops", "nf_cas_dummy"}
    said = (split.directory / "said").read_text()
    (other,) = Path(split.settings["kernels"]).glob("kernel-modules-*")
    assert f"cas_stuck: build-id {STUCK} was loaded, {other.name} has {OTHER}" in said
    assert "no debuginfo for the kernel modules cas_stuck" in said
    assert "cas_stuck did not come with the kernel" in said
    assert OTHER in (split.job("T-1") / "report.txt").read_text()


@pytest.mark.long
def test_a_debugger_by_hand_has_them_too(split: Site) -> None:
    for engine in ("crash", "drgn"):
        done = split.cas("debug", "T-1", "--engine", engine, input="bt -l\n")
        assert done.returncode == 0, done.stderr
        assert "drivers/cas/cas_oops.c: 8" in done.stdout


@pytest.mark.long
def test_kmods_that_no_package_has_come_from_a_server(
    site: Site, vmlinux: Path, tmp_path: Path
) -> None:
    (tmp_path / "kernels/vmlinux").symlink_to(vmlinux)
    site.settings |= {"debugs": str(tmp_path / "debugs"), "engine": "drgn"}
    assert site.admin("-b").returncode == 0
    with debuginfod(FIXTURES / "a", tmp_path) as url:
        site.settings["debuginfod"] = url
        done = site.cas("-i", "T-1", "-f", FIXTURES / "a" / "vmcore.elf.xz")
    assert done.returncode == 0, done.stderr
    answer = site.result("T-1")["answer"]
    frames = [frame for frame in answer["backtrace"] if frame["kmod"] == "cas_oops"]
    assert {frame["file"] for frame in frames} == {"drivers/cas/cas_oops.c"}
    names = {path.name for path in (tmp_path / "debugs").rglob("*.ko*")}
    assert names == {"cas_oops.ko.debug", "cas_stuck.ko.debug"}  # those in call traces
