"""Headers of one byte order around a kernel of the other."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from writer import Elf, identified, info_note, kernel_memory

MEMORY, INFO = kernel_memory()
PPC64 = INFO.replace(b"ffffffff80", b"c000000000")


def memory(order: str) -> dict[int, bytes]:
    """Memory of a ppc64 kernel: pointers are those of its linear mapping."""
    ((base, image),) = MEMORY.items()
    if order == ">":  # the log's fields as well
        return {base: swapped(image)}
    return {base: image[:512] + struct.pack("<Q", 0xC000000000100000) + image[520:]}


def swapped(image: bytes) -> bytes:
    data = bytearray(image)
    size, first, end = struct.unpack_from("<III", image, 520)
    struct.pack_into(">QIII", data, 512, 0xC000000000100000, size, first, end)
    at = first
    while at != end:
        time_ns, length, text_len = struct.unpack_from("<QHH", image, at)
        struct.pack_into(">QHH", data, at, time_ns, length, text_len)
        at = at + length if length else 0
    return bytes(data)


@pytest.mark.parametrize(("header", "kernel"), [(">", "<"), (">", ">"), ("<", "<")])
def test_the_kernels_own_byte_order_counts(header: str, kernel: str, tmp_path: Path) -> None:
    elf = Elf(memory(kernel), [info_note(PPC64)], order=header, machine=21)
    dump = identified(tmp_path, elf.build())
    assert dump.arch == ("ppc64le" if kernel == "<" else "ppc64")
    assert dump.dmesg is not None
    assert dump.dmesg.endswith("end\n")
    assert dump.is_whole
