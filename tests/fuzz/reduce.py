"""Makes a small seed of a real dump: the pages that identifying it reads, and the banner's.

How `seeds/*.elf.xz` were made, from the repository's root:
``PYTHONPATH=tests python -m fuzz.reduce VMCORE tests/fuzz/seeds/NAME.elf.xz``
"""

from __future__ import annotations

import lzma
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dump.writer import PAGE, Elf, Note

from cas import elf

_READ = re.compile(r"pread64\(.*, (\d+), (\d+)\) = \d+$", re.MULTILINE)
_SPARE_PAGES = 8
_IDENTIFY = "from cas.dump import identify; import sys; from pathlib import Path; "


def reduced(path: Path) -> bytes:
    """An ELF dump of the same kernel whose log, page tables and banner are the real ones."""
    with elf.opened(path) as read:
        header = elf.header(read)
        segments = elf.segments(read, header)
        addresses = _addresses(path, segments)
        loads = [s for s in segments if s.type == elf.PT_LOAD]
        memory = {first: _memory(read, loads, first, last) for first, last in _runs(addresses)}
        notes = list(_notes(read, header, segments))
    return Elf(memory, notes, header.order, header.bits, header.machine).build()


def _addresses(path: Path, segments: tuple[elf.Segment, ...]) -> list[int]:
    """Physical addresses of the pages that are read."""
    found: set[int] = set()
    for offset, size in _reads(path):
        for segment in segments:
            low = max(offset, segment.offset)
            high = min(offset + size, segment.offset + segment.filesz)
            if segment.type == elf.PT_LOAD and low < high:
                start = segment.paddr + low - segment.offset
                found.update(range(start & -PAGE, start + high - low, PAGE))
    found.update(address + n * PAGE for address in _banners(path, segments) for n in (0, 1))
    spare = max(found) + PAGE
    return sorted(found | {spare + n * PAGE for n in range(_SPARE_PAGES)})


def _reads(path: Path) -> Iterator[tuple[int, int]]:
    with tempfile.NamedTemporaryFile("r") as trace:
        program = [sys.executable, "-c", f"{_IDENTIFY}identify(Path(sys.argv[1]))", path]
        subprocess.run(["strace", "-fe", "trace=pread64", "-o", trace.name, *program], check=True)
        for size, offset in _READ.findall(trace.read()):
            yield int(offset), int(size)


def _banners(path: Path, segments: tuple[elf.Segment, ...]) -> Iterator[int]:
    data = path.read_bytes()
    for found in re.finditer(rb"Linux version \d+\.\d+[^\n\0]{20,} #[^\n\0]+\n\0", data):
        for segment in segments:
            at = found.start() - segment.offset
            if segment.type == elf.PT_LOAD and 0 <= at < segment.filesz:
                yield segment.paddr + at & -PAGE


def _runs(addresses: list[int]) -> Iterator[tuple[int, int]]:
    first = last = addresses[0]
    for address in addresses[1:]:
        if address != last + PAGE:
            yield first, last + PAGE
            first = address
        last = address
    yield first, last + PAGE


def _memory(read: elf.Read, loads: list[elf.Segment], first: int, last: int) -> bytes:
    pages = b""
    for address in range(first, last, PAGE):
        at = next((s for s in loads if s.paddr <= address < s.paddr + s.filesz), None)
        page = read(at.offset + address - at.paddr, PAGE) if at else b""
        pages += page.ljust(PAGE, b"\0")
    return pages


def _notes(read: elf.Read, header: elf.Header, segments: tuple[elf.Segment, ...]) -> Iterator[Note]:
    for segment in segments:
        if segment.type == elf.PT_NOTE:
            data = read(segment.offset, segment.filesz)
            yield from (tuple(note) for note in elf.notes(data, header.order))


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(lzma.compress(reduced(Path(sys.argv[1])), preset=9))
