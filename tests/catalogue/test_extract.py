import gzip
import lzma
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import kernel_packages as kp
import pytest
import zstandard

from cas.catalogue import Catalogue
from cas.catalogue.cache import placing
from cas.catalogue.extraction.extract import extract, extract_kmods, extract_vmlinux
from cas.database.store import Store
from cas.errors import ConfigError, DiskFull, KernelMismatch, PackageError
from cas.model.kernel import Kernel, KernelIdentity, Match
from cas.progress import Silent

KMOD = kp.elf(kp.build_id("kmod"))
MEMBER = f"/usr/lib/debug/lib/modules/{kp.RELEASE}/vmlinux"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "debugs"


def packed(directory: Path, **kmod_files: bytes) -> Path:
    return kp.build(kp.Recipe(*kp.debuginfo("one", kmods=kmod_files)), directory)


def matched(package: Path, **facts: object) -> Match:
    kernel = Kernel(kp.RELEASE, "x86_64", package, MEMBER, build_id=kp.build_id("one"))
    return Match(replace(kernel, **facts), "build-id", "")


def files(match: Match, *names: str, cache: Path) -> Mapping[str, Path]:
    return extract_kmods(match, dict.fromkeys(names), cache, Silent()).files


def leftovers(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.name.startswith(placing.TEMPORARY)]


@pytest.mark.parametrize("kind", ["w6.gzdio", "w6.xzdio", "w3.zstdio", "w.ufdio"])
def test_the_vmlinux_comes_out_as_it_went_in(kind: str, tmp_path: Path, cache: Path) -> None:
    files = {MEMBER: kp.vmlinux("one", padding=5_000_000)}
    package = kp.build(kp.Recipe(files, payload=kind), tmp_path)
    path = extract_vmlinux(matched(package), cache, Silent())
    assert path == cache / kp.build_id("one") / "vmlinux"
    assert path.read_bytes() == files[MEMBER]
    assert path.stat().st_blocks * 512 < 1_000_000  # zeros are holes
    assert stat.S_IMODE(path.stat().st_mode) == 0o400


def test_what_is_cached_needs_no_package(tmp_path: Path, cache: Path) -> None:
    package = packed(tmp_path)
    first = extract_vmlinux(matched(package), cache, Silent())
    package.unlink()
    assert extract_vmlinux(matched(package), cache, Silent()) == first


@pytest.mark.parametrize("damage", [b"", b"\x7fELF", kp.vmlinux("another")])
def test_a_damaged_cache_entry_is_extracted_again(
    damage: bytes, tmp_path: Path, cache: Path
) -> None:
    package = packed(tmp_path)
    path = extract_vmlinux(matched(package), cache, Silent())
    path.unlink()
    path.write_bytes(damage)
    assert extract_vmlinux(matched(package), cache, Silent()).read_bytes() == kp.vmlinux("one")


def test_a_cut_cache_entry_is_extracted_again(tmp_path: Path, cache: Path) -> None:
    match = matched(packed(tmp_path), size_bytes=len(kp.vmlinux("one")))
    path = extract_vmlinux(match, cache, Silent())
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size - 1)
    assert extract_vmlinux(match, cache, Silent()).read_bytes() == kp.vmlinux("one")


def test_a_package_that_lies_about_its_build_id_is_refused(tmp_path: Path, cache: Path) -> None:
    links = kp.build_id_links(kp.build_id("one"), kp.RELEASE)
    package = kp.build(kp.Recipe({MEMBER: kp.vmlinux("other")}, links), tmp_path)
    with pytest.raises(KernelMismatch) as caught:
        extract_vmlinux(matched(package), cache, Silent())
    assert kp.build_id("one") in str(caught.value)
    assert kp.build_id("other") in str(caught.value)
    assert not (cache / kp.build_id("one") / "vmlinux").exists()
    assert leftovers(cache) == []


def test_a_vmlinux_of_another_release_is_refused(tmp_path: Path, cache: Path) -> None:
    package = kp.build(kp.Recipe({MEMBER: kp.vmlinux("one", release="6.0.0")}), tmp_path)
    with pytest.raises(KernelMismatch, match=r"6\.0\.0"):
        extract_vmlinux(matched(package), cache, Silent())


def test_a_vmlinux_that_is_no_elf_file_is_refused(tmp_path: Path, cache: Path) -> None:
    package = kp.build(kp.Recipe({MEMBER: b"#!/bin/sh\n"}), tmp_path)
    with pytest.raises(PackageError, match="is no vmlinux"):
        extract_vmlinux(matched(package), cache, Silent())


def test_kernels_without_build_id_are_told_apart_by_their_banner(
    tmp_path: Path, cache: Path
) -> None:
    text = kp.banner()
    package = kp.build(
        kp.Recipe({MEMBER: kp.elf(None, text, extra_section=".debug_info")}), tmp_path
    )
    path = extract_vmlinux(matched(package, build_id=None, banner=text), cache, Silent())
    assert path.read_bytes() == kp.elf(None, text, extra_section=".debug_info")
    with pytest.raises(KernelMismatch, match="has the banner"):
        extract_vmlinux(matched(package, build_id=None, banner=text + "!"), cache, Silent())


