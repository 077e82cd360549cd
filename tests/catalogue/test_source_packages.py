"""Source lines out of packages: of the very build, and never what a package should not have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from catalogue import deb_packages as dp
from catalogue import kernel_packages as kp
from catalogue import made_sources as ms

from cas.catalogue import Catalogue
from cas.catalogue.extraction.source_packages import (
    Found,
    Search,
    Wanted,
    is_built_with,
    packaged_lines,
)
from cas.catalogue.packages import package_kinds, rpm
from cas.catalogue.source_lines import FILE_BYTES
from cas.database.store import Store
from cas.errors import PackageNotTrusted
from cas.model.kernel import Kernel
from cas.settings.rules import PackageRules

from installed import FIXTURES, needs

FILE = "fs/nfs/dir.c"
TEXT = "".join(f"line {number}\n" for number in range(1, 41)).encode()
(SHIPPED,) = (FIXTURES / "a").glob("*.rpm")
ORIGIN = ms.origin_of(SHIPPED)


def kernel_in(path: Path) -> Kernel:
    package = package_kinds.read_package(path)
    (it,) = package.kernels
    facts = (it.release, package.arch, path, it.member, it.build_id, it.banner)
    return Kernel(*facts, it.size_bytes, it.digest)


@pytest.fixture
def rpm_kernel(tmp_path: Path) -> Kernel:
    """A kernel whose RPM lies in a directory of its own."""
    path = tmp_path / SHIPPED.name
    path.symlink_to(SHIPPED)
    return kernel_in(path)


@pytest.fixture
def deb_kernel(tmp_path: Path) -> Kernel:
    """The same of a DEB."""
    path = tmp_path / f"{dp.NAME}_{dp.VERSION}_amd64.deb"
    path.write_bytes(dp.package(dp.debuginfo("a")))
    return kernel_in(path)


def lines_of(
    kernel: Kernel,
    file: str = FILE,
    line: int = 20,
    banner: str | None = None,
    doubt: Callable[[Path], str | None] = lambda _: None,
    **more: Any,
) -> Found:
    return packaged_lines(Wanted(kernel, banner, file, line), doubt, **more)


def put_common(kernel: Kernel, content: bytes, name: str = ms.common_name(ORIGIN)) -> Path:
    path = kernel.source.with_name(name)
    path.write_bytes(content)
    return path


def put_linux_source(kernel: Kernel, content: bytes, version: str = ms.DEB_VERSION) -> Path:
    path = kernel.source.with_name(f"linux-source-6.1_{version}_all.deb")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("file", [FILE, f"./{FILE}", f"{ms.TREE}/{FILE}", f"/build/linux/{FILE}"])
def test_the_lines_come_from_the_rpm_that_was_built_with_the_kernel(
    rpm_kernel: Kernel, file: str
) -> None:
    package = put_common(rpm_kernel, ms.common(ORIGIN, ms.in_tree({FILE: TEXT})))
    found = lines_of(rpm_kernel, file)
    assert found.lines is not None
    assert (found.lines.file, found.lines.line, found.lines.first) == (file, 20, 14)
    assert found.lines.lines[6] == "line 20"
    assert found.lines.found == f"{package}: {ms.TREE}/{FILE}"
    assert not found.remarks


def test_one_run_of_rpmbuild_is_known_by_what_it_writes_into_all_its_packages(
    tmp_path: Path,
) -> None:
    needs("rpmbuild")
    files, _ = kp.debuginfo("a", linked=False)
    kernel = kernel_in(ms.built_together(tmp_path, files, ms.in_tree({FILE: TEXT})))
    found = lines_of(kernel)
    assert found.lines
    assert "kernel-debuginfo-common-x86_64-5.14.0-427.el9.x86_64.rpm: " in found.lines.found


@pytest.mark.parametrize("file", [FILE, f"./{FILE}", f"/build/linux/{FILE}"])
def test_the_lines_come_from_the_linux_source_of_the_kernels_version(
    deb_kernel: Kernel, file: str
) -> None:
    package = put_linux_source(deb_kernel, ms.linux_source(ms.tarball({FILE: TEXT})))
    found = lines_of(deb_kernel, file)
    assert found.lines is not None
    assert found.lines.lines[6] == "line 20"
    assert found.lines.found == f"{package}: {ms.TARBALL}: /linux-source-6.1/{FILE}"
    assert not found.remarks


HOSTILE = [
    "../../secret.c",
    f"{ms.TREE}/../{FILE}",
    "fs/../fs/nfs/dir.c",
    "nfs/dir.c",
    "fs/nfs",
    "fs/link.c",
    "/etc/passwd",
    f"{FILE}\0",
    "",
]


@pytest.mark.parametrize("file", HOSTILE)
def test_a_path_that_is_no_file_of_the_rpms_tree_gives_nothing(
    rpm_kernel: Kernel, file: str
) -> None:
    files = ms.in_tree({FILE: TEXT}) | {"/etc/passwd": TEXT}
    put_common(rpm_kernel, ms.common(ORIGIN, files, f"{ms.TREE}/fs/link.c"))
    assert lines_of(rpm_kernel, file, 1) == Found()


@pytest.mark.parametrize("file", HOSTILE)
def test_a_path_that_is_no_file_of_the_debs_tree_gives_nothing(
    deb_kernel: Kernel, file: str
) -> None:
    put_linux_source(deb_kernel, ms.linux_source(ms.tarball({FILE: TEXT}, "fs/link.c")))
    assert lines_of(deb_kernel, file, 1) == Found()


@pytest.mark.parametrize(
    "other",
    [
        {"version": "6.1.192-2.cas1"},
        {"source": "kernel-rt-6.1.192-1.cas1.src.rpm"},
        {"host": "elsewhere"},
        {"build_time_s": ORIGIN.build_time_s + 1},
        {"arch": "aarch64"},
    ],
)
def test_an_rpm_of_another_build_gives_nothing_whatever_its_name(
    rpm_kernel: Kernel, other: dict[str, Any]
) -> None:
    content = ms.common(ORIGIN._replace(**other), ms.in_tree({FILE: TEXT}))
    put_common(rpm_kernel, content)
    put_common(rpm_kernel, content, ms.common_name(ORIGIN._replace(**other)))
    assert lines_of(rpm_kernel) == Found()


def test_a_kernels_rpm_that_has_another_kernel_by_now_vouches_for_no_source(
    rpm_kernel: Kernel,
) -> None:
    put_common(rpm_kernel, ms.common(ORIGIN, ms.in_tree({FILE: TEXT})))
    assert lines_of(replace(rpm_kernel, build_id="0" * 40)) == Found()
    assert lines_of(rpm_kernel).lines


def test_a_kernel_that_is_in_no_package_has_none(rpm_kernel: Kernel) -> None:
    put_common(rpm_kernel, ms.common(ORIGIN, ms.in_tree({FILE: TEXT})))
    assert lines_of(replace(rpm_kernel, member=None)) == Found()
    rpm_kernel.source.unlink()
    assert lines_of(rpm_kernel) == Found()


def test_another_versions_linux_source_gives_nothing_whatever_its_name(deb_kernel: Kernel) -> None:
    content = ms.linux_source(ms.tarball({FILE: TEXT}), "6.1.190-1")
    put_linux_source(deb_kernel, content)
    put_linux_source(deb_kernel, content, "6.1.190-1")
    assert lines_of(deb_kernel) == Found()


@pytest.mark.parametrize(
    ("banner", "is_shown"),
    [
        (f"#1 SMP Debian {dp.VERSION} (2026-11-26)", True),
        ("#1 SMP Debian 6.1.190-1 (2026-10-01)", False),
        ("#1 SMP Mon Mar 3 10:15:00 UTC 2025", True),
    ],
)
def test_a_banner_that_tells_another_version_is_believed(
    deb_kernel: Kernel, banner: str, *, is_shown: bool
) -> None:
    put_linux_source(deb_kernel, ms.linux_source(ms.tarball({FILE: TEXT})))
    assert bool(lines_of(deb_kernel, banner=banner).lines) is is_shown


def test_a_kernel_with_the_patches_for_real_time_is_not_of_the_packaged_tree(
    deb_kernel: Kernel,
) -> None:
    put_linux_source(deb_kernel, ms.linux_source(ms.tarball({FILE: TEXT})))
    assert lines_of(replace(deb_kernel, release="6.1.0-56-rt-amd64")) == Found()


def test_a_file_that_is_too_large_or_too_short_gives_nothing(
    rpm_kernel: Kernel, deb_kernel: Kernel
) -> None:
    files = {FILE: TEXT, "fs/huge.c": b"\n" * (FILE_BYTES + 1)}
    put_common(rpm_kernel, ms.common(ORIGIN, ms.in_tree(files)))
    put_linux_source(deb_kernel, ms.linux_source(ms.tarball(files)))
    for kernel in (rpm_kernel, deb_kernel):
        assert lines_of(kernel, "fs/huge.c", 1) == Found()
        assert lines_of(kernel, FILE, 41) == Found()
        assert lines_of(kernel, FILE, 40).lines


def test_a_file_that_is_not_what_the_rpms_header_promises_gives_nothing(
    rpm_kernel: Kernel,
) -> None:
    other = ms.in_tree({FILE: TEXT.replace(b"20", b"02")})
    path = put_common(rpm_kernel, ms.common(ORIGIN, ms.in_tree({FILE: TEXT}), packed=other))
    assert lines_of(rpm_kernel) == Found(
        remarks=(
            f"no source lines from packages: {path}: {ms.TREE}/{FILE} is damaged: "
            "it has not the promised sha256",
        )
    )


def test_a_damaged_rpm_is_told_and_gives_nothing(rpm_kernel: Kernel) -> None:
    content = bytearray(ms.common(ORIGIN, ms.in_tree({FILE: TEXT})))
    content[-40] ^= 0xFF
    path = put_common(rpm_kernel, bytes(content))
    found = lines_of(rpm_kernel)
    assert found.lines is None
    assert found.remarks[0].startswith(f"no source lines from packages: {path}")


def test_a_tarball_that_is_not_what_the_deb_lists_is_told_and_gives_nothing(
    deb_kernel: Kernel,
) -> None:
    packed = ms.tarball({FILE: TEXT})
    path = put_linux_source(deb_kernel, ms.linux_source(packed, promised=packed[:-1]))
    found = lines_of(deb_kernel)
    assert found.lines is None
    assert found.remarks == (
        f"no source lines from packages: {path}: {ms.TARBALL} is damaged: "
        "it has not the promised md5",
    )


def test_a_cut_tarball_is_told_and_gives_nothing(deb_kernel: Kernel) -> None:
    path = put_linux_source(deb_kernel, ms.linux_source(ms.tarball({FILE: TEXT})[:40]))
    found = lines_of(deb_kernel)
    assert found.lines is None
    assert found.remarks[0].startswith(f"no source lines from packages: {path}")


def test_what_takes_too_long_is_given_up_and_told(rpm_kernel: Kernel, deb_kernel: Kernel) -> None:
    paths = (
        put_common(rpm_kernel, ms.common(ORIGIN, ms.in_tree({FILE: TEXT}))),
        put_linux_source(deb_kernel, ms.linux_source(ms.tarball({FILE: TEXT}))),
    )
    for kernel, path in zip((rpm_kernel, deb_kernel), paths, strict=True):
        assert lines_of(kernel, limit_s=-1.0).remarks == (
            f"no source lines from packages: {path} was not read in -1 s; "
            "unpack it into a directory of `sources`",
        )


def test_a_package_that_must_be_signed_and_is_not_gives_nothing(rpm_kernel: Kernel) -> None:
    path = put_common(rpm_kernel, ms.common(ORIGIN, ms.in_tree({FILE: TEXT})))

    def refuse(package: Path) -> str | None:
        raise PackageNotTrusted(f"{package} is not signed, and `signatures = require`")

    found = lines_of(rpm_kernel, doubt=refuse)
    assert found == Found(
        remarks=(
            f"no source lines from packages: {path} is not signed, and `signatures = require`",
        )
    )
    found = lines_of(rpm_kernel, doubt=lambda package: f"{package} is not signed")
    assert found.lines
    assert found.remarks == (f"{path} is not signed",)


def test_a_file_that_two_trees_of_a_package_have_is_not_guessed(rpm_kernel: Kernel) -> None:
    both = ms.in_tree({FILE: TEXT})
    both |= {path.replace("linux-6", "other-6"): data for path, data in both.items()}
    put_common(rpm_kernel, ms.common(ORIGIN, both))
    assert lines_of(rpm_kernel) == Found()
    assert lines_of(rpm_kernel, f"{ms.TREE}/{FILE}").lines


def test_an_rpm_that_does_not_tell_when_it_was_built_is_of_no_known_build(tmp_path: Path) -> None:
    silent = tmp_path / "x.rpm"
    silent.write_bytes(ms.common(ORIGIN._replace(build_time_s=0), ms.in_tree({FILE: TEXT})))
    assert rpm.read_origin(silent) is None


def test_a_kmod_was_built_with_the_kernel_whose_package_has_the_very_file(
    deb_kernel: Kernel, rpm_kernel: Kernel, tmp_path: Path
) -> None:
    kmod = tmp_path / "ext4.ko"
    kmod.write_bytes(dp.debuginfo("a")[dp.KMOD])
    assert is_built_with(deb_kernel, kmod, 5.0)
    assert not is_built_with(rpm_kernel, kmod, 5.0)
    assert not is_built_with(replace(deb_kernel, member=None), kmod, 5.0)
    assert not is_built_with(deb_kernel, kmod.rename(tmp_path / "ext3.ko"), 5.0)
    kmod.write_bytes(b"of another build")
    assert not is_built_with(deb_kernel, kmod, 5.0)


def test_the_rules_of_signatures_are_those_of_all_packages(
    rpm_kernel: Kernel, tmp_path: Path
) -> None:
    path = put_common(rpm_kernel, ms.common(ORIGIN, ms.in_tree({FILE: TEXT})))

    def doubt(signatures: str) -> str | None:
        rules = PackageRules(signatures=signatures)
        return Catalogue(Store(tmp_path / "cas.db"), packages=rules).doubt(path)

    assert doubt("ignore") is None
    assert doubt("report") == f"{path} cannot be checked: `keys` names no directory of public keys"
    with pytest.raises(PackageNotTrusted, match="`signatures = require`"):
        doubt("require")


def test_a_search_beside_the_debuggers_ends_with_what_was_found(rpm_kernel: Kernel) -> None:
    put_common(rpm_kernel, ms.common(ORIGIN, ms.in_tree({FILE: TEXT})))
    assert Search(Wanted(rpm_kernel, None, FILE, 20), lambda _: None).finish(5.0).lines


def test_a_search_where_something_else_is_in_the_packages_place_says_so(
    rpm_kernel: Kernel,
) -> None:
    rpm_kernel.source.unlink()
    rpm_kernel.source.mkdir()
    assert Search(Wanted(rpm_kernel, None, FILE, 20), lambda _: None).finish(5.0) == Found(
        remarks=(
            f"no source lines from packages: beside {rpm_kernel.source}: it is no regular file",
        )
    )
