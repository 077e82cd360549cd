#!/usr/bin/env python3
"""Rewrite the header of QEMU's ELF dump in place so that makedumpfile reads it.

QEMU 7.2 puts section headers before the program headers and writes an e_ehsize of 8;
makedumpfile 1.7.2 takes program headers from offset 64 whatever e_phoff says.
"""

import struct
import sys
from pathlib import Path

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR_SIZE = 56


def main(path: Path) -> None:
    with path.open("r+b") as dump:
        (
            ident,
            kind,
            machine,
            version,
            entry,
            phoff,
            _shoff,
            flags,
            _ehsize,
            phentsize,
            phnum,
            _shentsize,
            _shnum,
            _shstrndx,
        ) = EHDR.unpack(dump.read(EHDR.size))
        if phentsize != PHDR_SIZE:
            raise SystemExit(f"{path}: program headers of {phentsize} bytes")
        dump.seek(phoff)
        program_headers = dump.read(phnum * PHDR_SIZE)
        dump.seek(0)
        dump.write(
            EHDR.pack(
                ident,
                kind,
                machine,
                version,
                entry,
                EHDR.size,
                0,
                flags,
                EHDR.size,
                PHDR_SIZE,
                phnum,
                0,
                0,
                0,
            )
        )
        dump.write(program_headers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
