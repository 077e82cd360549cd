"""Bounded reading of ELF files: headers, notes, build-id and Linux banner.

Everything here takes a `Read`, so that the same code serves a file, a flattened dump and bytes in
memory. Sizes and offsets come from hostile files: each is checked against a limit before memory is
taken, and what lies beyond the end of the data is left out.

Headers and notes are named tuples, not dataclasses: large dumps have thousands of them.

Source: elf(5); System V ABI, chapters 4 and 5; include/uapi/linux/elf.h.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import sys
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cas.errors import NotADump
from cas.files.permission import unread
from cas.frozen import dataclass

Read = Callable[[int, int], bytes]
"""``read(offset, size)`` gives the bytes there: fewer than ``size`` at the end of the data."""

ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4
PT_LOAD, PT_NOTE = 1, 4
SHT_SYMTAB = 2
SHT_PROGBITS, SHT_NOTE, SHT_NOBITS = 1, 7, 8

TABLE_LIMIT = 1 << 18
"""Most program or section headers that a file may declare."""
MAX_ADDRESS = (1 << 64) - 1
"""The largest that any machine has."""
NO_ADDRESS = (1 << 64) - 1, (1 << 32) - 1
"""Physical addresses of segments that have none."""
NOTE_LIMIT = 1 << 17
"""Most notes that are read from one segment; each CPU has up to 16."""
NOTES_LIMIT = 32 << 20
"""Most bytes of notes that are read from one segment; 64 KiB pages and 8192 CPUs stay below."""
BANNER_SCAN_LIMIT = 96 << 20
_CHUNK = 4 << 20
_BANNER_LIMIT = 1024
_CANDIDATES = 4096
_BANNER_START = b"Linux version "
# A weak copy without the build's number stands in vmlinux too since Linux 6.1 (2df8220cc511).
_NUMBERLESS = b" # "
_BANNER = re.compile(rb"Linux version [0-9]+\.[0-9]+[^\0\n]{8,1000}+\n\0")

_MACHINES = {
    (3, 32): "i686",
    (8, 64): "mips64",
    (20, 32): "ppc",
    (21, 64): "ppc64",
    (22, 64): "s390x",
    (40, 32): "arm",
    (43, 64): "sparc64",
    (3, 64): "i686",
    (50, 64): "ia64",
    (62, 64): "x86_64",
    (62, 32): "x86_64",
    (183, 64): "aarch64",
    (243, 64): "riscv64",
    (258, 64): "loongarch64",
}
ARCHES = frozenset({*_MACHINES.values(), "ppc64le"})
"""Every architecture that can be told, as ``uname -m`` spells it."""


SYMBOLS_LIMIT = 256 << 20
"""Bytes that are read of symbols, or of their names; the largest vmlinux has 20 MB."""


PLACES_LIMIT = 1000
"""Names of symbols that end in one that is looked for."""


class TooMany(NotADump):
    """A file declares more headers than there is memory for."""


@dataclass(frozen=True, slots=True)
class Header:
    """The file header, with the counts that overflow it already looked up."""

    bits: int
    order: str
    """``<`` or ``>``, as `struct` spells byte order."""
    type: int
    machine: int
    flags: int
    phoff: int
    phentsize: int
    phnum: int
    shoff: int
    shentsize: int
    shnum: int
    shstrndx: int


class Segment(NamedTuple):
    """A program header."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int


class Section(NamedTuple):
    """A section header; `name` is an index into the string table."""

    name: int
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    addralign: int
    entsize: int


class Symbol(NamedTuple):
    """A symbol; `name` is an index into the string table."""

    name: int
    type: int
    section: int
    """Number of the section in which it is defined; 0: in none."""
    value: int
    """Its address; in a file that is not linked from the begin of its section."""


class SymbolColumns(NamedTuple):
    """The symbols of a file, column by column; each as long as the others."""

    strings: bytes
    """The string table."""
    names: Sequence[int]
    """Indices into it."""
    infos: bytes
    """``st_info``: the type is in the lower four bits."""
    sections: Sequence[int]
    values: Sequence[int]


class Note(NamedTuple):
    """One note; `desc` is cut where the notes end."""

    name: str
    type: int
    desc: bytes


