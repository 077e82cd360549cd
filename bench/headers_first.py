#!/usr/bin/env python3
"""Move the program headers of QEMU's ELF dump to where makedumpfile looks for them.

usage: headers_first.py VMCORE

QEMU 7.2 writes its section headers between the ELF header and the program
headers; makedumpfile 1.7.2 reads the program headers at offset 64 without
looking at e_phoff. The file is changed in place, its memory is not moved.
"""

import struct
import sys
from pathlib import Path
from typing import BinaryIO

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR_SIZE_BYTES = 56
PN_XNUM = 0xFFFF


def move_headers(vmcore: BinaryIO) -> None:
    """Put the program headers at offset 64 and drop the section headers."""
    fields = list(EHDR.unpack(vmcore.read(EHDR.size)))
    phoff, phnum = fields[5], fields[10]
    if phnum == PN_XNUM:
        raise SystemExit(
            "the number of program headers is in a section header: give the guest less memory"
        )
    vmcore.seek(phoff)
    headers = vmcore.read(phnum * PHDR_SIZE_BYTES)
    fields[5:7] = [EHDR.size, 0]
    fields[8] = EHDR.size
    fields[11:14] = [0, 0, 0]
    vmcore.seek(0)
    vmcore.write(EHDR.pack(*fields) + headers)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: headers_first.py VMCORE")
    with Path(sys.argv[1]).open("r+b") as vmcore:
        move_headers(vmcore)


if __name__ == "__main__":
    main()
