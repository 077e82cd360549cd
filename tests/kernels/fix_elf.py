#!/usr/bin/env python3
"""Rewrite the header of QEMU's ELF dump in place so that makedumpfile reads it.

QEMU 7.2 puts section headers before the program headers and writes an e_ehsize of 8;
makedumpfile 1.7.2 takes program headers from offset 64 whatever e_phoff says.
"""

import struct
import sys
from pathlib import Path

HEADER_SIZE = 64
PROGRAM_HEADER_SIZE = 56


def main(path: Path) -> None:
    with path.open("r+b") as dump:
        header = bytearray(dump.read(HEADER_SIZE))
        (phoff,) = struct.unpack_from("<Q", header, 32)
        phentsize, phnum = struct.unpack_from("<HH", header, 54)
        if phentsize != PROGRAM_HEADER_SIZE:
            raise SystemExit(f"{path}: program headers of {phentsize} bytes")
        dump.seek(phoff)
        program_headers = dump.read(phnum * PROGRAM_HEADER_SIZE)
        struct.pack_into("<QQ", header, 32, HEADER_SIZE, 0)  # e_phoff, e_shoff
        struct.pack_into("<H", header, 52, HEADER_SIZE)  # e_ehsize
        struct.pack_into("<HHH", header, 58, 0, 0, 0)  # e_shentsize, e_shnum, e_shstrndx
        dump.seek(0)
        dump.write(header + program_headers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
