"""Small dumps made to cost a reader much: each must end within the limits like any other."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dump.writer import KERNEL_MAP, PAGE, Elf, flattened, info_note, vmcoreinfo
from fuzz.seeds import COMPRESSORS, INFO, MEMORY, Kdump, contents, kdump

BASE = 0x100000
_RING_BITS = 20


def _sparse(path: Path, data: bytes, size: int) -> None:
    path.write_bytes(data)
    os.truncate(path, size)


def many_notes(path: Path) -> None:
    """16 segments of notes over one hole of 32 MiB: empty notes without end."""
    count, at = 16, 1 << 20
    head = bytearray(Elf({}, []).build()[:64])
    struct.pack_into("<H", head, 56, count)
    row = struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, 32 << 20, 32 << 20, 0)
    _sparse(path, bytes(head) + row * count, at + (32 << 20))


def large_notes(path: Path) -> None:
    """16 segments of notes over the same 32 MiB, each of them one note."""
    count, at, size = 16, 1 << 20, 32 << 20
    head = bytearray(Elf({}, []).build()[:64])
    struct.pack_into("<H", head, 56, count)
    row = struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, size, size, 0)
    note = struct.pack("<III", 5, size, 1) + b"CORE\0\0\0\0"
    _sparse(path, (bytes(head) + row * count).ljust(at, b"\0") + note, at + size)


def echoing_memory(path: Path) -> None:
    """100,000 segments that show the same 4 MiB of the file, and no VMCOREINFO."""
    count, size = 100_000, 4 << 20
    whole = bytearray(Elf({0: b"x"}, [], many=True).build()[:128])
    struct.pack_into("<I", whole, 64 + 44, count)
    start = len(whole) + 56 * count
    rows = (
        struct.pack("<IIQQQQQQ", 1, 7, start, 0, number * size, size, size, 0)
        for number in range(count)
    )
    path.write_bytes(bytes(whole) + b"".join(rows) + b"Linux version " * (size // 14 + 1))


def echoing_log(path: Path) -> None:
    """A lockless log of 4096 records, each of which is the same 64 KiB."""
    _lockless(path, b"x" * (1 << _RING_BITS), 65535)


def log_of_newlines(path: Path) -> None:
    """As `echoing_log`, and every byte begins another line."""
    _lockless(path, b"\n" * (1 << _RING_BITS), 65535)


def log_of_announcements(path: Path) -> None:
    """A log in which everything looks like the beginning of a crash."""
    line = b"BUG: Oops: Kernel panic - Call Trace: <TASK> RIP: 0010:a+0x1/0x2 [b] "
    text = (line * 800)[:65000] + b"\n"
    _lockless(path, text * ((1 << _RING_BITS) // len(text)), 65535, records=128)


def _lockless(path: Path, text: bytes, text_len: int, records: int = 4096) -> None:
    """The layout is that of `printk_ringbuffer` on a 64-bit machine, from offset 0 of the image."""
    bits = records.bit_length() - 1
    descs, infos = BASE + PAGE, BASE + PAGE + 24 * records
    ring = infos + 88 * records + PAGE & -PAGE
    image = bytearray(ring - BASE)
    struct.pack_into("<Q", image, 0, KERNEL_MAP + BASE + 64)
    prb = (bits, 0, KERNEL_MAP + descs, KERNEL_MAP + infos, records - 1, 0)
    struct.pack_into("<IIQQQQ8x", image, 64, *prb)
    struct.pack_into("<IIQQQ", image, 112, _RING_BITS, 0, KERNEL_MAP + ring, 1 << _RING_BITS, 0)
    for number in range(records):
        at = descs - BASE + 24 * number
        struct.pack_into("<QQQ", image, at, 2 << 62 | number, 0, (1 << _RING_BITS) - 8)
        struct.pack_into("<QQH", image, infos - BASE + 88 * number, number, 0, text_len)
    path.write_bytes(Elf({BASE: bytes(image) + text}, [info_note(_ring_lines())]).build())


def _ring_lines() -> bytes:
    """The printk lines of a real kernel's VMCOREINFO, over our own addresses."""
    told = (line.partition("=")[::2] for line in contents("a")[1].decode().split("\n"))
    kinds = ("SIZE(p", "OFFSET(p", "SIZE(atomic", "OFFSET(atomic")
    lines = {key: value for key, value in told if key.startswith(kinds)}
    symbols = {"SYMBOL(prb)": f"{KERNEL_MAP + BASE:x}", "NUMBER(phys_base)": "0"}
    return vmcoreinfo(**lines, **symbols, SYMBOL__init_top_pgt=f"{KERNEL_MAP + BASE:x}")


