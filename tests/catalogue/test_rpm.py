import random
from pathlib import Path

import kernel_packages as kp
import pytest
import rpm_writer as rw
from mutate_rpm import mutant, try_to_read

from cas.catalogue.packages.rpm import read_rpm
from cas.catalogue.packages.rpm_files import read_file_list
from cas.catalogue.packages.rpm_layout import flavour
from cas.errors import PackageError


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files, links = kp.debuginfo("one", kmods={"fs/xfs.ko.debug": kp.elf(kp.build_id("xfs"))})
    return kp.build(kp.Recipe(files, links), tmp_path_factory.mktemp("rpm"))


def test_the_header_alone_gives_the_identity(package: Path) -> None:
    found = read_rpm(package)
    (kernel,) = found.kernels
    assert (found.name, found.arch) == ("kernel-debuginfo", "x86_64")
    assert kernel.release == kp.RELEASE
    assert kernel.build_id == kp.build_id("one")
    assert kernel.member == f"/usr/lib/debug/lib/modules/{kp.RELEASE}/vmlinux"
    assert kernel.size_bytes == len(kp.vmlinux("one"))
    assert found.build_time_s is not None


def test_without_build_id_links_the_path_gives_the_release(tmp_path: Path) -> None:
    files, links = kp.debuginfo("one", linked=False)
    (kernel,) = read_rpm(kp.build(kp.Recipe(files, links), tmp_path)).kernels
    assert (kernel.release, kernel.build_id) == (kp.RELEASE, None)


def test_each_flavour_in_a_package_is_a_kernel(tmp_path: Path) -> None:
    releases = {"2.6.18-398.el5": "", "2.6.18-398.el5PAE": "PAE", "2.6.18-398.el5debug": "debug"}
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    for release in releases:
        files |= kp.debuginfo(release, release)[0]
        links |= kp.debuginfo(release, release)[1]
    package = read_rpm(kp.build(kp.Recipe(files, links, arch="i686"), tmp_path))
    assert {kernel.release: kernel.flavour for kernel in package.kernels} == releases
    assert {kernel.build_id for kernel in package.kernels} == set(map(kp.build_id, releases))


def test_suse_layout_is_known(tmp_path: Path) -> None:
    release = "5.14.21-150500.55.19-default"
    files = {f"/usr/lib/debug/boot/vmlinux-{release}.debug": kp.vmlinux("suse", release)}
    identity = kp.build_id("suse")
    links = {
        f"/usr/lib/debug/.build-id/{identity[:2]}/{identity[2:]}.debug": (
            f"../../boot/vmlinux-{release}.debug"
        )
    }
    recipe = kp.Recipe(files, links, name="kernel-default-debuginfo")
    (kernel,) = read_rpm(kp.build(recipe, tmp_path)).kernels
    assert (kernel.release, kernel.build_id, kernel.flavour) == (release, identity, "default")


@pytest.mark.parametrize(
    ("target", "arch"), [("i586", "i686"), ("aarch64", "aarch64"), ("armv7hl", "arm")]
)
def test_the_architecture_is_spelled_as_uname_does(target: str, arch: str, tmp_path: Path) -> None:
    files, links = kp.debuginfo("one")
    assert read_rpm(kp.build(kp.Recipe(files, links, arch=target), tmp_path)).arch == arch


def test_a_package_without_vmlinux_has_no_kernels(tmp_path: Path) -> None:
    recipe = kp.Recipe({"/usr/lib/debug/usr/bin/perf.debug": b"x"}, name="kernel-tools-debuginfo")
    assert read_rpm(kp.build(recipe, tmp_path)).kernels == ()


def test_a_vmlinux_that_is_a_link_is_no_kernel(tmp_path: Path) -> None:
    links = {f"/usr/lib/debug/lib/modules/{kp.RELEASE}/vmlinux": "/etc/passwd"}
    assert read_rpm(kp.build(kp.Recipe({}, links), tmp_path)).kernels == ()


def forged(path: str, package: Path, directory: Path) -> Path:
    """The package, with another directory in place of its vmlinux's."""
    genuine = f"/usr/lib/debug/lib/modules/{kp.RELEASE}/\0".encode()
    content = package.read_bytes()
    assert content.count(genuine) == 1
    lie = path.rpartition("vmlinux")[0].encode().ljust(len(genuine), b"\0")
    target = directory / "forged.rpm"
    lying, end = content.replace(genuine, lie), read_file_list(package).payload_offset
    target.write_bytes(rw.resigned(lying, rw.header_begin(lying), end))
    return target


