"""Readers that die, file systems that do not answer: the run goes on, and says so."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import kernel_packages as kp
import pytest
from silent_mount import silent

from cas.catalogue.building.reader_pool import Readers, Work
from cas.database.records import FileStamp
from cas.settings.rules import PackageRules

from installed import COMMANDS, Site, needs

MANY = 18
"""More than are read without a child process."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kp.build(kp.Recipe(*kp.debuginfo("one")), tmp_path_factory.mktemp("one"))


@pytest.fixture
def many(site: Site, package: Path) -> Path:
    """A directory of packages, enough for child processes."""
    directory = site.directory / "kernels" / "many"
    directory.mkdir()
    for number in range(MANY):
        shutil.copy(package, directory / f"kernel-debuginfo-{number:02}.rpm")
    site.settings["packageTimeout"] = "0.5"
    return directory


def injected(site: Site, path: Path, what: str) -> subprocess.CompletedProcess[str]:
    """``cas-admin -b``, while something befalls whoever opens a file."""
    strace = [needs("strace"), "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", "trace=openat"]
    return subprocess.run(
        [*strace, "-e", f"inject=openat:{what}", COMMANDS / "cas-admin", "-b"],
        env=site.prepared(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_reader_that_dies_takes_only_its_package_with_it(site: Site, many: Path) -> None:
    victim = many / "kernel-debuginfo-11.rpm"
    done = injected(site, victim, "signal=SIGKILL")
    assert done.returncode == 3
    assert f"{victim}: the program that read it was ended by SIGKILL" in done.stderr
    assert done.stdout.startswith(
        f"{MANY - 1} kernels in the catalogue; packages: {MANY} read, 0 unchanged, 0 gone, 1 unus"
    )


@pytest.mark.long
def test_a_package_without_an_answer_is_left_with_the_rest_of_its_directory(
    site: Site, many: Path
) -> None:
    victim = many / "kernel-debuginfo-00.rpm"
    done = injected(site, victim, "delay_enter=2s")
    assert done.returncode == 3
    assert f"{victim}: no answer from the file system in 0.5 s" in done.stderr
    assert f"! {many}: " in done.stderr
    assert "more packages were passed over" in done.stderr
    again = site.admin("-b")
    assert (again.returncode, again.stderr.count("!")) == (0, 0)
    assert again.stdout.startswith(f"{MANY} kernels in the catalogue")


@pytest.mark.long
def test_a_few_packages_are_given_up_in_the_same_way(site: Site, many: Path, package: Path) -> None:
    for path in sorted(many.iterdir())[3:]:
        path.unlink()
    shutil.copy(package, many.parent)
    victim = many / "kernel-debuginfo-00.rpm"
    done = injected(site, victim, "delay_enter=2s")
    assert f"{victim}: no answer from the file system in 0.5 s" in done.stderr
    assert f"{many}: 2 more packages were passed over" in done.stderr
    assert done.stdout.startswith("1 kernel in the catalogue")


def test_a_hung_mount_is_reported_and_its_rows_stay(site: Site, package: Path) -> None:
    kernels = site.directory / "kernels"
    nfs = kernels / "nfs"
    nfs.mkdir()
    for directory in (kernels, nfs):
        shutil.copy(package, directory)
    site.settings["packageTimeout"] = "0.5"
    assert site.admin("-b").returncode == 0
    with silent(nfs):
        done = site.admin("-b")
    assert done.returncode == 3
    assert f"! {nfs}: no answer from the file system in 0.5 s" in done.stderr
    assert done.stdout.startswith(
        "2 kernels in the catalogue; packages: 0 read, 1 unchanged, 0 gone, 1 unusable"
    )


def test_a_directory_of_kernels_that_hangs_is_tried_again_later(site: Site, package: Path) -> None:
    shutil.copy(package, site.directory / "kernels")
    site.settings["packageTimeout"] = "0.5"
    with silent(site.directory / "kernels"):
        done = site.admin("-b")
    assert done.returncode == 75
    assert "kernels cannot be read: no answer from the file system in 0.5 s" in done.stderr


def test_modules_of_the_current_directory_are_not_taken_for_ours(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not yours')")
    monkeypatch.chdir(tmp_path)
    work = [Work(str(package), FileStamp.of(package.stat()))] * MANY
    facts = {reading.facts for reading in Readers(PackageRules()).read_packages(work)}
    assert [json.loads(fact)["state"] for fact in facts] == ["ok"]


@pytest.mark.long
def test_the_only_reader_may_hang_too(site: Site, many: Path) -> None:
    site.settings["packageReaders"] = "1"
    victim = many / "kernel-debuginfo-00.rpm"
    done = injected(site, victim, "delay_enter=2s")
    assert done.returncode == 3
    assert f"{many}: {MANY - 1} more packages were passed over" in done.stderr


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_readers_never_outnumber_what_the_rules_allow(package: Path, tmp_path: Path) -> None:
    status = FileStamp.of(package.stat())
    work = [Work(str(package), status) for _ in range(MANY)]
    readers = Readers(PackageRules(readers=2))
    others, most = children(), 0  # of this process, e.g. another test's database
    for _ in readers.read_packages(work):
        most = max(most, len(children() - others))
    assert 1 <= most <= 2
