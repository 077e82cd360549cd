#!/usr/bin/env python3
"""Give QEMU's dump of a 32-bit x86 guest the headers that its kdump kernel would have given it.

as_proc_vmcore.py IN OUT

QEMU writes a 64-bit ELF file because its firmware ends at 4 GiB, and no virtual addresses.
Source: kexec-tools, kexec/crashdump-elf.c with --elf32-core-headers.
"""

import struct
import sys
from pathlib import Path

SEGMENT_64 = struct.Struct("<IIQQQQQQ")
HEADER_32, SEGMENT_32 = struct.Struct("<16sHHIIIIIHHHHHH"), struct.Struct("<IIIIIIII")
PT_LOAD = 1
PAGE_OFFSET = 0xC0000000
LOWMEM_END = 0x38000000
"""896 MiB, which the kernel maps."""
FIRMWARE = 0xF0000000


def main(source: Path, target: Path) -> None:
    data = source.read_bytes()
    segments = [row for row in segments_of(data) if row[4] < FIRMWARE]
    at = HEADER_32.size + len(segments) * SEGMENT_32.size
    headers, content = [], []
    for kind, flags, offset, _, address, size, memory_size, _ in segments:
        mapped = kind == PT_LOAD and address < LOWMEM_END
        virtual = address + PAGE_OFFSET if mapped else 0
        row = (kind, at, virtual, address, size, memory_size, flags, 0)
        headers.append(SEGMENT_32.pack(*row))
        content.append(data[offset : offset + size])
        at += size
    target.write_bytes(b"".join((header(len(segments)), *headers, *content)))


def segments_of(data: bytes) -> list[tuple[int, ...]]:
    (phoff,) = struct.unpack_from("<Q", data, 32)
    (phnum,) = struct.unpack_from("<H", data, 56)
    return [SEGMENT_64.unpack_from(data, phoff + n * SEGMENT_64.size) for n in range(phnum)]


def header(count: int) -> bytes:
    ident = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    sizes = (HEADER_32.size, SEGMENT_32.size, count, 0, 0, 0)
    return HEADER_32.pack(ident, 4, 3, 1, 0, HEADER_32.size, 0, 0, *sizes)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
