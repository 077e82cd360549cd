import gzip
import lzma
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import deb_packages as deb
import kernel_packages as kp
import pytest

from cas.catalogue import Catalogue
from cas.catalogue.building.build import build
from cas.catalogue.extraction.extract import extract, extract_kmods
from cas.catalogue.extraction.kmod_search import Found, KmodSupplier, Search
from cas.catalogue.packages.kmod_files import parse_kmod_name
from cas.catalogue.suppliers import InstalledKmods
from cas.database.store import Store
from cas.model.kernel import Kernel, Match
from cas.progress import Advance, Silent
from cas.settings.rules import PackageRules

TREE = f"/usr/lib/debug/lib/modules/{kp.RELEASE}"
OLD, NEW = kp.build_id("old"), kp.build_id("new")


class Bars(Silent):
    """Keeps what was said of long steps."""

    def __init__(self) -> None:
        self.bars: list[str] = []

    def bar(
        self, text: str, total: int | None, unit: str = "bytes"
    ) -> AbstractContextManager[Advance]:
        self.bars.append(text)
        return super().bar(text, total, unit)


def kmod(build_id: str, *, debug: bool = True) -> bytes:
    return kp.elf(build_id, extra_section=".debug_info" if debug else ".extra")


def linked(path: str, build_id: str) -> dict[str, str]:
    """The ``.build-id`` link to a file below ``/usr/lib/debug``, as RPM makes it."""
    link = f"/usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    return {link: "../../" + path.removeprefix("/usr/lib/debug/")}


def package(
    directory: Path, files: Mapping[str, bytes], links: Mapping[str, str] = {}, **facts: str
) -> Path:
    return kp.build(replace(kp.Recipe(files, links, payload="w1.gzdio"), **facts), directory)


def own(directory: Path, kmods: Mapping[str, bytes] = {}, links: Mapping[str, str] = {}) -> Match:
    """A kernel's own package in Red Hat's layout."""
    files, more = kp.debuginfo("one", kmods=kmods)
    return matched(package(directory / "own", files, {**more, **links}))


def matched(source: Path, member: str | None = f"{TREE}/vmlinux") -> Match:
    kernel = Kernel(kp.RELEASE, "x86_64", source, member, build_id=kp.build_id("one"))
    return Match(kernel, "build-id", "")


@dataclass
class Others:
    """Packages beside the kernel's own, without a catalogue."""

    packages: Sequence[Path]

    def kmods(self, search: Search) -> None:
        search.open_others(self.packages)


def found(
    match: Match, wanted: Mapping[str, str | None], cache: Path, *suppliers: KmodSupplier
) -> Found:
    return extract_kmods(match, wanted, cache, Silent(), suppliers)


@pytest.fixture(scope="module")
def without_kmods(tmp_path_factory: pytest.TempPathFactory) -> Match:
    return own(tmp_path_factory.mktemp("bare"))


@pytest.mark.parametrize(
    ("path", "kmod", "plain_name"),
    [
        ("/lib/modules/6/kernel/nf-conntrack.ko", "nf_conntrack", "nf-conntrack.ko"),
        ("/lib/modules/6/kernel/xfs.ko.zst", "xfs", "xfs.ko"),
        ("/usr/lib/debug/lib/modules/6/kernel/xfs.ko.debug", "xfs", "xfs.ko.debug"),
        ("/usr/lib/debug/lib/modules/6/kernel/xfs.ko.xz.debug", "xfs", "xfs.ko.debug"),
        ("/usr/lib/debug/lib/modules/6/kernel/xfs.ko.debug.xz", "xfs", "xfs.ko.debug"),
        ("/usr/lib/debug/lib/modules/6/extra/a.ko-1.2-3.el9.x86_64.debug", "a", "a.ko.debug"),
    ],
)
def test_every_distributions_file_names_are_known(path: str, kmod: str, plain_name: str) -> None:
    file = parse_kmod_name(path)
    assert file is not None
    assert (file.kmod, file.plain_name) == (kmod, plain_name)


