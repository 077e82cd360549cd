"""The shipped dumps in forms that drgn alone cannot read."""

from __future__ import annotations

from pathlib import Path

from dump.opening import image_of
from dump.writer import Kdump

QEMU_BLOCK = 64 << 10
"""QEMU writes blocks of this size for arm64, whatever its kernel's pages have: libkdumpfile is lost
between the two (`Out-of-bounds PFN`)."""


def as_kdump_of_qemu(core: Path) -> bytes:
    """An ELF dump of arm64 as QEMU writes it with ``format: kdump-zlib``."""
    with image_of(core) as image:
        pages: dict[int, bytes] = {}
        for load in image.loads:
            assert load.paddr % QEMU_BLOCK == load.filesz % QEMU_BLOCK == 0
            for at in range(load.paddr, load.paddr + load.filesz, QEMU_BLOCK):
                pages[at // QEMU_BLOCK] = image.memory.read(at, QEMU_BLOCK)
        notes = [(note.name, note.type, note.desc) for note in image.notes]
        kept = [note for note in notes if note[0] == "CORE"]
        info = image.vmcoreinfo or b""
        kdump = Kdump(pages, info, release="", machine="", block=QEMU_BLOCK, notes=kept)
        return kdump.build()
