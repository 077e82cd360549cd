"""Physical memory of a dump in any format, for comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cas.dump.elf_core import open_core
from cas.dump.flattened import MAGIC, Flattened
from cas.dump.kdump import open_kdump
from cas.dump.memory import Image, Source
from cas.dump.source import opened_source


@contextmanager
def image_of(path: Path) -> Iterator[Image]:
    with opened_source(path) as file:
        source: Source = Flattened(file) if file.read(0, 16) == MAGIC else file
        is_elf = source.read(0, 4) == b"\x7fELF"
        yield open_core(source) if is_elf else open_kdump(source)


def pages_of(path: Path) -> dict[int, bytes]:
    """Every page that is not zeros, by its frame."""
    with image_of(path) as image:
        return {
            (address + at) // 4096: data[at : at + 4096]
            for address, data in image.memory.chunks(0, 1 << 64)
            for at in range(0, len(data), 4096)
            if data[at : at + 4096].strip(b"\0")
        }
