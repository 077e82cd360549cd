"""Kernels of which no header tells the build-id: the beginning of the vmlinux does."""

from contextlib import nullcontext
from pathlib import Path

import kernel_packages as kp
import pytest

from cas.catalogue.packages import package_kinds
from cas.catalogue.packages.examine import examine
from cas.catalogue.packages.identity import in_payload
from cas.errors import PackageError
from cas.model.kernel import Kernel
from cas.streams.flow import Flow
from cas.streams.member import SizedMember

MEMBER = f"/usr/lib/debug/lib/modules/{kp.RELEASE}/vmlinux"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package without ``.build-id`` links."""
    files, _ = kp.debuginfo("old", linked=False)
    return kp.build(kp.Recipe(files), tmp_path_factory.mktemp("old"))


def packaged(source: Path, member: str = MEMBER) -> Kernel:
    return Kernel(kp.RELEASE, "x86_64", source=source, member=member)


def test_an_rpm_without_build_id_links_is_read_up_to_the_notes(old: Path) -> None:
    (kernel,) = package_kinds.read_package(old).kernels
    assert (kernel.build_id, kernel.banner) == (kp.build_id("old"), kp.banner())
    assert kernel.is_examined


def test_an_rpm_whose_header_tells_is_not_read_further(tmp_path: Path) -> None:
    files, links = kp.debuginfo("new")
    (kernel,) = package_kinds.read_package(kp.build(kp.Recipe(files, links), tmp_path)).kernels
    assert (kernel.build_id, kernel.is_examined) == (kp.build_id("new"), False)


def test_a_payload_that_cannot_be_read_makes_the_package_bad(tmp_path: Path) -> None:
    files = {MEMBER: b"no kernel at all" * 100}
    with pytest.raises(PackageError, match="is no vmlinux: no ELF header"):
        package_kinds.read_package(kp.build(kp.Recipe(files), tmp_path))


def test_a_packaged_vmlinux_is_examined_later(old: Path) -> None:
    assert examine(packaged(old)) == (kp.banner(), kp.build_id("old"))


def test_a_member_that_is_not_there_is_told(old: Path) -> None:
    with pytest.raises(PackageError, match="the payload lacks /vmlinux"):
        examine(packaged(old, "/vmlinux"))


def test_a_package_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="cannot be read: No such file"):
        examine(packaged(tmp_path / "gone.rpm"))


def test_a_banner_far_behind_the_notes_is_found() -> None:
    filler = "x" * (3 << 20)
    vmlinux = kp.elf(kp.build_id("one"), f"{filler}\0{kp.banner()}")
    only = SizedMember("/vmlinux", Flow([vmlinux]), len(vmlinux))
    found = in_payload(Path("package"), lambda: nullcontext(iter([only])), ["/vmlinux"])
    assert found["/vmlinux"].build_id == kp.build_id("one")
    assert found["/vmlinux"].banner == kp.banner()
