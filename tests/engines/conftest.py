"""What the engines open: the shipped kernel with its kernel modules, and its dump."""

from __future__ import annotations

import lzma
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cas.engines.drgn.process import Worker
from cas.model.case import Case
from cas.model.dump import Dump
from cas.settings.rules import Supervision
from cas.supervise import Confinement, Sandbox

from installed import FIXTURES, needs, working_sandbox

QUICK = Supervision(
    watchdog_s=20,
    stop_s=2,
    respawn_s=0.05,
    attempts=4,
    command_s=60,
    start_s=120,
    section_bytes=16 << 20,
    memory_bytes=8 << 30,
)
"""Limits that no honest program reaches here, and short intervals."""


@pytest.fixture(scope="session")
def unpack(made: Callable[[str, Callable[[Path], object]], Path]) -> Callable[[str], Path]:
    """Unpack the debuginfo package of one of the shipped kernels."""
    bsdtar = needs("bsdtar")

    def unpack(part: str) -> Path:
        (package,) = (FIXTURES / part).glob("*.rpm")

        def extract(directory: Path) -> None:
            directory.mkdir()
            subprocess.run([bsdtar, "-xf", package, "-C", directory], check=True)

        return made(f"debuginfo-{part}", extract)

    return unpack


@pytest.fixture(scope="session")
def debuginfo(unpack: Callable[[str], Path]) -> Path:
    """The shipped kernel's debuginfo package, unpacked."""
    return unpack("a")


@pytest.fixture(scope="session")
def opened_aarch64(
    made: Callable[[str, Callable[[Path], object]], Path],
    unpack: Callable[[str], Path],
) -> Case:
    """The shipped aarch64 kernel and its dump."""
    packed = FIXTURES / "arm64" / "vmcore.elf.xz"
    (vmlinux,) = unpack("arm64").rglob("vmlinux")
    vmcore = made(
        "vmcore-arm64.elf", lambda path: path.write_bytes(lzma.decompress(packed.read_bytes()))
    )
    return Case(dump_at(vmcore, "aarch64"), vmlinux)


@pytest.fixture(scope="session")
def kmods(debuginfo: Path) -> Mapping[str, Path]:
    """Debug files by the kernel's spelling of the kernel module's name."""
    found = debuginfo.rglob("*.ko.debug")
    return {path.name.removesuffix(".ko.debug").replace("-", "_"): path for path in found}


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """The sandbox of this machine."""
    return working_sandbox()


@pytest.fixture(scope="session")
def make_room(
    tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox
) -> Callable[..., Confinement]:
    """Make an empty room, ``make_room(command_s=3)``; sandboxed unless ``boxed=False``."""

    def make(*, boxed: bool = True, **rules: float) -> Confinement:
        supervision = replace(QUICK, **rules)
        directory = tmp_path_factory.mktemp("room")
        return Confinement(directory, supervision, sandbox=sandbox if boxed else None)

    return make


@pytest.fixture
def room(make_room: Callable[..., Confinement]) -> Confinement:
    return make_room()


@pytest.fixture
def worker(room: Confinement, tmp_path: Path) -> Iterator[Worker]:
    with Worker(room) as worker:
        worker.trace_into(tmp_path, print)
        yield worker


@pytest.fixture(scope="session")
def opened(vmcore: Path, vmlinux: Path) -> Case:
    return Case(dump_at(vmcore, "x86_64"), vmlinux)


def dump_at(path: Path, arch: str) -> Dump:
    """A dump of which nothing is known but its architecture."""
    return Dump(path=path, format="ELF", size_bytes=path.stat().st_size, arch=arch)