@pytest.mark.parametrize("name", ["vmlinux", "xfs.ko.sig", "xfs.ko-1.2", "../.ko", "a b.ko.debug"])
def test_other_files_are_no_kmods(name: str) -> None:
    assert parse_kmod_name(f"/lib/modules/6/{name}") is None


def test_the_links_of_a_package_tell_another_build_without_reading_it(
    tmp_path: Path,
) -> None:
    path = f"{TREE}/kernel/vendor.ko.debug"
    match = own(tmp_path, {"vendor.ko.debug": kmod(NEW)}, linked(path, NEW))
    bars = Bars()
    result = extract_kmods(match, {"vendor": OLD}, tmp_path / "debugs", bars)
    assert (dict(result.files), bars.bars) == ({}, [])
    assert result.remarks == (
        f"vendor: build-id {OLD} was loaded, {match.kernel.source.name} has {NEW}",
    )


def test_without_links_another_build_is_told_once_it_was_extracted(tmp_path: Path) -> None:
    match = own(tmp_path, {"vendor.ko.debug": kmod(NEW)})
    for expected in (["Extracting 1 kernel module of " + kp.RELEASE], []):
        bars = Bars()
        result = extract_kmods(match, {"vendor": OLD}, tmp_path / "debugs", bars)
        assert bars.bars == expected  # a package is not opened again for what it lacks
        assert dict(result.files) == {}
        assert result.remarks == (
            f"vendor: build-id {OLD} was loaded, {match.kernel.source.name} has {NEW}",
        )
    assert not list((tmp_path / "debugs").rglob("vendor*"))


def test_two_dumps_of_one_kernel_with_different_builds_of_a_kmod(
    without_kmods: Match, tmp_path: Path
) -> None:
    packages = [
        package(
            tmp_path / word,
            {f"{TREE}/extra/vendor.ko.debug": kmod(kp.build_id(word))},
            name=f"kmod-vendor-{word}-debuginfo",
        )
        for word in ("old", "new")
    ]
    cache = tmp_path / "debugs"
    paths = [
        found(without_kmods, {"vendor": build_id}, cache, Others(packages)).files["vendor"]
        for build_id in (OLD, NEW, OLD, NEW)
    ]
    directory = cache / kp.build_id("one") / "kmods"
    assert paths[:2] == [directory / "vendor.ko.debug", directory / NEW / "vendor.ko.debug"]
    assert paths[2:] == paths[:2]
    assert [path.read_bytes() for path in paths[:2]] == [kmod(OLD), kmod(NEW)]


def test_debuginfo_that_is_split_over_packages_is_put_together(
    without_kmods: Match, tmp_path: Path
) -> None:
    layouts = {
        "kernel-modules-core-debuginfo": ("xfs", "kernel/fs/xfs.ko.debug"),
        "kernel-default-extra-debuginfo": ("nf_conntrack", "kernel/nf-conntrack.ko.zst.debug"),
        "kmod-vendor-debuginfo": ("vendor", "extra/vendor.ko-1.2-3.x86_64.debug"),
    }
    packages = [
        package(tmp_path / name, {f"{TREE}/{path}": kmod(kp.build_id(wanted))}, name=name)
        for name, (wanted, path) in layouts.items()
    ]
    wanted = {name: kp.build_id(name) for name, _ in layouts.values()}
    result = found(without_kmods, wanted, tmp_path / "debugs", Others(packages))
    assert set(result.files) == set(result.debuginfo) == set(wanted)
    assert result.remarks == ()