def short_records(path: Path) -> None:
    """An older log whose records are 8 bytes apart and 64 KiB long."""
    size = 1 << 17
    log = struct.pack("<IHH", 0, 8, 65535) * (size // 8)
    image = bytearray(MEMORY[BASE])
    at = len(image)
    struct.pack_into("<QIII", image, 512, KERNEL_MAP + BASE + at, size, 0, 1)
    info = INFO.replace(b"OFFSET(printk_log.len)=8", b"OFFSET(printk_log.len)=4")
    info = info.replace(b"OFFSET(printk_log.text_len)=10", b"OFFSET(printk_log.text_len)=6")
    path.write_bytes(Elf({BASE: bytes(image) + log}, [info_note(info)]).build())


def endless_bitmap(path: Path) -> None:
    """A sparse KDUMP that declares 64 TiB of memory, and holds none."""
    data = bytearray(Kdump({0: bytes(PAGE)}, INFO).build())
    blocks = 1 << 20
    struct.pack_into("<II", data, 432 + 4, blocks, 0xFFFFFFFF)
    struct.pack_into("<Q", data, PAGE + 96, 1 << 34)
    _sparse(path, bytes(data), (blocks + 64) * PAGE)


def endless_stream(path: Path) -> None:
    """A flattened KDUMP that declares the same, by a record at 64 PiB."""
    data = bytearray(Kdump({0: bytes(PAGE)}, INFO).build())
    struct.pack_into("<II", data, 432 + 4, 1 << 21, 0xFFFFFFFF)
    struct.pack_into("<Q", data, PAGE + 96, 1 << 40)
    stream = flattened(bytes(data), 4096, end=False)
    path.write_bytes(stream + struct.pack(">qq", 1 << 55, 4) + b"last" + struct.pack(">qq", -1, -1))


def scattered_stream(path: Path) -> None:
    """A flattened KDUMP in 16,000 records that overlap a large one, and no VMCOREINFO."""
    pages = {number: bytes([1 + number % 255]) * PAGE for number in range(2000)}
    data = replace(kdump({}, b"", "zlib", release=""), pages=pages).build()
    piece = max(len(data) // 15_000, 1)
    shuffled = flattened(data, piece, seed=1)
    whole = flattened(data, len(data), end=False)
    path.write_bytes(whole + shuffled[PAGE:])


def one_page_for_all(path: Path) -> None:
    """A KDUMP of 100,000 pages that all lead to one, and no VMCOREINFO."""
    count = 100_000
    data = bytearray(replace(kdump({}, b"", "zlib", release=""), pages={count - 1: b""}).build())
    blocks = -(-count // 8 // PAGE) + 1
    front = 2 * PAGE + 2 * blocks * PAGE
    bits = b"\xff" * (count // 8)
    for half in (0, 1):
        at = 2 * PAGE + half * blocks * PAGE
        data[at : at + len(bits)] = bits
    struct.pack_into("<I", data, 432 + 4, 2 * blocks)
    packed = COMPRESSORS["zlib"][1](os.urandom(64) * 64)
    end = front + 24 * count
    descriptor = struct.pack("<qIIQ", end, len(packed), 1, 0)
    path.write_bytes(bytes(data[:front]).ljust(front, b"\0") + descriptor * count + packed)


HOSTILE: dict[str, Callable[[Path], None]] = {
    maker.__name__: maker
    for maker in (
        many_notes,
        large_notes,
        echoing_memory,
        echoing_log,
        log_of_newlines,
        log_of_announcements,
        short_records,
        endless_bitmap,
        endless_stream,
        scattered_stream,
        one_page_for_all,
    )
}
