"""A vmlinux that lies there as a plain file."""

import subprocess
from pathlib import Path

import kernel_packages as kp
import pytest

from cas.catalogue.packages import package_kinds, plain
from cas.database.records import Package, PackagedKernel
from cas.errors import PackageError

from installed import needs

IDENTITY = kp.build_id("plain")


def with_debug_info(identity: str | None = IDENTITY, text: str = kp.banner()) -> bytes:
    return kp.elf(identity, text, extra_section=".debug_info")


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("/k/vmlinux", True),
        ("/k/vmlinux.debug", True),
        ("/k/vmlinux-6.1.0-56-amd64", True),
        ("/k/vmlinux-6.4.0-150600.21-default.debug", True),
        ("/usr/lib/debug/lib/modules/6.1.0/vmlinux", True),
        ("/k/vmlinux.o", False),
        ("/k/vmlinux.lds.S", False),
        ("/k/vmlinux-gdb.py", False),
        ("/k/vmlinux-5.3.18-59-default.gz", False),
        ("/k/xvmlinux", False),
        ("/k/vmlinux/x", False),
        ("/k/vmlinuz-6.1.0", False),
    ],
)
def test_the_names_that_are_looked_at(path: str, is_one: bool) -> None:
    assert bool(plain.NAME.fullmatch(path)) == is_one


def test_it_says_itself_what_it_is(tmp_path: Path) -> None:
    content = with_debug_info()
    assert package_kinds.read_package(written(tmp_path / "vmlinux", content)) == Package(
        name="vmlinux",
        arch="x86_64",
        build_time_s=None,
        kernels=(
            PackagedKernel(
                release=kp.RELEASE,
                flavour="",
                member=None,
                build_id=IDENTITY,
                size_bytes=len(content),
                banner=kp.banner(),
                is_examined=True,
            ),
        ),
        kind="vmlinux",
    )


@pytest.mark.parametrize(
    "path", ["6.4.0-150600.21-default/vmlinux.debug", "vmlinux-6.4.0-150600.21-default.debug"]
)
def test_without_contents_its_path_tells_the_release(tmp_path: Path, path: str) -> None:
    (kernel,) = package_kinds.read_package(
        written(tmp_path / path, with_debug_info(text=""))
    ).kernels
    assert (kernel.release, kernel.build_id, kernel.banner) == (
        "6.4.0-150600.21-default",
        IDENTITY,
        None,
    )


def test_the_real_one_is_known_and_its_stripped_copy_refused(vmlinux: Path, tmp_path: Path) -> None:
    (kernel,) = package_kinds.read_package(vmlinux).kernels
    assert kernel.banner is not None
    assert kernel.build_id is not None
    stripped = tmp_path / "vmlinux"
    subprocess.run([needs("strip"), "-g", "-o", stripped, vmlinux], check=True)
    with pytest.raises(PackageError, match="it has no debug information"):
        package_kinds.read_package(stripped)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no ELF header"),
        (b"not ELF", "no ELF header"),
        (kp.elf(IDENTITY, kp.banner()), "it has no debug information"),
        (with_debug_info(None, ""), "neither a build-id nor a banner"),
        (with_debug_info(text=""), "does not say which release it is"),
        (with_debug_info()[:700], "it is cut short"),
        (with_debug_info()[:16] + b"\x01" + with_debug_info()[17:], "an object file"),
        (with_debug_info()[:18] + b"\xff\xff" + with_debug_info()[20:], "unknown ELF machine"),
    ],
)
def test_what_is_no_vmlinux_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(PackageError, match=reason):
        package_kinds.read_package(written(tmp_path / "vmlinux", content))
