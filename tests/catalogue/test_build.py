import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import kernel_packages as kp
import pytest
from postgresql import now_and_then_on_both, on_both

from cas.catalogue import Catalogue
from cas.catalogue.building import build as building
from cas.catalogue.building import reading
from cas.database.build_rows import KEPT as BUILDS_KEPT
from cas.database.build_rows import BuildRows, ReadingRows
from cas.database.connection import Database
from cas.database.records import BuildSummary, FileStamp, PackageState, Reading
from cas.database.store import Store
from cas.errors import ConfigError, KernelNotFound, TryAgain
from cas.model.kernel import KernelIdentity
from cas.progress import Silent
from cas.settings.rules import PackageRules

MakeDump = Callable[..., KernelIdentity]

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For what has nothing to do with the database."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kp.build(kp.Recipe(*kp.debuginfo("one")), tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = replace(kp.Recipe(*kp.debuginfo("two", "5.14.0-1.el9.x86_64")), release="1.el9")
    return kp.build(recipe, tmp_path_factory.mktemp("two"))


def build(catalogue: Catalogue, kernels: Path) -> BuildSummary:
    return building.build(catalogue.store, kernels, PackageRules(kp.FILTER), Silent())


def zeroed(path: Path) -> None:
    """Fill a file with zeros behind the build's back: were it read again, it would be bad."""
    status = path.stat()
    with path.open("r+b") as file:
        file.write(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@on_sqlite
def test_every_matching_package_is_catalogued(
    catalogue: Catalogue, kernels: Path, package: Path, other: Path
) -> None:
    shutil.copy(package, kernels)
    shutil.copy(other, kernels)
    shutil.copy(other, kernels / "something-else.rpm")
    assert build(catalogue, kernels) == BuildSummary(2, 0, 0, 2, ())


@on_sqlite
def test_a_second_run_reads_nothing_that_has_not_changed(
    catalogue: Catalogue, kernels: Path, package: Path, other: Path
) -> None:
    unchanged = Path(shutil.copy(package, kernels))
    build(catalogue, kernels)
    zeroed(unchanged)
    shutil.copy(other, kernels)
    assert build(catalogue, kernels) == BuildSummary(1, 1, 0, 2, ())


@now_and_then_on_both
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


@now_and_then_on_both
def test_rows_of_vanished_packages_go(
    catalogue: Catalogue, kernels: Path, package: Path, other: Path
) -> None:
    shutil.copy(package, kernels)
    gone = Path(shutil.copy(other, kernels))
    build(catalogue, kernels)
    gone.unlink()
    assert build(catalogue, kernels) == BuildSummary(0, 1, 1, 1, ())


@now_and_then_on_both
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


@on_sqlite
def test_a_corrupt_package_stays_reported_without_being_read_again(
    catalogue: Catalogue, kernels: Path
) -> None:
    (kernels / "kernel-debuginfo-0.rpm").write_bytes(b"")
    first, second = build(catalogue, kernels), build(catalogue, kernels)
    assert (second.added, second.unchanged, second.bad) == (0, 1, first.bad)


@on_sqlite
def test_a_corrupt_package_that_was_replaced_is_good_again(
    catalogue: Catalogue, kernels: Path, package: Path
) -> None:
    path = kernels / package.name
    path.write_bytes(b"")
    build(catalogue, kernels)
    shutil.copy(package, path)
    assert build(catalogue, kernels) == BuildSummary(1, 0, 0, 1, ())


@on_sqlite
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


@on_sqlite
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


@on_sqlite
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


@on_sqlite
def test_an_invalid_filter_is_refused_before_anything_is_read(
    catalogue: Catalogue, kernels: Path
) -> None:
    with pytest.raises(ConfigError, match="rpmFilter"):
        building.build(catalogue.store, kernels, PackageRules(r"\("), Silent())
    with pytest.raises(ConfigError, match="debFilter"):
        building.build(catalogue.store, kernels, PackageRules(deb_filter=r"\("), Silent())


@on_sqlite
def test_a_package_that_vanished_after_the_build_is_not_taken(
    catalogue: Catalogue, kernels: Path, package: Path, dump: MakeDump
) -> None:
    path = Path(shutil.copy(package, kernels))
    build(catalogue, kernels)
    path.unlink()
    with pytest.raises(KernelNotFound, match=f"{path} is gone"):
        catalogue.find(dump(build_id=kp.build_id("one")))


@now_and_then_on_both
def test_a_renamed_package_is_not_read_again(
    catalogue: Catalogue, kernels: Path, package: Path, dump: MakeDump
) -> None:
    old = Path(shutil.copy(package, kernels))
    build(catalogue, kernels)
    zeroed(old)
    (kernels / "archive").mkdir()
    new = old.rename(kernels / "archive" / "kernel-debuginfo-1.rpm")
    assert build(catalogue, kernels) == BuildSummary(0, 1, 0, 1, (), renamed=1)
    assert catalogue.find(dump(build_id=kp.build_id("one"))).kernel.source == new


@now_and_then_on_both
def test_packages_that_exchanged_their_names_are_not_read_again(
    catalogue: Catalogue, kernels: Path, package: Path, other: Path, dump: MakeDump
) -> None:
    one, two = (Path(shutil.copy(path, kernels)) for path in (package, other))
    build(catalogue, kernels)
    zeroed(one)
    zeroed(two)
    aside = one.rename(kernels / "aside")
    two.rename(one)
    aside.rename(two)
    assert build(catalogue, kernels) == BuildSummary(0, 2, 0, 2, (), renamed=2)
    assert catalogue.find(dump(build_id=kp.build_id("one"))).kernel.source == two


@on_sqlite
def test_a_package_renamed_over_another_takes_its_place(
    catalogue: Catalogue, kernels: Path, package: Path, other: Path, dump: MakeDump
) -> None:
    one, two = (Path(shutil.copy(path, kernels)) for path in (package, other))
    build(catalogue, kernels)
    zeroed(two)
    two.rename(one)
    assert build(catalogue, kernels) == BuildSummary(0, 1, 0, 1, (), renamed=1)
    found = catalogue.find(dump(osrelease="5.14.0-1.el9.x86_64", build_id=kp.build_id("two")))
    assert found.kernel.source == one


@on_sqlite
def test_a_package_that_was_replaced_in_place_is_read_again(
    catalogue: Catalogue, kernels: Path, package: Path
) -> None:
    path = Path(shutil.copy(package, kernels))
    build(catalogue, kernels)
    status = path.stat()
    part = kernels / "part"
    part.write_bytes(bytes(status.st_size))
    os.utime(part, ns=(status.st_atime_ns, status.st_mtime_ns))
    part.rename(path)  # as long as the old one, and as old
    summary = build(catalogue, kernels)
    assert (summary.added, summary.kernels, len(summary.bad)) == (1, 0, 1)


@now_and_then_on_both
def test_what_an_interrupted_run_has_read_is_not_read_again(
    database: str, catalogue: Catalogue, kernels: Path, package: Path, dump: MakeDump
) -> None:
    path = Path(shutil.copy(package, kernels))
    stamp = FileStamp.of(path.stat())
    readings = ReadingRows(Database(database, 1))
    readings.keep_readings([Reading(str(path), stamp, reading.read_facts(str(path)))])
    zeroed(path)
    assert catalogue.store.packages.counts().kernels == 0
    assert build(catalogue, kernels) == BuildSummary(1, 0, 0, 1, ())
    assert catalogue.find(dump(build_id=kp.build_id("one")))
    assert readings.stamps() == {}


@on_sqlite
def test_what_an_interrupted_run_has_read_of_other_content_is_read_again(
    database: str, catalogue: Catalogue, kernels: Path, package: Path
) -> None:
    path = Path(shutil.copy(package, kernels))
    readings = ReadingRows(Database(database, 1))
    facts = reading.failure(PackageState.BAD, "cut short")
    readings.keep_readings([Reading(str(path), FileStamp(1, 1, 1), facts)])
    readings.keep_readings([Reading("/gone.rpm", FileStamp(1, 1, 1), facts)])
    assert build(catalogue, kernels) == BuildSummary(1, 0, 0, 1, ())
    assert readings.stamps() == {}


@now_and_then_on_both
def test_others_see_the_whole_of_a_run_or_nothing(
    database: str, catalogue: Catalogue, kernels: Path, package: Path
) -> None:
    for number in range(40):
        shutil.copy(package, kernels / f"kernel-debuginfo-{number}.rpm")
    catalogue.store.open()
    reader, seen = Store(database), set()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(build, catalogue, kernels)
        while not running.done():
            seen.add(len(reader.kernels.listed()))
        assert running.result().kernels == 40
    assert seen <= {0, 40}


class Heard(Silent):
    """What a run says."""

    def __init__(self) -> None:
        self.said: SimpleQueue[str] = SimpleQueue()

    def say(self, text: str) -> None:
        self.said.put(text)


@on_both
def test_a_second_run_waits_for_the_first(database: str, kernels: Path, package: Path) -> None:
    shutil.copy(package, kernels)
    second, progress = Store(database), Heard()
    rules = PackageRules(kp.FILTER)
    with ThreadPoolExecutor() as pool:
        with Database(database, 1).alone(lambda: None):
            running = pool.submit(building.build, second, kernels, rules, progress)
            assert progress.said.get(timeout=60) == (
                "Another build is at work: waiting for its end"
            )
            assert not running.done()
        assert running.result(timeout=60).kernels == 1


@now_and_then_on_both
def test_runs_are_remembered_with_what_went_wrong(
    catalogue: Catalogue, kernels: Path, package: Path
) -> None:
    shutil.copy(package, kernels)
    (kernels / "kernel-debuginfo-0.rpm").write_bytes(b"")
    build(catalogue, kernels)
    with pytest.raises(ConfigError):
        build(catalogue, kernels / "nowhere")
    failed, first = catalogue.store.builds.last()
    assert (first.counts["added"], first.counts["bad"], failed.counts) == (2, 1, {})
    assert "kernel-debuginfo-0.rpm is no intact RPM" in str(first.problem)
    assert "is not a directory" in str(failed.problem)
    assert first.ended is not None and first.started <= first.ended <= failed.started


@on_both
def test_a_run_that_was_killed_has_no_end_and_only_the_last_are_kept(database: str) -> None:
    rows = BuildRows(Database(database, 5))
    for _ in range(BUILDS_KEPT + 1):
        rows.begin_run()
    assert [run.ended for run in rows.last()] == [None] * BUILDS_KEPT


@now_and_then_on_both
def test_packages_of_one_build_id_that_differ_are_reported(
    catalogue: Catalogue, kernels: Path, package: Path
) -> None:
    shutil.copy(package, kernels)
    shutil.copy(package, kernels / "kernel-debuginfo-1-copy.rpm")
    assert build(catalogue, kernels).conflicts == ()
    files, links = kp.debuginfo("one")
    files = {path: content + bytes(64) for path, content in files.items()}
    kp.build(kp.Recipe(files, links), kernels / "other")
    (contest,) = build(catalogue, kernels).conflicts
    assert (contest.build_id, len(contest.kernels)) == (kp.build_id("one"), 3)
    assert set(contest.differ) >= {"size_bytes"}
    assert catalogue.store.kernels.contested() == (contest,)


@now_and_then_on_both
def test_kernels_are_listed_by_pattern(
    catalogue: Catalogue, kernels: Path, package: Path, other: Path
) -> None:
    one, two = (Path(shutil.copy(path, kernels)) for path in (package, other))
    build(catalogue, kernels)
    identity = kp.build_id("one")
    expected = {
        None: [two, one],
        "*": [two, one],
        "kernel-debug": [two, one],
        "5.14.0-1.*": [two],
        kp.RELEASE: [one],
        identity[:6]: [one],
        identity: [one],
        identity[:5]: [],
        "5.14": [two, one],
        "5.15": [],
        "%": [],
        "[": [],
    }
    found = {
        pattern: [kernel.path for kernel in catalogue.store.kernels.listed(pattern)]
        for pattern in expected
    }
    assert found == expected


@now_and_then_on_both
def test_packages_are_counted_by_kind_and_state(
    catalogue: Catalogue, kernels: Path, package: Path
) -> None:
    shutil.copy(package, kernels)
    (kernels / "kernel-debuginfo-0.rpm").write_bytes(b"")
    build(catalogue, kernels)
    counts = catalogue.store.packages.counts()
    assert (counts.packages, counts.kernels) == ({"rpm": {"bad": 1, "ok": 1}}, 1)


@now_and_then_on_both
def test_packages_with_kmods_are_found_by_their_kernel(catalogue: Catalogue, kernels: Path) -> None:
    recipe = kp.Recipe(*kp.debuginfo("one", kmods={"fs/ext4.ko.debug": kp.elf(kp.build_id("k"))}))
    path = kp.build(recipe, kernels)
    build(catalogue, kernels)
    assert catalogue.store.packages.with_kmods(kp.RELEASE, "x86_64") == [path]
    assert catalogue.store.packages.with_kmods(kp.RELEASE, "aarch64") == []
    assert catalogue.store.packages.counts().kmod_packages == 1


@on_both
def test_trust_is_remembered_while_the_content_is_the_same(
    catalogue: Catalogue, kernels: Path, package: Path
) -> None:
    path = Path(shutil.copy(package, kernels))
    build(catalogue, kernels)
    stamp = FileStamp.of(path.stat())
    catalogue.store.packages.set_trust(path, FileStamp(1, 2, 3), "of another file")
    assert catalogue.store.packages.trust_of(path) is None
    catalogue.store.packages.set_trust(path, stamp, "signed")
    path = path.rename(kernels / "kernel-debuginfo-1.rpm")
    build(catalogue, kernels)
    assert catalogue.store.packages.trust_of(path, stamp) == "signed"
    assert catalogue.store.packages.trust_of(path, FileStamp(1, 2, 3)) is None
    path.write_bytes(package.read_bytes() + b"more")
    build(catalogue, kernels)
    assert catalogue.store.packages.trust_of(path) is None
