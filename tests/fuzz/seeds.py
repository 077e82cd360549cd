"""Whole dumps to be spoilt: small ones of every format, and real ones."""

from __future__ import annotations

import lzma
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cramjam
import lzallright
import zstandard
from dump.writer import PAGE, Elf, Kdump, flattened, info_note, kernel_memory

from cas import elf

from installed import needs

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "kernels" / "fixtures"
COMPRESSORS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "zlib": (1, zlib.compress),
    "lzo": (2, lambda data: bytes(lzallright.LZOCompressor().compress(data))),
    "snappy": (4, lambda data: bytes(cramjam.snappy.compress_raw(data))),
    "zstd": (0x20, lambda data: zstandard.ZstdCompressor().compress(data)),
}
MEMORY, INFO = kernel_memory()
_SMALL = Elf(MEMORY, [info_note(INFO), ("CORE", 1, bytes(range(256)) + bytes(80))])


@dataclass(frozen=True)
class Seed:
    """A dump that is whole."""

    name: str
    make: Callable[[], bytes]
    is_part: bool = False
    """Whether it is one part of a split set, which alone is not whole."""
    is_large: bool = False
    """Whether it is left out of the short slices."""

    @property
    def data(self) -> bytes:
        return _made(self.name)


@cache
def _made(name: str) -> bytes:
    return SEEDS[name].make()


def pages(memory: Mapping[int, bytes], size: int = PAGE) -> dict[int, bytes]:
    """Memory by page frame."""
    return {
        (address + at) // size: data[at : at + size].ljust(size, b"\0")
        for address, data in memory.items()
        for at in range(0, len(data), size)
    }


def kdump(memory: Mapping[int, bytes], info: bytes, packing: str, **how: object) -> Kdump:
    """A KDUMP of a memory in one of the compressions; the writer's level leaves out zeros."""
    flag, compress = COMPRESSORS[packing]
    size = how.get("block", PAGE)
    assert isinstance(size, int)
    held = {frame: page for frame, page in pages(memory, size).items() if page.strip(b"\0")}
    return replace(Kdump(held, info, compress, flag, flag), **how)


@cache
def real(name: str) -> bytes:
    """A reduced real dump, see `reduce`."""
    return lzma.decompress((HERE / "seeds" / f"{name}.elf.xz").read_bytes())


@cache
def contents(name: str) -> tuple[dict[int, bytes], bytes]:
    """Memory and VMCOREINFO of a reduced real dump."""
    read = elf.reader(real(name))
    header = elf.header(read)
    segments = elf.segments(read, header)
    memory = {s.paddr: read(s.offset, s.filesz) for s in segments if s.type == elf.PT_LOAD}
    (at,) = (s for s in segments if s.type == elf.PT_NOTE)
    notes = elf.notes(read(at.offset, at.filesz), header.order)
    return memory, next(note.desc for note in notes if note.name == "VMCOREINFO")


def _of_a(packing: str) -> bytes:
    return kdump(*contents("a"), packing).build()


def _of_arm64() -> bytes:
    return kdump(*contents("arm64"), "snappy", machine="aarch64").build()


def _plain(**how: object) -> bytes:
    return kdump(MEMORY, INFO, "zlib", status=0, flag=0, compress=lambda data: data, **how).build()


def _in_memory() -> bytes:
    return Elf({**MEMORY, 0x200000: INFO}, []).build()


def _qemu_kdump() -> bytes:
    memory, info = contents("arm64")
    notes = [("CORE", 1, bytes(392)), ("CORE", 1, bytes(392))]
    return kdump(memory, info, "zlib", machine="Unknown", release="", notes=notes).build()


def _part() -> bytes:
    frames = sorted(pages(contents("a")[0]))
    return kdump(*contents("a"), "zlib", split=(frames[10], frames[40])).build()


def _of_b() -> bytes:
    return (FIXTURES / "b" / "vmcore.kdump").read_bytes()


def _of_makedumpfile(*options: str) -> bytes:
    """The shipped x86_64 dump in another of makedumpfile's formats."""
    with tempfile.TemporaryDirectory() as scratch:
        vmcore, target = Path(scratch, "vmcore"), Path(scratch, "target")
        vmcore.write_bytes(_a())
        with target.open("wb") as file:
            argv = [needs("makedumpfile"), "-F", *options, "-d31", vmcore]
            subprocess.run(argv, stdout=file, stderr=subprocess.DEVNULL, check=True)
        return target.read_bytes()


def _a() -> bytes:
    return lzma.decompress((FIXTURES / "a" / "vmcore.elf.xz").read_bytes())


def _elf(order: str, bits: int, machine: int) -> bytes:
    memory = {0x1000: b"Linux", 0x100000: MEMORY[0x100000]}
    note = ("CORE", 1, bytes(144 if bits == 32 else 336))
    return Elf(memory, [info_note(), note], order, bits, machine).build()


_ALL = (
    Seed("elf-x86_64", lambda: real("a")),
    Seed("elf-aarch64", lambda: real("arm64")),
    Seed("elf-small", _SMALL.build),
    Seed("elf-i686", lambda: _elf("<", 32, 3)),
    Seed("elf-s390x", lambda: _elf(">", 64, 22)),
    Seed("elf-ppc", lambda: _elf(">", 32, 20)),
    Seed("elf-many", replace(_SMALL, many=True).build),
    Seed("elf-qemu", replace(_SMALL, like_qemu=True).build),
    Seed("elf-bare", Elf(MEMORY, []).build),
    Seed("elf-info-in-memory", _in_memory),
    Seed("kdump-zlib", lambda: _of_a("zlib")),
    Seed("kdump-lzo", lambda: _of_a("lzo")),
    Seed("kdump-snappy", _of_arm64),
    Seed("kdump-zstd", lambda: _of_a("zstd")),
    Seed("kdump-plain", _plain),
    Seed("kdump-v1-i686", lambda: _plain(version=1, bits=32, machine="i686")),
    Seed("kdump-v2-ppc64", lambda: _plain(version=2, order=">", machine="ppc64")),
    Seed("kdump-v3-s390x", lambda: _plain(version=3, order=">", machine="s390x")),
    Seed("kdump-v4-arm", lambda: _plain(version=4, bits=32, machine="armv7l")),
    Seed("kdump-v5-64k", lambda: kdump(MEMORY, INFO, "lzo", version=5, block=65536).build()),
    Seed("kdump-qemu", _qemu_kdump),
    Seed("kdump-bare", lambda: kdump(MEMORY, b"", "zlib", release="").build()),
    Seed("kdump-part", _part, is_part=True),
    Seed("diskdump", lambda: _plain(version=1).replace(b"KDUMP   ", b"DISKDUMP", 1)),
    Seed("flat-elf", lambda: flattened(_SMALL.build(), 1500, seed=3)),
    Seed("flat-kdump", lambda: flattened(_of_a("zlib"), 4096)),
    Seed("flat-shuffled", lambda: flattened(_of_a("lzo"), 1000, seed=7)),
    Seed("flat-big-endian", lambda: flattened(_elf(">", 64, 21), 512, seed=5)),
    Seed("real-kdump", _of_b, is_large=True),
    Seed("real-elf", _a, is_large=True),
    Seed("real-flat", lambda: _of_makedumpfile("-c"), is_large=True),
    Seed("real-flat-lzo", lambda: _of_makedumpfile("-l"), is_large=True),
)
SEEDS = {seed.name: seed for seed in _ALL}
