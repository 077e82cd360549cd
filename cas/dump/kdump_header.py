"""The header and sub-header of a KDUMP, in either byte order and word size.

Source: makedumpfile 1.7.2, diskdump_mod.h (struct disk_dump_header, struct kdump_sub_header);
libkdumpfile, diskdump.c, for the 32-bit layouts. The sub-header grew with its version: parts of a
split dump with 2, makedumpfile 1.3.3 (d8c76a06bbe8); VMCOREINFO with 3, makedumpfile 1.3.5
(2ace80382b1b); ELF notes with 4, makedumpfile 1.3.7 (1fb344e934f8); erase info with 5, makedumpfile
1.4.0 (745bb42ca787); page frame numbers of 64 bits with 6, makedumpfile 1.5.5 (8e124174b623).
"""

from __future__ import annotations

import struct
from dataclasses import replace

from cas.dump.memory import Source
from cas.errors import NotADump
from cas.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Header:
    """The header and the sub-header, with the 64-bit fields of version 6 taken in."""

    order: str
    bits: int
    version: int
    utsname: tuple[str, ...]
    """sysname, nodename, release, version, machine, domainname."""
    timestamp_s: int
    status: int
    block_size: int
    sub_blocks: int
    bitmap_blocks: int
    max_mapnr: int
    phys_base: int | None = None
    dump_level: int | None = None
    split: bool = False
    start_pfn: int = 0
    end_pfn: int = 0
    vmcoreinfo: tuple[int, int] = (0, 0)
    """Offset and size in the file; the same for `notes` and `eraseinfo`."""
    notes: tuple[int, int] = (0, 0)
    eraseinfo: tuple[int, int] = (0, 0)
    status_offset: int = 424
    """Where `status` is in the file, in bytes."""
    padded: bool = True
    """A 32-bit machine aligns 64-bit fields to 8 bytes, as ARM does."""

    @property
    def bitmap_offset(self) -> int:
        """Where the first bitmap is in the file, in bytes."""
        return (1 + self.sub_blocks) * self.block_size

    @property
    def bitmap_bytes(self) -> int:
        """Size of both bitmaps together."""
        return self.bitmap_blocks * self.block_size


def read_kdump_header(source: Source) -> Header:
    """The header in the byte order and word size in which its block size makes sense.

    :raises NotADump: in none
    """
    head = source.read(0, 464)
    layouts = ((order, *kind) for order in "<>" for kind in ((64, 408), (32, 404), (32, 408)))
    readings = (_header_read_as(head, *layout) for layout in layouts)
    header = next((found for found in readings if found is not None), None)
    if header is None:
        raise NotADump("KDUMP header with impossible sizes", offset=424)
    if header.version < 1 or not head.startswith(b"KDUMP"):
        return header
    fields = sub_header_fields(header)
    data = source.read(header.block_size, fields.size).ljust(fields.size, b"\0")
    (base, level, split, start, end, info, info_size, note, note_size, erase, erase_size, *wide) = (
        fields.unpack(data)
    )
    version = header.version
    if version >= 6:
        start, end = wide[0], wide[1]
    return replace(
        header,
        phys_base=base,
        dump_level=level if 0 <= level < 64 else None,
        split=version >= 2 and split == 1,
        start_pfn=start if version >= 2 and split else 0,
        end_pfn=end if version >= 2 and split else 0,
        max_mapnr=wide[2] if version >= 6 and wide[2] else header.max_mapnr,
        vmcoreinfo=(info, info_size) if version >= 3 else (0, 0),
        notes=(note, note_size) if version >= 4 else (0, 0),
        eraseinfo=(erase, erase_size) if version >= 5 else (0, 0),
    )


def _header_read_as(data: bytes, order: str, bits: int, at: int) -> Header | None:
    """:param at: offset of the timestamp, which depends on how the machine aligns it"""
    fields = struct.Struct(order + ("qq" if bits == 64 else "ii") + "IIIIIII")
    if len(data) < at + fields.size:
        return None
    seconds, _, status, block_size, sub_blocks, bitmap_blocks, max_mapnr, _, _ = fields.unpack_from(
        data, at
    )
    (version,) = struct.unpack_from(order + "i", data, 8)
    plausible = block_size in (4096, 8192, 16384, 32768, 65536) and 0 <= version < 64
    if not plausible or sub_blocks > 1 << 20:
        return None
    names = (data[start : start + 65].split(b"\0")[0] for start in range(12, 402, 65))
    return Header(
        order=order,
        bits=bits,
        version=version,
        utsname=tuple(name.decode("ascii", "replace") for name in names),
        timestamp_s=seconds,
        status=status,
        block_size=block_size,
        sub_blocks=sub_blocks,
        bitmap_blocks=bitmap_blocks,
        max_mapnr=max_mapnr,
        status_offset=at + bits // 4,
        padded=at == 408,
    )


def sub_header_fields(header: Header) -> struct.Struct:
    """The layout of the sub-header: phys_base, dump_level, split, start and end page frame, offset
    and size of VMCOREINFO, notes and erase info, and again as 64 bits start, end, max_mapnr.
    """
    if header.bits == 64:
        return struct.Struct(header.order + "qiiQQQQQQQQQQQ")
    layout = "IiiII4xQI4xQI4xQI4xQQQ" if header.padded else "IiiIIQIQIQIQQQ"
    return struct.Struct(header.order + layout)
