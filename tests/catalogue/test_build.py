import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import kernel_packages as kp
import pytest

from cas.catalogue import BuildSummary, Catalogue
from cas.errors import ConfigError, KernelNotFound, TryAgain
from cas.model import Dump
from cas.progress import Silent
from cas.rules import PackageRules

MakeDump = Callable[..., Dump]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kp.build(kp.Recipe(*kp.debuginfo("one")), tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = replace(kp.Recipe(*kp.debuginfo("two", "5.14.0-1.el9.x86_64")), release="1.el9")
    return kp.build(recipe, tmp_path_factory.mktemp("two"))


def build(catalogue: Catalogue, kernels: Path) -> BuildSummary:
    return catalogue.build(kernels, PackageRules(kp.FILTER), Silent())


def test_every_matching_package_is_catalogued(
    catalogue: Catalogue, kernels: Path, package: Path, other: Path
) -> None:
    shutil.copy(package, kernels)
    shutil.copy(other, kernels)
    shutil.copy(other, kernels / "something-else.rpm")
    assert build(catalogue, kernels) == BuildSummary(2, 0, 0, 2, ())


def test_a_second_run_reads_nothing_that_has_not_changed(
    catalogue: Catalogue, kernels: Path, package: Path, other: Path
) -> None:
    unchanged = Path(shutil.copy(package, kernels))
    build(catalogue, kernels)
    status = unchanged.stat()
    unchanged.write_bytes(bytes(status.st_size))  # would be bad, were it read again
    os.utime(unchanged, ns=(status.st_atime_ns, status.st_mtime_ns))
    shutil.copy(other, kernels)
    assert build(catalogue, kernels) == BuildSummary(1, 1, 0, 2, ())


def test_a_changed_package_is_read_again(
    catalogue: Catalogue, kernels: Path, package: Path, other: Path, dump: MakeDump
) -> None:
    path = kernels / package.name
    shutil.copy(package, path)
    build(catalogue, kernels)
    shutil.copy(other, path)
    os.utime(path, (1, 1))
    assert build(catalogue, kernels) == BuildSummary(1, 0, 0, 1, ())
    assert catalogue.find(dump(build_id=kp.build_id("two"))).kernel.source == path
    with pytest.raises(KernelNotFound):
        catalogue.find(dump(build_id=kp.build_id("one")))


def test_rows_of_vanished_packages_go(
    catalogue: Catalogue, kernels: Path, package: Path, other: Path
) -> None:
    shutil.copy(package, kernels)
    gone = Path(shutil.copy(other, kernels))
    build(catalogue, kernels)
    gone.unlink()
    assert build(catalogue, kernels) == BuildSummary(0, 1, 1, 1, ())


def test_a_corrupt_package_is_recorded_and_the_run_finishes(
    catalogue: Catalogue, kernels: Path, package: Path, other: Path
) -> None:
    corrupt = kernels / "kernel-debuginfo-0.rpm"
    corrupt.write_bytes(package.read_bytes()[:300])
    shutil.copy(other, kernels)
    summary = build(catalogue, kernels)
    assert (summary.added, summary.kernels) == (2, 1)
    ((path, reason),) = summary.bad
    assert (path, "the file ends inside the" in reason) == (corrupt, True)


def test_a_corrupt_package_stays_reported_without_being_read_again(
    catalogue: Catalogue, kernels: Path
) -> None:
    (kernels / "kernel-debuginfo-0.rpm").write_bytes(b"")
    first, second = build(catalogue, kernels), build(catalogue, kernels)
    assert (second.added, second.unchanged, second.bad) == (0, 1, first.bad)


def test_a_corrupt_package_that_was_replaced_is_good_again(
    catalogue: Catalogue, kernels: Path, package: Path
) -> None:
    path = kernels / package.name
    path.write_bytes(b"")
    build(catalogue, kernels)
    shutil.copy(package, path)
    assert build(catalogue, kernels) == BuildSummary(1, 0, 0, 1, ())


def test_an_empty_mount_point_wipes_nothing(
    catalogue: Catalogue, kernels: Path, package: Path, dump: MakeDump
) -> None:
    path = Path(shutil.copy(package, kernels))
    build(catalogue, kernels)
    hidden = path.rename(kernels.parent / path.name)
    with pytest.raises(TryAgain, match=r"has no package that matches .* but 1 are catalogued"):
        build(catalogue, kernels)
    hidden.rename(path)
    assert catalogue.find(dump(build_id=kp.build_id("one"))).kernel.source == path


def test_a_missing_directory_wipes_nothing(
    catalogue: Catalogue, kernels: Path, package: Path, dump: MakeDump
) -> None:
    shutil.copy(package, kernels)
    build(catalogue, kernels)
    away = kernels.rename(kernels.parent / "away")
    with pytest.raises(ConfigError, match=r"kernels: .* is not a directory"):
        build(catalogue, kernels)
    away.rename(kernels)
    assert catalogue.find(dump(build_id=kp.build_id("one")))


def test_rows_below_a_directory_that_cannot_be_read_stay(
    catalogue: Catalogue, kernels: Path, package: Path, other: Path
) -> None:
    (kernels / "nfs").mkdir()
    shutil.copy(package, kernels / "nfs")
    shutil.copy(other, kernels)
    build(catalogue, kernels)
    (kernels / "nfs").rename(kernels.parent / "nfs")
    (kernels / "nfs").symlink_to(kernels / "nfs")  # stat() fails there, as on a stale mount
    summary = build(catalogue, kernels)
    assert (summary.removed, summary.kernels) == (0, 2)
    assert summary.bad == ((kernels / "nfs", "Too many levels of symbolic links"),)


def test_an_invalid_filter_is_refused_before_anything_is_read(
    catalogue: Catalogue, kernels: Path
) -> None:
    with pytest.raises(ConfigError, match="rpmFilter"):
        catalogue.build(kernels, PackageRules(r"\("), Silent())


def test_a_package_that_vanished_after_the_build_is_not_taken(
    catalogue: Catalogue, kernels: Path, package: Path, dump: MakeDump
) -> None:
    path = Path(shutil.copy(package, kernels))
    build(catalogue, kernels)
    path.unlink()
    with pytest.raises(KernelNotFound, match=f"{path} is gone"):
        catalogue.find(dump(build_id=kp.build_id("one")))
