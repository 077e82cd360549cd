"""Bad input: one clear sentence, the right status, nothing lost, no traceback."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from cas.catalogue.building.build import build
from cas.database.store import Store
from cas.progress import Silent
from cas.settings.rules import PackageRules

from installed import FIXTURES, Site, needs


def failed(done: subprocess.CompletedProcess[str], status: int, *sentences: str) -> None:
    assert done.returncode == status, done.stderr
    job = Path(done.stdout.removesuffix("\n") or "/nonexistent")
    assert (job / "job.json").exists() == ("exit status" in done.stderr)
    for sentence in sentences:
        assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    return tmp_path / "upload"


def test_no_such_file(site: Site, upload: Path) -> None:
    failed(site.cas("-qi", "T-1", "-f", upload), 4, f"cannot read {upload}: No such file")
    assert not site.jobs.exists()


def test_a_directory(site: Site, upload: Path) -> None:
    upload.mkdir()
    failed(site.cas("-i", "T-1", "-f", upload), 4, "directory")
    assert not site.jobs.exists()


def test_an_empty_file(site: Site, upload: Path) -> None:
    upload.touch()
    failed(site.cas("-i", "T-1", "-f", upload), 4, "is empty")


def test_a_text_file(site: Site, upload: Path) -> None:
    upload.write_text("Dear support,\nplease find attached\n" * 100)
    failed(site.cas("-i", "T-1", "-f", upload), 4, "text")
    assert not site.jobs.exists()


def test_a_vmlinux(site: Site, vmlinux: Path) -> None:
    failed(site.cas("-i", "T-1", "-f", vmlinux), 4, "vmlinux")


def test_a_packed_text_file_is_told_too(site: Site, upload: Path) -> None:
    subprocess.run([needs("xz"), "-k", __file__, "-c"], stdout=upload.open("wb"), check=True)
    failed(site.cas("-i", "T-1", "-f", upload), 4, "text")


@pytest.mark.parametrize("ticket", ["a/b", "../../etc", "..", "", "-x", "a b"])
def test_an_identifier_that_cannot_name_a_directory(
    site: Site, vmcore_b: Path, ticket: str
) -> None:
    done = site.cas(f"--identifier={ticket}", "-f", vmcore_b)
    assert done.returncode in (2, 5)
    assert done.stderr
    assert not site.jobs.exists()


def test_a_dump_without_its_kernel_waits_and_tells_what_it_knows(waiting: Site) -> None:
    site = waiting
    failed(
        site.cas("-i", "T-1"),
        6,
        "no debuginfo for 6.1.192-1.cas1.x86_64 (x86_64), build-id",
        "kernel-debuginfo-6.1.192-1.cas1.x86_64",
        "cas-admin -b",
        "* waiting, exit status 6\n",
    )
    result = site.result("T-1")
    assert result["verdict"] == "waiting"
    assert result["dump"]["panic_message"].startswith("BUG: kernel NULL pointer dereference")
    assert "Call Trace" in (site.job("T-1") / "report.txt").read_text()


def test_a_script_gets_the_directory_of_a_job_that_waits_and_a_command_to_repeat(
    waiting: Site,
) -> None:
    config = waiting.directory / "cas.conf"
    done = waiting.cas("-qi", "T-1", "--config", config)
    assert (done.returncode, done.stdout) == (6, f"{waiting.job('T-1')}\n")
    assert f"and run: cas-admin --config {config} -b\n" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("how", ["cas", "cas-admin"])
def test_a_waiting_job_is_finished_when_its_kernel_arrives(
    waiting: Site, shared: Path, how: str
) -> None:
    site = waiting
    site.settings["debugs"] = str(shared / "debugs")
    site.keep_snippets("sys")
    (package,) = (FIXTURES / "a").glob("*.rpm")
    shutil.copy(package, site.settings["kernels"])
    if how == "cas-admin":
        done = site.admin("-b")
        assert f"complete {site.job('T-1')}" in done.stdout
    else:
        store, kernels = Store(site.settings["database"]), Path(site.settings["kernels"])
        build(store, kernels, PackageRules(r".*\.rpm"), Silent())
        done = site.cas("-i", "T-1")
        assert done.stdout == f"{site.job('T-1')}\n"
    assert done.returncode == 0, done.stderr
    assert site.result("T-1")["verdict"] == "complete"


def test_nothing_to_resume_is_said(site: Site) -> None:
    failed(site.cas("-i", "T-1"), 2, "T-1 has no unfinished job")


def test_an_unwritable_work_directory(site: Site, vmcore_b: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    site.settings["workDirectory"] = str(tmp_path / "file" / "cores")
    failed(site.cas("-i", "T-1", "-f", vmcore_b), 4, "cannot create a job directory", "cas.conf")


@pytest.mark.long
def test_a_database_that_cannot_be_used_is_said_and_nothing_is_lost(
    site_b: Site, vmcore_b: Path, shared: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    site_b.keep_snippets("sys")
    site_b.settings |= {
        "engine": "drgn",
        "database": str(tmp_path / "file" / "cas.db"),
        "debugs": str(tmp_path / "debugs"),
    }
    failed(site_b.cas("-i", "T-1", "-f", vmcore_b), 2, "cas.db")
    assert (site_b.job("T-1") / "report.txt").exists()
    site_b.settings |= {"database": str(tmp_path / "cas.db"), "debugs": str(shared / "debugs")}
    done = site_b.cas("-i", "T-1")
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_a_configured_crash_that_is_missing_is_told_and_drgn_serves(
    site_a: Site, vmcore: Path
) -> None:
    site_a.settings["crash"] = "/nonexistent/crash"
    site_a.keep_snippets("sys")
    done = site_a.cas("-i", "T-1", "-f", vmcore)
    assert done.returncode == 0
    assert "the crash program /nonexistent/crash cannot be run" in done.stderr
    assert site_a.result("T-1")["engine"] == "drgn"


def test_no_crash_at_all_is_no_problem(site_b: Site, vmcore_b: Path, tmp_path: Path) -> None:
    site_b.environment["PATH"] = str(tmp_path)
    site_b.keep_snippets("sys")
    done = site_b.cas("-i", "T-1", "-f", vmcore_b, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{site_b.job('T-1')}\n"
    assert " UTC INFO Asking drgn what crashed" in (site_b.job("T-1") / "T-1.log").read_text()
    assert site_b.result("T-1")["engine"] == "drgn"


@pytest.mark.long
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 1", "crash is too old for 6.1: drgn did it"),
        ("sleep 1000", "not ready after 2 s"),
    ],
)
def test_a_crash_that_fails_leaves_the_snippets_to_drgn(
    site_a: Site, vmcore: Path, tmp_path: Path, script: str, reason: str
) -> None:
    program = tmp_path / "crash"
    program.write_text(f"#!/bin/sh\n[ $1 != --version ] || exit 0\n{script}\n")
    program.chmod(0o755)
    site_a.environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    site_a.settings["startTimeout"] = "2"
    site_a.keep_snippets("sys")
    done = site_a.cas("-i", "T-1", "-f", vmcore)
    assert done.returncode == 0
    assert reason in done.stderr
    result = site_a.result("T-1")
    assert result["ladder"] == ["crash", "drgn"]
    assert result["engine"] == "drgn"


def test_an_interrupted_job_ends_its_debuggers_and_can_be_gone_on_with(
    site_a: Site, vmcore: Path, tmp_path: Path
) -> None:
    program = tmp_path / "crash"
    program.write_text("#!/bin/sh\nexec sleep 1000.75\n")
    program.chmod(0o755)
    site_a.keep_snippets("sys")
    site_a.settings["crash"] = str(program)
    with site_a.start("cas", "-i", "T-1", "-f", vmcore) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if "Opening it with crash" in line:
                process.terminate()
        assert process.wait(60) == 130
    *_, ended, following = said.splitlines()
    assert ended == "! interrupted, exit status 130"
    assert following.endswith(" what is finished is kept: cas -i T-1")
    left = subprocess.run([needs("pgrep"), "-xf", "sleep 1000.75"], check=False)
    assert left.returncode == 1
    assert not (site_a.job("T-1") / "result.json").exists()
    done = site_a.cas("-i", "T-1", "--engine", "drgn")
    assert done.returncode == 0, done.stderr
    assert site_a.result("T-1")["verdict"] == "complete"


def test_a_failing_crash_that_was_demanded_fails_the_job(
    site_b: Site, vmcore_b: Path, tmp_path: Path
) -> None:
    program = tmp_path / "crash"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    site_b.settings["crash"] = str(program)
    done = site_b.cas("-i", "T-1", "-f", vmcore_b, "--engine", "crash")
    failed(done, 4, "exit status 1 without a message", "--engine drgn")
    assert site_b.result("T-1")["finding"]["what"].startswith("BUG: kernel NULL")


def test_a_package_with_another_kernel_than_its_header_says(
    site: Site, vmcore: Path, tmp_path: Path
) -> None:
    (package,) = (FIXTURES / "a").glob("*.rpm")
    build_id = site_build_id(site, vmcore)
    lying = package.read_bytes()
    wrong = ("0" * 30).encode()
    assert build_id[2:32].encode() in lying
    # the payload stays, only the header's links name another build-id
    header_end = lying.index(b"\xfd7zXZ")
    header = lying[:header_end].replace(build_id[2:32].encode(), wrong)
    (tmp_path / "kernels" / package.name).write_bytes(header + lying[header_end:])
    site.settings["debugs"] = str(tmp_path / "debugs")
    site.admin("-b")
    done = site.cas("-i", "T-1", "-f", vmcore)
    assert done.returncode in (4, 6)
    assert "build-id" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "debugs").rglob("vmlinux")) == []


def site_build_id(site: Site, vmcore: Path) -> str:
    line = next(
        line
        for line in site.cas("identify", vmcore).stdout.splitlines()
        if line.startswith("build_id")
    )
    return line.split()[1]


def test_a_full_disk_is_said_with_need_and_have(
    site_b: Site, vmcore_b: Path, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("only root mounts a small disk")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=True)
    try:
        site_b.settings["workDirectory"] = str(small)
        done = site_b.cas("-i", "T-1", "-f", vmcore_b)
        need = f"{vmcore_b.stat().st_blocks / 2048:.1f} MiB"
        failed(done, 75, "no room for", f"needs {need} beside a reserve of 512.0 MiB, has")
        assert not list(small.rglob("vmcore*"))
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.long
def test_a_disk_that_has_no_room_for_the_report_keeps_the_job_and_says_how_to_go_on(
    site_b: Site, vmcore_b: Path, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("only root mounts a small disk")
    small = tmp_path / "small"
    small.mkdir()
    kib = vmcore_b.stat().st_blocks // 2 + 64
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", small]
    subprocess.run(mount, check=True)
    try:
        site_b.settings |= {"workDirectory": str(small), "diskReserve": "1K", "engine": "drgn"}
        site_b.keep_snippets("sys")
        done = site_b.cas("-i", "T-1", "-f", vmcore_b)
        failed(done, 75, "no room for report.", "then run: cas -i T-1\n")
        directory = Path(done.stdout.strip())
        assert directory.parent == small / "T-1"
        assert (directory / "sys").is_file()
        subprocess.run(["mount", "-o", "remount,size=100m", small], check=True)
        went_on = site_b.cas("-i", "T-1")
        assert (went_on.returncode, went_on.stdout) == (0, f"{directory}\n"), went_on.stderr
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.long
def test_the_index_of_jobs_can_be_made_anew(own_finished: Site, vmcore: Path) -> None:
    site_a = own_finished
    site_a.keep_snippets("sys")
    Path(site_a.settings["database"]).unlink()
    stopped = site_a.jobs / "T-1" / "2020.01.01.00.00.00"
    stopped.mkdir()
    (stopped / "job.json").write_text("{}")
    assert site_a.admin("index").stdout == "1 job entered\n"
    assert "same dump as T-1" in site_a.cas("-i", "T-2", "-f", vmcore).stderr


def test_the_index_made_anew_has_the_rows_that_the_jobs_wrote(
    own_finished: Site, vmcore: Path
) -> None:
    site_a = own_finished
    site_a.keep_snippets("sys")  # so that nobody keeps the kernel log
    assert site_a.cas("-i", "T-2", "-f", vmcore).returncode == 0
    site_a.settings["debugs"] = str(site_a.directory / "debugs")  # where no test left the kernel
    done = site_a.cas("-i", "T-3", "-f", FIXTURES / "b" / "vmcore.kdump")
    assert done.returncode == 6, done.stderr

    def rows() -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(site_a.settings["database"])) as database:
            jobs = database.execute("SELECT * FROM jobs ORDER BY ticket").fetchall()
            signatures = """SELECT ticket, version, granularity, value
                FROM signatures JOIN jobs ON job_id = jobs.id ORDER BY 1, 2, 3"""
            return [row[1:] for row in jobs] + database.execute(signatures).fetchall()

    written = rows()
    assert len(written) > 3
    Path(site_a.settings["database"]).unlink()
    assert site_a.admin("index").stdout == "3 jobs entered\n"
    assert rows() == written


def test_options_that_would_be_ignored_are_refused(site: Site) -> None:
    failed(site.cas("-i", "T-1", "identify", "vmcore"), 2, "identify takes no options of a job")
    failed(site.admin("-b", "-d", "3"), 2, "belong to a purge")
    failed(site.admin("-b", "purge"), 2, "one thing at a time")


def test_a_corrupt_package_is_recorded_and_the_others_are_read(site: Site) -> None:
    kernels = Path(site.settings["kernels"])
    (package,) = (FIXTURES / "a").glob("*.rpm")
    (kernels / package.name).symlink_to(package)
    (kernels / "kernel-debuginfo-6.broken.rpm").write_bytes(package.read_bytes()[:500])
    (kernels / "loop").symlink_to(kernels)
    done = site.admin("-b")
    assert done.returncode == 3
    assert "kernel-debuginfo-6.broken.rpm is no intact RPM" in done.stderr
    assert "1 kernel in the catalogue; packages: 2 read, 0 unchanged, 0 gone, 1 unusable" in (
        done.stdout
    )
    assert "0 read, 2 unchanged" in site.admin("-b").stdout