def test_a_flipped_bit_in_the_payload_is_seen(tmp_path: Path, cache: Path) -> None:
    package = kp.build(
        kp.Recipe({MEMBER: kp.vmlinux("one", padding=100_000)}, payload="w.ufdio"), tmp_path
    )
    content = bytearray(package.read_bytes())
    content[-60_000] ^= 1
    package.write_bytes(content)
    with pytest.raises(PackageError, match=r"is damaged: sha256 .* promised"):
        extract_vmlinux(matched(package), cache, Silent())
    assert leftovers(cache) == []


def test_a_damaged_package_leaves_nothing_behind(tmp_path: Path, cache: Path) -> None:
    package = packed(tmp_path)
    package.write_bytes(package.read_bytes()[:-300] + bytes(300))
    with pytest.raises(PackageError, match="the payload is damaged"):
        extract_vmlinux(matched(package), cache, Silent())
    assert not list(cache.glob("*/vmlinux"))
    assert leftovers(cache) == []


def test_a_package_that_is_gone_is_named(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(PackageError, match=r"nowhere\.rpm cannot be read: No such file"):
        extract_vmlinux(matched(tmp_path / "nowhere.rpm"), cache, Silent())


def test_a_member_that_the_payload_lacks_is_named(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(PackageError, match="the payload lacks /boot/vmlinux"):
        extract_vmlinux(matched(packed(tmp_path), member="/boot/vmlinux"), cache, Silent())


def test_too_little_space_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match=r"needs 1024\.0 PiB, has "):
        placing.place(placing.Place(tmp_path / "vmlinux", 1 << 60), [b"x"])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_may_not_grow_on_leaves_nothing_behind(tmp_path: Path, cache: Path) -> None:
    content = kp.vmlinux("one") + b"x" * 300_000
    package = kp.build(kp.Recipe({MEMBER: content}), tmp_path)
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from cas.catalogue.extraction.extract import extract_vmlinux\n"
        "from cas.errors import DiskFull; from cas.model.kernel import Kernel, Match\n"
        "from cas.progress import Silent\n"
        f"kernel = Kernel({kp.RELEASE!r}, 'x86_64', Path(sys.argv[1]), {MEMBER!r})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: extract_vmlinux(Match(kernel, '', ''), Path(sys.argv[2]), Silent())\n"
        "except DiskFull as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, package, cache], capture_output=True, text=True, check=True
    )
    assert "is larger than this process may make a file: 97.7 KiB" in done.stdout
    assert leftovers(cache) == []
    assert list(cache.glob("*/vmlinux")) == []


def test_a_cache_that_cannot_be_written_names_the_directive(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"debugs: .*/file/.* cannot be written: Not a directory"):
        extract_vmlinux(matched(packed(tmp_path)), tmp_path / "file", Silent())


def test_what_a_killed_process_left_is_removed(tmp_path: Path, cache: Path) -> None:
    entry = cache / kp.build_id("one")
    entry.mkdir(parents=True)
    (entry / f"{placing.TEMPORARY}old").write_bytes(b"half")
    extract_vmlinux(matched(packed(tmp_path)), cache, Silent())
    assert leftovers(cache) == []


def test_two_processes_extract_the_same_vmlinux_at_once(tmp_path: Path, cache: Path) -> None:
    package = kp.build(
        kp.Recipe({MEMBER: kp.vmlinux("one", padding=20_000_000)}, payload="w1.gzdio"), tmp_path
    )
    script = (
        "import sys; from pathlib import Path\n"
        "from cas.catalogue.extraction.extract import extract_vmlinux\n"
        "from cas.model.kernel import Kernel, Match; from cas.progress import Silent\n"
        "class Told(Silent):\n"
        "    def bar(self, *words): print('extracting'); return super().bar(*words)\n"
        f"kernel = Kernel({kp.RELEASE!r}, 'x86_64', Path(sys.argv[1]), {MEMBER!r}, "
        f"{kp.build_id('one')!r})\n"
        "print(extract_vmlinux(Match(kernel, '', ''), Path(sys.argv[2]), Told()))\n"
    )
    argv = [sys.executable, "-c", script, package, cache]
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [process.communicate()[0] for process in running]
    expected = cache / kp.build_id("one") / "vmlinux"
    assert [output.splitlines()[-1] for output in outputs] == [str(expected)] * 4
    assert "".join(outputs).count("extracting") == 1
    assert expected.read_bytes() == kp.vmlinux("one", padding=20_000_000)


