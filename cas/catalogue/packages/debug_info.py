"""Whether a file has the debug information that a debugger needs, as far as its headers tell.

Source: System V ABI, chapter 4, "Sections" and "Section Compression"; DWARF 5, 7.4 and 7.5.1.
"""

from __future__ import annotations

import struct
from pathlib import Path

from cas import elf

NONE = "has no debug information"
_NAMES = (".debug_info", ".zdebug_info")
_NOBITS = 8
"""Type of a section that takes no room in its file."""
_COMPRESSED = 0x800
"""Flag of a section that begins with a compression header."""
_COMPRESSIONS = (1, 2)
"""ELFCOMPRESS_ZLIB and ELFCOMPRESS_ZSTD."""
_GNU_COMPRESSED = b"ZLIB"
"""What ``.zdebug_info`` begins with, as binutils wrote it before the ABI knew of compression."""
_LONG = 0xFFFFFFFF
"""What stands in place of a unit's length where 64 bits of length follow (DWARF 5, 7.4)."""
_LIMIT = 0xFFFFFFF0
"""From here on lengths of 32 bits mean something else."""
_VERSIONS = range(2, 6)
_UNITS = 1 << 18
"""So many units are looked at; the largest kernels have some ten thousand."""


def flaw(path: Path) -> str | None:
    """What keeps debuggers from using an ELF file, in a phrase; ``None``: nothing is seen of it.

    Every section must be in the file, and the units of ``.debug_info`` must follow one another
    to its end: so bytes that were cut off, left out or zeroed are seen without reading it all.

    :raises NotADump: it is no ELF file, or cannot be read
    """
    with elf.opened(path) as read:
        header = elf.header(read)
        sections = elf.sections(read, header)
        size_bytes = path.stat().st_size
        if len(sections) != header.shnum or any(
            section.offset + section.size > size_bytes
            for section in sections
            if section.type != _NOBITS
        ):
            return "is cut short"
        found = (elf.section_named(read, header, name) for name in _NAMES)
        info = next(filter(None, found), None)
        if info is None or info.type == _NOBITS or not info.size:
            return NONE
        if not _is_sensible(read, header.order, info):
            return "has debug information that is damaged"
        return None


def _is_sensible(read: elf.Read, order: str, info: elf.Section) -> bool:
    begin = read(info.offset, 4)
    if begin == _GNU_COMPRESSED:
        return True
    if info.flags & _COMPRESSED:
        return len(begin) == 4 and struct.unpack(order + "I", begin)[0] in _COMPRESSIONS
    short, long = struct.Struct(order + "IH"), struct.Struct(order + "IQH")
    offset, end = info.offset, info.offset + info.size
    for _ in range(_UNITS):
        if offset >= end:
            break
        head = read(offset, long.size)
        if len(head) < short.size:
            return False
        length, version = short.unpack_from(head)
        size = 4
        if length == _LONG and len(head) == long.size:
            _, length, version = long.unpack(head)
            size = 12
        if version not in _VERSIONS or length >= _LIMIT:
            return False
        offset += size + length
    return offset <= end