def test_the_catalogue_names_the_packages_that_have_kmods(
    without_kmods: Match, tmp_path: Path
) -> None:
    files = {f"{TREE}/kernel/xfs.ko.debug": kmod(NEW)}
    other = package(tmp_path / "kernels", files, name="kernel-modules-debuginfo")
    catalogue = Catalogue(Store(tmp_path / "cas.db"))
    build(catalogue.store, tmp_path / "kernels", PackageRules(rpm_filter=r".*\.rpm"), Silent())
    result = catalogue.kmods(
        without_kmods, {"xfs": NEW}, cache=tmp_path / "debugs", progress=Silent()
    )
    assert result.files["xfs"].read_bytes() == kmod(NEW)
    assert catalogue.store.packages.with_kmods(kp.RELEASE, "x86_64") == [other]


def test_a_damaged_package_does_not_hide_the_next(without_kmods: Match, tmp_path: Path) -> None:
    files = {f"{TREE}/kernel/xfs.ko.debug": kmod(NEW)}
    packages = [package(tmp_path / each, files) for each in ("1", "2")]
    packages[0].write_bytes(packages[0].read_bytes()[:-200])
    result = found(without_kmods, {"xfs": NEW}, tmp_path / "debugs", Others(packages))
    assert result.files["xfs"].read_bytes() == kmod(NEW)


def test_a_build_that_the_dump_does_not_tell_is_taken_from_the_kernels_package_only(
    tmp_path: Path,
) -> None:
    match = own(tmp_path, {"xfs.ko.debug": kmod(OLD)})
    other = package(tmp_path / "other", {f"{TREE}/kernel/ext4.ko.debug": kmod(NEW)})
    result = found(match, {"xfs": None, "ext4": None}, tmp_path / "debugs", Others([other]))
    assert set(result.files) == {"xfs"}


def test_what_is_installed_is_used_in_place_if_it_is_of_the_loaded_build(
    without_kmods: Match, tmp_path: Path
) -> None:
    tree = tmp_path / TREE.lstrip("/") / "kernel"
    bare = tmp_path / f"lib/modules/{kp.RELEASE}/kernel"
    for path, content in {
        tree / "xfs.ko.debug": kmod(NEW),
        tree / "ext4.ko.debug": kmod(OLD),
        bare / "nf-conntrack.ko.xz": lzma.compress(kmod(NEW, debug=False)),
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    wanted = dict.fromkeys(("xfs", "ext4", "nf_conntrack"), NEW)
    result = found(without_kmods, wanted, tmp_path / "debugs", InstalledKmods(tmp_path))
    assert result.files["xfs"] == tree / "xfs.ko.debug"
    assert set(result.files) == {"xfs", "nf_conntrack"}
    assert result.debuginfo == {"xfs"}


def test_kmods_beside_a_plain_vmlinux_are_found(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel/xfs.ko.debug").write_bytes(kmod(OLD))
    (tmp_path / "vmlinux").write_bytes(kp.vmlinux("one"))
    match = matched(tmp_path / "vmlinux", None)
    result = found(match, {"xfs": OLD}, tmp_path / "debugs")
    assert result.files["xfs"] == tmp_path / "kernel/xfs.ko.debug"


@pytest.mark.parametrize("packed", ["gzip", "xz", "zstd"])
def test_kmods_come_out_of_a_deb(packed: str, tmp_path: Path) -> None:
    tree = f"/usr/lib/debug/lib/modules/{deb.RELEASE}/kernel"
    files = deb.debuginfo("one", kmods=0) | {
        f"{tree}/net/nf-conntrack.ko": kmod(NEW),
        f"{tree}/fs/xfs.ko": kmod(OLD),
    }
    kernel = Kernel(
        deb.RELEASE,
        "x86_64",
        deb.build(tmp_path, files, packed),
        deb.VMLINUX,
        build_id=kp.build_id("one"),
    )
    match, bars = Match(kernel, "build-id", ""), Bars()
    first = extract(match, ["nf_conntrack"], tmp_path / "debugs", bars)
    assert first.vmlinux.read_bytes() == kp.vmlinux("one", deb.RELEASE)
    assert first.found.debug_files["nf_conntrack"].read_bytes() == kmod(NEW)
    assert bars.bars == [f"Extracting vmlinux of {deb.RELEASE}"]
    result = found(match, {"nf_conntrack": NEW, "xfs": NEW}, tmp_path / "debugs")
    assert set(result.files) == {"nf_conntrack"}
    assert result.remarks == (f"xfs: build-id {NEW} was loaded, {kernel.source.name} has {OLD}",)


@pytest.mark.parametrize(
    ("name", "pack"),
    [("xfs.ko.debug.xz", lzma.compress), ("xfs.ko.gz.debug", bytes), ("xfs.ko.gz", gzip.compress)],
)
def test_compressed_files_come_out_plain_and_are_compared(
    name: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    match = own(tmp_path, {name: pack(kmod(NEW))})
    assert dict(found(match, {"xfs": OLD}, tmp_path / "debugs").files) == {}
    match = own(tmp_path / "again", {name: pack(kmod(NEW))})
    assert found(match, {"xfs": NEW}, tmp_path / "debugs").files["xfs"].read_bytes() == kmod(NEW)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lzma.compress(kmod(NEW))[:-20], "its compressed data is damaged: "),
        (lzma.compress(b"no kernel module"), "it is no kernel module: no ELF header"),
    ],
    ids=["cut", "no ELF"],
)
def test_a_spoilt_kmod_costs_only_itself(content: bytes, reason: str, tmp_path: Path) -> None:
    match = own(tmp_path, {"a.ko.xz": content, "b.ko.debug": kmod(NEW)})
    first = extract(match, ["a", "b"], tmp_path / "debugs", Silent())
    assert set(first.kmods) == {"b"}
    assert first.vmlinux.exists()
    assert first.found.remarks[0].startswith(f"a: {match.kernel.source.name}: {reason}")