def reader(data: bytes) -> Read:
    """A `Read` of bytes in memory."""
    return lambda offset, size: data[offset : offset + max(size, 0)] if offset >= 0 else b""


@contextmanager
def opened(path: Path) -> Iterator[Read]:
    """A `Read` of a file, for the length of a ``with`` block.

    :raises NotADump: the file cannot be opened or read, or is no regular one
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # of a FIFO it would wait
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise NotADump(f"{path} is no regular file")
            # Offsets that no file can have are beyond its end, not an error.
            yield (
                lambda offset, size: (
                    os.pread(fd, size, offset) if 0 <= offset < offset + size <= 1 << 62 else b""
                )
            )
        finally:
            os.close(fd)
    except OSError as error:
        raise NotADump(unread(path, error)) from error


def header(read: Read) -> Header:
    """The file header.

    :raises NotADump: not ELF, or cut inside the header
    :raises TooMany: more headers are declared than `TABLE_LIMIT`
    """
    ident = read(0, 64)
    if ident[:4] != b"\x7fELF" or len(ident) < 52 or ident[4] not in (1, 2):
        raise NotADump("no ELF header")
    if ident[5] not in (1, 2):
        raise NotADump(f"ELF header with unknown byte order {ident[5]}", offset=5)
    bits, order = 32 * ident[4], "<" if ident[5] == 1 else ">"
    fields = struct.Struct(order + ("HHIIIIIHHHHHH" if bits == 32 else "HHIQQQIHHHHHH"))
    if len(ident) < 16 + fields.size:
        raise NotADump("ELF header is cut short", offset=len(ident))
    # e_ehsize is not believed: QEMU writes 8 there.
    kind, machine, _, _, phoff, shoff, flags, _, *counts = fields.unpack_from(ident, 16)
    elf = Header(bits, order, kind, machine, flags, phoff, counts[0], counts[1], shoff, *counts[2:])
    in_section = _section_fields(bits, order)
    data = read(shoff, in_section.size) if shoff else b""
    if len(data) >= in_section.size:  # counts that do not fit the header stand in section 0
        first = Section(*in_section.unpack(data))
        elf = replace(
            elf,
            phnum=first.info if elf.phnum == 0xFFFF else elf.phnum,
            shnum=first.size if elf.shnum == 0 else elf.shnum,
            shstrndx=first.link if elf.shstrndx == 0xFFFF else elf.shstrndx,
        )
    if elf.phnum > TABLE_LIMIT or elf.shnum > TABLE_LIMIT:
        raise TooMany(f"ELF header declares {elf.phnum} program headers, {elf.shnum} sections")
    return elf


def segments(read: Read, elf: Header) -> tuple[Segment, ...]:
    """The program headers; those beyond the end of the data are left out."""
    if elf.bits == 32:
        fields = struct.Struct(elf.order + "IIIIIIII")
        rows = _table(read, fields, elf.phoff, elf.phentsize, elf.phnum)
        return tuple(
            Segment(kind, flags, offset, vaddr, paddr, filesz, memsz, align)
            for kind, offset, vaddr, paddr, filesz, memsz, flags, align in rows
        )
    fields = struct.Struct(elf.order + "IIQQQQQQ")
    rows = _table(read, fields, elf.phoff, elf.phentsize, elf.phnum)
    return tuple(Segment(*row) for row in rows)


def sections(read: Read, elf: Header) -> tuple[Section, ...]:
    """The section headers; those beyond the end of the data are left out."""
    fields = _section_fields(elf.bits, elf.order)
    rows = _table(read, fields, elf.shoff, elf.shentsize, elf.shnum)
    return tuple(Section(*row) for row in rows)


def section_named(read: Read, elf: Header, name: str) -> Section | None:
    """The first section of that name."""
    table = sections(read, elf)
    if elf.shstrndx >= len(table):
        return None
    strings = read(table[elf.shstrndx].offset, min(table[elf.shstrndx].size, _CHUNK))
    wanted = name.encode() + b"\0"
    return next((s for s in table if strings.startswith(wanted, s.name)), None)


def symbols(read: Read, elf: Header) -> tuple[bytes, Iterator[Symbol]]:
    """The string table of the symbols, and the symbols; nothing where there is no such table.

    Source: System V ABI, chapter 4, "Symbol Table".
    """
    names, data = _symbol_table(read, elf)
    return names, (_symbol(elf, one) for one in _symbol_fields(elf).iter_unpack(data))


def symbol_columns(read: Read, elf: Header) -> SymbolColumns:
    """The same, ten times as fast where one looks at all of them."""
    names, data = _symbol_table(read, elf)
    halves, words, longs = (_column(elf, code, data) for code in "HIQ")
    if elf.bits == 64:
        return SymbolColumns(names, words[::6], data[4::24], halves[3::12], longs[1::3])
    return SymbolColumns(names, words[::4], data[12::16], halves[7::8], words[1::4])


def _column(elf: Header, code: str, data: bytes) -> array[int]:
    """All of a table as numbers of one size."""
    numbers = array(code, data)
    if (elf.order == "<") != (sys.byteorder == "little"):
        numbers.byteswap()
    return numbers


def _symbol_table(read: Read, elf: Header) -> tuple[bytes, bytes]:
    """The strings and the rows of the symbol table, all of them whole."""
    table = sections(read, elf)
    found = next((one for one in table if one.type == SHT_SYMTAB), None)
    if found is None or not 0 < found.link < len(table):
        return b"", b""
    strings, size = table[found.link], _symbol_fields(elf).size
    names = read(strings.offset, min(strings.size, SYMBOLS_LIMIT))
    data = read(found.offset, min(found.size, SYMBOLS_LIMIT))
    return names, data[: len(data) // size * size]


def _symbol_fields(elf: Header) -> struct.Struct:
    return struct.Struct(elf.order + ("IBBHQQ" if elf.bits == 64 else "IIIBBH"))


def _symbol(elf: Header, row: tuple[int, ...]) -> Symbol:
    if elf.bits == 64:
        return Symbol(row[0], row[1] & 0xF, row[3], row[4])
    return Symbol(row[0], row[3] & 0xF, row[5], row[1])


def addresses(read: Read, elf: Header, wanted: Collection[str]) -> dict[str, int]:
    """Where symbols of a linked file are, as it was linked; of one name that which comes first.

    A vmlinux has hundreds of thousands: only their names are looked at one by one.
    """
    names, data = _symbol_table(read, elf)
    at = {
        place: name
        for name in wanted
        for place in islice(_places(names, name.encode()), PLACES_LIMIT)
    }
    row = _symbol_fields(elf)
    column = _column(elf, "I", data)[:: row.size // 4]
    where = dict[str, int]()
    for number, place in enumerate(column):
        if place in at:
            symbol = _symbol(elf, row.unpack_from(data, number * row.size))
            if symbol.section:
                where.setdefault(at[place], symbol.value)
    return where


def _places(names: bytes, name: bytes) -> Iterator[int]:
    """Where a string table has a name: also where that is the end of a longer one."""
    place = names.find(name + b"\0")
    while place >= 0:
        yield place
        place = names.find(name + b"\0", place + 1)


def notes(data: bytes, order: str, align: int = 4) -> Iterator[Note]:
    """The notes of a PT_NOTE segment or an SHT_NOTE section.

    :param align: the segment's or section's alignment; only 8 differs from the usual 4
    """
    step = 8 if align == 8 else 4
    offset = 0
    for _ in range(NOTE_LIMIT):
        if offset + 12 > len(data):
            return
        name_size, desc_size, kind = struct.unpack_from(order + "III", data, offset)
        start = _round_up(offset + 12 + name_size, step)
        name = data[offset + 12 : offset + 12 + name_size].rstrip(b"\0")
        yield Note(name.decode("ascii", "replace"), kind, data[start : start + desc_size])
        offset = _round_up(start + desc_size, step)


def arch(elf: Header) -> str:
    """The architecture as ``uname -m`` spells it.

    :raises NotADump: a machine that Linux does not run on, or that CAS does not know
    """
    name = _MACHINES.get((elf.machine, elf.bits))
    if name is None:
        raise NotADump(f"unknown ELF machine {elf.machine} ({elf.bits} bit)", offset=18)
    return "ppc64le" if name == "ppc64" and elf.order == "<" else name


def arch_of_machine(machine: int, bits: int) -> str | None:
    """The architecture of an ``e_machine``, ``ppc64`` for both byte orders; ``None``: unknown."""
    return _MACHINES.get((machine, bits))


def machine_of_arch(arch: str) -> tuple[int, int]:
    """The ``e_machine`` of an architecture, and its word size in bits.

    :raises NotADump: there is none of that name
    """
    name = "ppc64" if arch == "ppc64le" else arch
    found = next((key for key, value in _MACHINES.items() if value == name), None)
    if found is None:
        raise NotADump(f"no ELF machine is called {arch}")
    return found


def build_id(path: Path) -> str | None:
    """The GNU build-id of a vmlinux, kernel module or ``.debug`` file, in lower-case hex.

    :return: ``None`` when the file was linked without one, which happened to vmlinux of arm64 and
        riscv before Linux 6.2 (99cb0d917ffa)
    :raises NotADump: not an ELF file, or unreadable
    """
    with opened(path) as read:
        return build_id_of(read)


def build_id_of(read: Read) -> str | None:
    """The GNU build-id; see `build_id`. The first MiB of a vmlinux is not always enough."""
    elf = header(read)
    # Sections first: a stripped-off .debug file keeps program headers that point nowhere.
    tables: list[tuple[int, int, int]] = [
        (s.offset, s.size, s.addralign) for s in sections(read, elf) if s.type == SHT_NOTE
    ]
    tables += [(s.offset, s.filesz, s.align) for s in segments(read, elf) if s.type == PT_NOTE]
    for offset, size, align in tables[:256]:
        for note in notes(read(offset, min(size, 1 << 20)), elf.order, align):
            if note.name == "GNU" and note.type == 3 and note.desc:
                return note.desc[:64].hex()
    return None


def linux_banner(path: Path) -> str | None:
    """The ``Linux version …`` line of a vmlinux, without its newline.

    :return: ``None`` when there is none, as in a ``.debug`` file without contents
    :raises NotADump: not an ELF file, or unreadable
    """
    with opened(path) as read:
        return linux_banner_of(read)


def linux_banner_of(read: Read) -> str | None:
    """The ``Linux version …`` line; see `linux_banner`.

    Works on the beginning of a vmlinux too, where the section headers at its end are not there yet:
    then the loaded segments are searched. ``linux_banner`` stands in ``.rodata`` (init/version.c).
    """
    elf = header(read)
    rodata = section_named(read, elf, ".rodata")
    if rodata is not None and rodata.type == SHT_PROGBITS:
        return _scan(read, rodata.offset, rodata.size)
    loads = (s for s in segments(read, elf) if s.type == PT_LOAD and s.filesz)
    found = (_scan(read, s.offset, s.filesz) for s in islice(loads, 8))
    return next((banner for banner in found if banner is not None), None)


def banner_in(data: bytes) -> str | None:
    """The first whole ``Linux version …`` line in bytes, without its newline."""
    at = data.find(_BANNER_START)
    for _ in range(_CANDIDATES):
        if at < 0:
            return None
        found = _BANNER.match(data, at)
        if found and _NUMBERLESS not in found[0]:
            return found[0][:-2].decode("utf-8", "replace")
        at = data.find(_BANNER_START, at + 1)
    return None


def _scan(read: Read, offset: int, size: int) -> str | None:
    """Search in steps that overlap, so that a banner across two steps is seen."""
    end = offset + min(size, BANNER_SCAN_LIMIT)
    for at in range(offset, end, _CHUNK):
        data = read(at, min(_CHUNK + _BANNER_LIMIT, end - at))
        banner = banner_in(data)
        if banner is not None or not data:
            return banner
    return None


def _table(
    read: Read, fields: struct.Struct, offset: int, entry_size: int, count: int
) -> Iterator[tuple[int, ...]]:
    """The whole entries of a table; an entry size below the structure's is a lie: none."""
    if entry_size < fields.size or entry_size > 128 or count == 0:
        return
    data = read(offset, entry_size * count)
    for start in range(0, len(data) - fields.size + 1, entry_size):
        yield fields.unpack_from(data, start)


def _section_fields(bits: int, order: str) -> struct.Struct:
    return struct.Struct(order + ("IIIIIIIIII" if bits == 32 else "IIQQQQIIQQ"))


def _round_up(value: int, step: int) -> int:
    return (value + step - 1) & -step
