"""Where in a dump the numbers stand that a reader believes: headers, tables, notes, VMCOREINFO.

Written for whole dumps, which the seeds are; the layouts are those of elf(5) and of makedumpfile's
diskdump_mod.h and makedumpfile.h.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from cas import elf
from cas.dump.kdump_header import read_kdump_header

_TEXT = re.compile(rb"OSRELEASE=[^\0]{20,}\n")
_X86_MAP = 0xFFFFFFFF80000000
_LOG_SYMBOLS = ("prb", "printk_rb_static", "log_buf", "log_buf_len", "log_first_idx")
_TABLES = ("init_top_pgt", "swapper_pg_dir")
_LOG_WORDS = 11


@dataclass(frozen=True)
class Field:
    """A number in a file."""

    name: str
    offset: int
    size: int
    order: str = "<"


@dataclass(frozen=True)
class Bytes:
    """A dump in memory, as a `cas.dump.memory.Source`."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        return elf.reader(self.data)(offset, size)


def fields(data: bytes) -> list[Field]:
    """Every field of a dump."""
    if data.startswith(b"\x7fELF"):
        return [*_elf(data), *_log(data)]
    if data.startswith(b"makedumpfile"):
        return list(_flattened(data))
    return list(_kdump(data))


def texts(data: bytes) -> list[tuple[int, int]]:
    """Offset and end of each VMCOREINFO that stands in one piece."""
    return [found.span() for found in islice(_TEXT.finditer(data), 4)]


def _rows(name: str, at: int, sizes: str, order: str) -> Iterator[Field]:
    """Fields one after another, as `struct` spells them."""
    for number, code in enumerate(sizes):
        size = struct.calcsize("=" + code)
        yield Field(f"{name}[{number}]", at, size, order)
        at += size


def _elf(data: bytes) -> Iterator[Field]:
    read = elf.reader(data)
    header = elf.header(read)
    wide = header.bits == 64
    yield from _rows("e_ident", 4, "BBBB", "<")
    sizes = "HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"
    yield from _rows("ehdr", 16, sizes, header.order)
    if header.shoff:
        yield from _rows("shdr", header.shoff, "IIQQQQIIQQ", header.order)
    for number, segment in enumerate(islice(elf.segments(read, header), 64)):
        at = header.phoff + number * header.phentsize
        yield from _rows(f"phdr{number}", at, "IIQQQQQQ" if wide else "IIIIIIII", header.order)
        if segment.type == elf.PT_NOTE:
            yield from _notes(data, segment.offset, segment.filesz, header.order)


def _notes(data: bytes, at: int, size: int, order: str) -> Iterator[Field]:
    end = at + size
    while at + 12 <= end:
        yield from _rows(f"nhdr@{at}", at, "III", order)
        name_size, desc_size, _ = struct.unpack_from(order + "III", data, at)
        desc = at + 12 + (name_size + 3 & -4)
        yield Field(f"desc@{desc}", desc, 8, order)
        at = desc + (desc_size + 3 & -4)


def _log(data: bytes) -> Iterator[Field]:
    """The printk structures and the top page table, by VMCOREINFO, where the memory is there."""
    read = elf.reader(data)
    header = elf.header(read)
    lines = _lines(data)
    for name in (*_LOG_SYMBOLS, *_TABLES):
        physical = _physical(lines, name)
        for segment in elf.segments(read, header):
            at = segment.offset + (physical or 0) - segment.paddr
            within = segment.type == elf.PT_LOAD and physical is not None
            if within and segment.offset <= at < segment.offset + segment.filesz:
                yield from _rows(name, at, "Q" * _LOG_WORDS, header.order)


def _lines(data: bytes) -> dict[str, str]:
    text = next((data[start:end] for start, end in texts(data)), b"")
    return dict(line.partition("=")[::2] for line in text.decode().split("\n"))


def _physical(lines: dict[str, str], name: str) -> int | None:
    symbol = lines.get(f"SYMBOL({name})")
    if symbol is None:
        return None
    if voffset := lines.get("NUMBER(kimage_voffset)"):
        return int(symbol, 16) - int(voffset, 0)
    return int(symbol, 16) - _X86_MAP + int(lines.get("NUMBER(phys_base)", "0"))


def _kdump(data: bytes) -> Iterator[Field]:
    header = read_kdump_header(Bytes(data))
    order, block = header.order, header.block_size
    yield Field("version", 8, 4, order)
    for number in range(6):
        yield Field(f"utsname[{number}]", 12 + 65 * number, 4, order)
    at = 408 if header.bits == 64 or header.utsname[4].startswith("arm") else 404
    yield from _rows("header", at, ("QQ" if header.bits == 64 else "II") + "IIIIIIIII", order)
    if data.startswith(b"KDUMP"):
        sizes = "QIIQQQQQQQQQQQ" if header.bits == 64 else "IIIIIQIQIQIQQQ"
        yield from _rows("sub-header", block, sizes, order)
        yield from _notes(data, header.notes[0], header.notes[1], order)
    yield from _bitmap(data, header.bitmap_offset, header.bitmap_bytes)
    yield from _descriptors(data, header.bitmap_offset + header.bitmap_bytes, order)


def _bitmap(data: bytes, start: int, size: int) -> Iterator[Field]:
    """The bytes of both bitmaps in which bits are set, and their ends."""
    for at in (start, start + size // 2 - 1, start + size // 2, start + size - 1):
        yield Field(f"bitmap@{at}", at, 1)
    used = (at for at in range(start, start + size) if data[at])
    for at in islice(used, 64):
        yield Field(f"bitmap@{at}", at, 1)


def _descriptors(data: bytes, start: int, order: str) -> Iterator[Field]:
    first = next((at for at, *_ in struct.iter_unpack(order + "QIIQ", data[start : start + 24])), 0)
    count = max((first - start) // 24, 0)
    for number in {*range(min(count, 24)), *range(max(count - 8, 0), count)}:
        yield from _rows(f"descriptor{number}", start + 24 * number, "QIIQ", order)


def _flattened(data: bytes) -> Iterator[Field]:
    """The records, and the fields of the dump inside that lie in one record."""
    yield from _rows("stream", 16, "QQ", ">")
    records = list(_records(data))
    inner = bytearray(max(offset + size for offset, size, _ in records))
    for offset, size, at in records:
        inner[offset : offset + size] = data[at : at + size]
    for _, _, at in (*records[:24], *records[-8:]):
        yield from _rows(f"record@{at}", at - 16, "QQ", ">")
    yield from _rows("end", len(data) - 16, "QQ", ">")
    for field in fields(bytes(inner)):
        for offset, size, at in records:
            if offset <= field.offset and field.offset + field.size <= offset + size:
                yield Field(field.name, field.offset - offset + at, field.size, field.order)


def _records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Offset in the dump, size and offset in the stream of each record's bytes."""
    at = 4096
    while True:
        offset, size = struct.unpack_from(">qq", data, at)
        if offset < 0:
            return
        yield offset, size, at + 16
        at += 16 + size
