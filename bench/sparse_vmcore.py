#!/usr/bin/env python3
"""Write an ELF vmcore of any size that takes a few KB of disk.

usage: sparse_vmcore.py OUT SIZE_GIB SOURCE_ELF

The notes (registers, VMCOREINFO) are those of SOURCE_ELF, a real dump of
64-bit little-endian ELF. Its memory is one PT_LOAD of SIZE_GIB from physical
address 0, a hole in the file that reads as zeros: whole by every rule of the
format, so that only the size is unusual.
"""

import argparse
import struct
from pathlib import Path
from typing import BinaryIO

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
ELF64_LSB_IDENT = b"\x7fELF\x02\x01\x01"
ET_CORE = 4
PT_LOAD, PT_NOTE = 1, 4
PAGE_BYTES = 4096


def read_notes(source: BinaryIO) -> tuple[int, bytes]:
    """The machine number and the bytes of the first PT_NOTE segment."""
    ehdr = source.read(EHDR.size)
    if len(ehdr) < EHDR.size or not ehdr.startswith(ELF64_LSB_IDENT):
        raise SystemExit(f"{source.name}: not a 64-bit little-endian ELF file")
    _, kind, machine, _, _, phoff, _, _, _, phentsize, phnum, *_ = EHDR.unpack(ehdr)
    if kind != ET_CORE:
        raise SystemExit(f"{source.name}: ELF, but not a core dump")
    source.seek(phoff)
    table = source.read(phentsize * phnum)
    for start in range(0, len(table), phentsize):
        segment, _, offset, _, _, filesz, _, _ = PHDR.unpack_from(table, start)
        if segment == PT_NOTE:
            source.seek(offset)
            return machine, source.read(filesz)
    raise SystemExit(f"{source.name}: no PT_NOTE segment")


def headers(machine: int, notes_bytes: int, memory_bytes: int) -> tuple[bytes, int]:
    """The ELF and program headers, and the size of the whole file in bytes."""
    notes_offset = EHDR.size + 2 * PHDR.size
    memory_offset = -(-(notes_offset + notes_bytes) // PAGE_BYTES) * PAGE_BYTES
    ehdr = EHDR.pack(
        ELF64_LSB_IDENT, ET_CORE, machine, 1, 0, EHDR.size, 0, 0, EHDR.size, PHDR.size, 2, 0, 0, 0
    )
    note = PHDR.pack(PT_NOTE, 0, notes_offset, 0, 0, notes_bytes, notes_bytes, 0)
    load = PHDR.pack(PT_LOAD, 0, memory_offset, 0, 0, memory_bytes, memory_bytes, 0)
    return ehdr + note + load, memory_offset + memory_bytes


def write_vmcore(out: Path, memory_bytes: int, source: Path) -> None:
    """Write the sparse dump; an existing ``out`` is replaced."""
    with source.open("rb") as dump:
        machine, notes = read_notes(dump)
    head, size_bytes = headers(machine, len(notes), memory_bytes)
    with out.open("wb") as vmcore:
        vmcore.write(head + notes)
        vmcore.truncate(size_bytes)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a sparse ELF vmcore.")
    parser.add_argument("out", type=Path)
    parser.add_argument("size_gib", type=int)
    parser.add_argument("source_elf", type=Path)
    args = parser.parse_args()
    write_vmcore(args.out, args.size_gib << 30, args.source_elf)


if __name__ == "__main__":
    main()