def test_a_spoilt_file_of_the_cache_is_extracted_again(tmp_path: Path) -> None:
    match = own(tmp_path, {"xfs.ko.debug": kmod(NEW)})
    path = found(match, {"xfs": NEW}, tmp_path / "debugs").files["xfs"]
    path.chmod(0o600)
    path.write_bytes(b"spoilt")
    assert found(match, {"xfs": NEW}, tmp_path / "debugs").files["xfs"].read_bytes() == kmod(NEW)


def test_one_file_with_debug_information_goes_before_a_bare_one_of_the_cache(
    tmp_path: Path,
) -> None:
    match = own(tmp_path, {"xfs.ko": kmod(NEW, debug=False)})
    first = found(match, {"xfs": NEW}, tmp_path / "debugs")
    assert (first.files["xfs"].name, set(first.debuginfo)) == ("xfs.ko", set())
    other = package(tmp_path / "other", {f"{TREE}/kernel/xfs.ko.debug": kmod(NEW)})
    second = found(match, {"xfs": NEW}, tmp_path / "debugs", Others([other]))
    assert (second.files["xfs"].name, set(second.debuginfo)) == ("xfs.ko.debug", {"xfs"})


@pytest.mark.parametrize("build_id", ["", "../../../etc", "00/11", "x" * 40, "ab" * 200])
def test_a_build_id_of_a_dump_is_never_a_path(
    build_id: str, without_kmods: Match, tmp_path: Path
) -> None:
    files = {f"{TREE}/kernel/xfs.ko.debug": kmod(NEW)}
    other = package(tmp_path / "other", files)
    cache = tmp_path / "debugs"
    found(without_kmods, {"xfs": NEW}, cache, Others([other]))
    before = set(tmp_path.rglob("*"))
    result = found(without_kmods, {"xfs": build_id, "../x": NEW}, cache, Others([other]))
    assert dict(result.files) == {}
    assert {path.name for path in set(tmp_path.rglob("*")) - before} <= {"kmods.json"}