def test_a_header_with_a_flipped_bit_is_damaged(package: Path, tmp_path: Path) -> None:
    content = bytearray(package.read_bytes())
    content[content.index(b"vmlinux\0")] ^= 1
    flipped = tmp_path / "flipped.rpm"
    flipped.write_bytes(content)
    with pytest.raises(PackageError, match=r"header is damaged: .* promised sha256"):
        read_rpm(flipped)


@pytest.mark.parametrize(
    "path",
    ["/usr/lib/debug/lib/modules/5.1\n0/vmlinux", "/usr/lib/debug/lib/modules/5.10/x/vmlinux"],
)
def test_a_path_of_another_shape_is_no_kernel(path: str, package: Path, tmp_path: Path) -> None:
    assert read_rpm(forged(path, package, tmp_path)).kernels == ()


@pytest.mark.parametrize(
    "path",
    [
        "/usr/lib/debug/lib/modules/../../../../etc/vmlinux",
        "/usr/lib/debug/lib/modules/../vmlinux",
    ],
)
def test_a_path_that_leads_elsewhere_is_damage(path: str, package: Path, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="leads out of its directory"):
        read_rpm(forged(path, package, tmp_path))


@pytest.mark.parametrize("size", [0, 1, 50, 96, 100, 200, 400, 800, 1500])
def test_a_package_cut_inside_its_header_is_named(size: int, package: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.rpm"
    cut.write_bytes(package.read_bytes()[:size])
    with pytest.raises(PackageError, match=r"cut\.rpm is no intact RPM"):
        read_rpm(cut)


def test_garbage_is_no_package(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.rpm"
    garbage.write_bytes(random.Random(1).randbytes(100_000))  # noqa: S311
    with pytest.raises(PackageError, match="does not begin like one"):
        read_rpm(garbage)


def test_a_mutated_header_gives_a_package_or_an_error(package: Path, tmp_path: Path) -> None:
    original, end = package.read_bytes(), read_file_list(package).payload_offset
    path = tmp_path / "mutant.rpm"
    refused = 0
    for seed in range(500):
        path.write_bytes(mutant(original, end, seed))
        refused += try_to_read(path)
    assert refused > 100


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("5.14.0-427.el9.x86_64", ""),
        ("5.14.0-427.el9.x86_64+rt", "rt"),
        ("5.14.0-427.el9.aarch64+64k-debug", "64k-debug"),
        ("4.18.0-513.rt7.295.el8.x86_64", "rt"),
        ("3.10.0-1160.el7.x86_64.debug", "debug"),
        ("3.10.0-1160.rt56.1131.el7.x86_64", "rt"),
        ("4.18.0-513.rt7.295.el8.x86_64+debug", "rt-debug"),
        ("5.14.0-427.el9.x86_64+rt-debug", "rt-debug"),
        ("5.14.0-427.el9.aarch64+rt-64k", "rt-64k"),
        ("4.18.0-80.el8.s390x+zfcpdump", "zfcpdump"),
        ("2.6.32-71.el6.ppc64.kdump", "kdump"),
        ("2.6.18-398.el5kdump", "kdump"),
        ("2.6.9-100.ELlargesmp", "largesmp"),
        ("2.6.9-100.ELhugemem", "hugemem"),
        ("2.6.32.9-70.fc12.i686.PAE", "PAE"),
        ("3.19.8-100.fc20.i686+PAEdebug", "PAEdebug"),
        ("2.6.18-398.el5xen", "xen"),
        ("5.15.0-100.96.32.el9uek.x86_64", "uek"),
        ("5.4.17-2136.315.5.el8uek.x86_64.debug", "uek-debug"),
        ("6.12.0-100.28.2.el9uek.aarch64+64k", "uek-64k"),
        ("5.10.230-223.885.amzn2.x86_64", ""),
        ("6.1.115-126.197.amzn2023.aarch64", ""),
        ("5.10.0-60.18.0.50.oe2203.aarch64", ""),
        ("6.6.57.1-1.azl3", ""),
        ("6.4.0-150600.21-64kb", "64kb"),
        ("5.3.18-8.3-rt_debug", "rt_debug"),
        ("5.14.21-150500.55.19-default", "default"),
        ("6.1.0-18-cloud-amd64", "cloud-amd64"),
        ("6.10.3", ""),
    ],
)
def test_the_release_names_the_flavour(release: str, expected: str) -> None:
    assert flavour(release) == expected