def test_only_the_named_kmods_are_extracted(tmp_path: Path, cache: Path) -> None:
    package = packed(
        tmp_path,
        **{"net/nf-conntrack.ko.debug": KMOD, "fs/xfs.ko.debug": KMOD, "fs/ext4.ko.debug": KMOD},
    )
    found = files(matched(package), "nf_conntrack", "xfs", "zfs", cache=cache)
    assert {name: path.name for name, path in found.items()} == {
        "nf_conntrack": "nf-conntrack.ko.debug",
        "xfs": "xfs.ko.debug",
    }
    assert all(path.read_bytes() == KMOD for path in found.values())
    assert len(list((cache / kp.build_id("one") / "kmods").iterdir())) == 2


def test_hyphen_and_underscore_are_the_same(tmp_path: Path, cache: Path) -> None:
    package = packed(tmp_path, **{"net/nf_conntrack.ko.debug": KMOD})
    assert set(files(matched(package), "nf-conntrack", cache=cache)) == {"nf-conntrack"}


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("xfs.ko", bytes),
        ("xfs.ko.gz", gzip.compress),
        ("xfs.ko.xz", lzma.compress),
        ("xfs.ko.zst", zstandard.ZstdCompressor().compress),
    ],
)
def test_compressed_kmods_come_out_plain(
    name: str, compress: Callable[[bytes], bytes], tmp_path: Path, cache: Path
) -> None:
    package = packed(tmp_path, **{f"fs/{name}": compress(KMOD)})
    found = files(matched(package), "xfs", cache=cache)
    assert (found["xfs"].name, found["xfs"].read_bytes()) == ("xfs.ko", KMOD)


def test_debug_information_goes_before_the_bare_kmod(tmp_path: Path, cache: Path) -> None:
    package = packed(tmp_path, **{"fs/xfs.ko.xz": lzma.compress(KMOD), "fs/xfs.ko.debug": KMOD})
    assert files(matched(package), "xfs", cache=cache)["xfs"].name == "xfs.ko.debug"


def test_kmods_of_another_release_are_left_alone(tmp_path: Path, cache: Path) -> None:
    other = kp.debuginfo("two", "5.14.0-1.el9.x86_64", kmods={"xfs.ko.debug": KMOD})[0]
    package = kp.build(kp.Recipe(kp.debuginfo("one")[0] | other), tmp_path)
    assert files(matched(package), "xfs", cache=cache) == {}


def test_a_kmod_that_is_no_elf_file_is_left_out_and_said(tmp_path: Path, cache: Path) -> None:
    package = packed(tmp_path, **{"fs/ext4.ko.debug": b"no", "fs/xfs.ko.debug": KMOD})
    found = extract_kmods(matched(package), {"ext4": None, "xfs": None}, cache, Silent())
    assert set(found.files) == {"xfs"}
    assert found.remarks == (f"ext4: {package.name}: it is no kernel module: no ELF header",)


def test_a_kmod_that_the_package_lacks_is_sought_only_once(tmp_path: Path, cache: Path) -> None:
    package = packed(tmp_path, **{"fs/xfs.ko.debug": KMOD})
    found = extract(matched(package), ["xfs", "nvidia"], cache, Silent())
    package.unlink()
    assert extract(matched(package), ["xfs", "nvidia"], cache, Silent()) == found


def test_vmlinux_and_kmods_come_in_one_pass(tmp_path: Path, cache: Path) -> None:
    package = packed(tmp_path, **{"fs/xfs.ko.debug": KMOD})
    found = extract(matched(package), ["xfs"], cache, Silent())
    assert found.vmlinux.read_bytes() == kp.vmlinux("one")
    assert found.kmods["xfs"].read_bytes() == KMOD


def test_an_installed_kernel_is_used_in_place(
    catalogue: Catalogue, dump: Callable[..., KernelIdentity], tmp_path: Path, cache: Path
) -> None:
    directory = tmp_path / f"usr/lib/debug/lib/modules/{kp.RELEASE}"
    (directory / "kernel").mkdir(parents=True)
    (directory / "vmlinux").write_bytes(kp.vmlinux("one"))
    (directory / "kernel/xfs.ko.debug").write_bytes(KMOD)
    bare = tmp_path / f"lib/modules/{kp.RELEASE}/kernel"
    bare.mkdir(parents=True)
    (bare / "nf-conntrack.ko.xz").write_bytes(lzma.compress(KMOD))
    match = catalogue.find(dump(build_id=kp.build_id("one")), root=tmp_path)
    found = extract(match, ["xfs", "nf_conntrack"], cache, Silent())
    assert found.vmlinux == directory / "vmlinux"
    assert found.kmods["xfs"] == directory / "kernel/xfs.ko.debug"
    assert found.kmods["nf_conntrack"].read_bytes() == KMOD


def test_a_cached_kernel_is_found_without_the_database(
    tmp_path: Path, cache: Path, dump: Callable[..., KernelIdentity]
) -> None:
    extract_vmlinux(matched(packed(tmp_path)), cache, Silent())
    catalogue = Catalogue(Store(tmp_path / "never-made.db"))
    match = catalogue.find(dump(build_id=kp.build_id("one")), cache=cache)
    assert match.kernel == matched(packed(tmp_path)).kernel
    assert not (tmp_path / "never-made.db").exists()
