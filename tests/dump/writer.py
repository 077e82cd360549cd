"""Writes small dumps: ELF, KDUMP and flattened files of a few KB, and a kernel's memory."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cas.dump import identify
from cas.model.dump import Dump

PAGE = 4096
KERNEL_MAP = 0xFFFFFFFF80000000
BANNER = "Linux version 6.1.0-test (me@here) (gcc 12.2.0) #1 SMP Mon Mar  3 10:15:00 UTC 2025"
BUILD_ID = "5d8ecc2f5985c922ddcb6702c14459515d1dafcd"
CRASHTIME = 1_740_997_500

Note = tuple[str, int, bytes]


def written(directory: Path, data: bytes) -> Path:
    """Bytes as a file."""
    path = directory / "vmcore"
    path.write_bytes(data)
    return path


def identified(directory: Path, data: bytes) -> Dump:
    """What is said about a file of these bytes."""
    return identify(written(directory, data))


def vmcoreinfo(**lines: str) -> bytes:
    """The text of a VMCOREINFO note; ``SYMBOL__prb="…"`` becomes ``SYMBOL(prb)=…``."""
    told = {
        "OSRELEASE": "6.1.0-test",
        "BUILD-ID": BUILD_ID,
        "PAGESIZE": str(PAGE),
        "CRASHTIME": str(CRASHTIME),
        "KERNELOFFSET": "1c00000",
        **lines,
    }
    return "".join(f"{_key(key)}={value}\n" for key, value in told.items()).encode()


def _key(key: str) -> str:
    kind, two, name = key.partition("__")
    return f"{kind}({name})" if two else key


def info_note(text: bytes | None = None) -> Note:
    return "VMCOREINFO", 0, vmcoreinfo() if text is None else text


@dataclass(frozen=True)
class Elf:
    """An ELF vmcore to be."""

    memory: Mapping[int, bytes] = field(default_factory=dict)
    """Bytes of each PT_LOAD by physical address."""
    notes: Sequence[Note] = (info_note(),)
    order: str = "<"
    bits: int = 64
    machine: int = 62
    type: int = 4
    flags: int = 0
    many: bool = False
    """Whether the number of program headers stands in section 0 (PN_XNUM)."""
    like_qemu: bool = False
    """Whether section headers come before the program headers, and ``e_ehsize`` is 8."""

    def build(self) -> bytes:
        notes = b"".join(_note(self.order, *note) for note in self.notes)
        count = 1 + len(self.memory)
        head_size, phent, shent = (64, 56, 64) if self.bits == 64 else (52, 32, 40)
        has_section = self.many or self.like_qemu
        shoff = head_size if has_section else 0
        phoff = head_size + (shent if has_section else 0)
        data_at = phoff + count * phent
        ident = b"\x7fELF" + bytes([self.bits // 32, 1 if self.order == "<" else 2, 1]) + bytes(9)
        numbers = struct.pack(
            self.order + ("HHIQQQIHHHHHH" if self.bits == 64 else "HHIIIIIHHHHHH"),
            *(self.type, self.machine, 1, 0, phoff, shoff, self.flags),
            *(8 if self.like_qemu else head_size, phent, 0xFFFF if self.many else count),
            *(shent, int(has_section), 0),
        )
        section = struct.pack(
            self.order + ("IIQQQQIIQQ" if self.bits == 64 else "IIIIIIIIII"),
            *(0, 0, 0, 0, 0, 0, 0, count, 0, 0),
        )
        headers, at = [self._segment(4, data_at, 0, len(notes))], data_at + len(notes)
        for address, data in self.memory.items():
            headers.append(self._segment(1, at, address, len(data)))
            at += len(data)
        front = ident + numbers + (section if has_section else b"") + b"".join(headers)
        return front + notes + b"".join(self.memory.values())

    def _segment(self, kind: int, offset: int, address: int, size: int) -> bytes:
        if self.bits == 64:
            row = (kind, 7, offset, address, address, size, size, 0)
            return struct.pack(self.order + "IIQQQQQQ", *row)
        row = (kind, offset, address, address, size, size, 7, 0)
        return struct.pack(self.order + "IIIIIIII", *row)


def _note(order: str, name: str, kind: int, desc: bytes) -> bytes:
    named = name.encode() + b"\0"
    head = struct.pack(order + "III", len(named), len(desc), kind)
    return head + _padded(named, 4) + _padded(desc, 4)


def _padded(data: bytes, step: int) -> bytes:
    return data + bytes(-len(data) % step)


@dataclass(frozen=True)
class Kdump:
    """A KDUMP file to be."""

    pages: Mapping[int, bytes] = field(default_factory=dict)
    """Bytes of each page by page frame number."""
    info: bytes = vmcoreinfo()
    compress: Callable[[bytes], bytes] = zlib.compress
    flag: int = 1
    """1 zlib, 2 lzo, 4 snappy, 0x20 zstd."""
    status: int = 1
    release: str = "6.1.0-test"
    machine: str = "x86_64"
    order: str = "<"
    bits: int = 64
    version: int = 6
    block: int = PAGE
    split: tuple[int, int] | None = None
    notes: Sequence[Note] = ()
    timestamp: int = CRASHTIME

    def build(self) -> bytes:
        frames = max(self.pages, default=0) + 1
        half = -(-(frames + 7) // 8 // self.block) or 1
        bitmap = bytearray(half * self.block)
        for frame in self.pages:
            bitmap[frame // 8] |= 1 << frame % 8
        sub = self._sub_header(frames)
        sub = _padded(sub, self.block)
        head = _padded(self._header(len(sub) // self.block, 2 * half, frames), self.block)
        front = head + sub + bytes(bitmap) * 2
        return front + self._data(len(front))

    def _data(self, start: int) -> bytes:
        held = [f for f in sorted(self.pages) if not self.split or f in range(*self.split)]
        at = start + 24 * len(held)
        descriptors, data = [], []
        for frame in held:
            packed = self.compress(self.pages[frame])
            small = len(packed) < self.block
            stored, flag = (packed, self.flag) if small else (self.pages[frame], 0)
            descriptors.append(struct.pack(self.order + "qIIQ", at, len(stored), flag, 0))
            data.append(stored)
            at += len(stored)
        return b"".join(descriptors) + b"".join(data)

    def _header(self, sub_blocks: int, bitmap_blocks: int, frames: int) -> bytes:
        names = ("Linux", "node", self.release, "#1 SMP", self.machine, "(none)")
        head = b"KDUMP   " + struct.pack(self.order + "i", self.version)
        head += b"".join(name.encode().ljust(65, b"\0") for name in names)
        head = _padded(head, 8 if self.bits == 64 or self.machine.startswith("arm") else 4)
        head += struct.pack(self.order + ("qq" if self.bits == 64 else "ii"), self.timestamp, 0)
        numbers = (self.status, self.block, sub_blocks, bitmap_blocks, frames, frames, 0, 0, 0, 1)
        return head + struct.pack(self.order + "10I", *numbers)

    def _sub_header(self, frames: int) -> bytes:
        """The notes follow the sub-header in its blocks; VMCOREINFO is the first of them."""
        told = [info_note(self.info)] if self.info else []
        notes = b"".join(_note(self.order, *note) for note in (*told, *self.notes))
        at, (start, end) = self.block + 256, self.split or (0, 0)
        info = (at + 24, len(self.info)) if self.info else (0, 0)
        wide = (*info, at, len(notes), 0, 0, start, end, frames)
        layout = "QiiQQ9Q" if self.bits == 64 else "IiiIIQIQIQIQQQ"
        if self.bits == 32 and self.machine.startswith("arm"):
            layout = "IiiII4xQI4xQI4xQI4xQQQ"
        row = struct.pack(self.order + layout, 0, 31, int(bool(self.split)), start, end, *wide)
        return row.ljust(256, b"\0") + notes


def flattened(data: bytes, step: int = 1000, *, seed: int | None = None, end: bool = True) -> bytes:
    """A stream of records of ``step`` bytes, in a random order if a seed is given."""
    starts = list(range(0, len(data), step))
    if seed is not None:
        random.Random(seed).shuffle(starts)  # noqa: S311
    head = (b"makedumpfile".ljust(16, b"\0") + struct.pack(">qq", 1, 1)).ljust(PAGE, b"\0")
    records = (
        struct.pack(">qq", start, len(data[start : start + step])) + data[start : start + step]
        for start in starts
    )
    return head + b"".join(records) + (struct.pack(">qq", -1, -1) if end else b"")


def kernel_memory() -> tuple[dict[int, bytes], bytes]:
    """Memory of an x86_64 kernel with a banner and an old printk buffer, and its VMCOREINFO.

    The image begins at physical 0x100000, where the kernel map begins too: phys_base is 0. The
    records wrap around the end of the buffer.
    """
    base = 0x100000
    log = bytearray(256)
    at = 160
    for time_ns, text in (
        (1_000_000, b"first"),
        (2_500_000_000, b"two\nlines"),
        (3 * 10**9, b"end"),
    ):
        record = _log_record(time_ns, text)
        if at + len(record) + 16 > len(log):
            log[at : at + 16] = bytes(16)  # length 0: go on at the beginning
            at = 0
        log[at : at + len(record)] = record
        at += len(record)
    image = bytearray(2 * PAGE)
    image[0:256] = log
    struct.pack_into("<QIII", image, 512, KERNEL_MAP + base, len(log), 160, at)
    image[PAGE - 40 : PAGE - 40 + len(BANNER) + 2] = BANNER.encode() + b"\n\0"
    virtual = KERNEL_MAP + base
    info = vmcoreinfo(
        NUMBER__phys_base="0",
        SYMBOL__init_level4_pgt=f"{virtual + 0x1000:x}",
        SYMBOL__swapper_pg_dir=f"{virtual + 0x1000:x}",
        SYMBOL___stext=f"{virtual:x}",
        SYMBOL__log_buf=f"{virtual + 512:x}",
        SYMBOL__log_buf_len=f"{virtual + 520:x}",
        SYMBOL__log_first_idx=f"{virtual + 524:x}",
        SYMBOL__log_next_idx=f"{virtual + 528:x}",
        SIZE__printk_log="16",
        **{"OFFSET__printk_log.ts_nsec": "0", "OFFSET__printk_log.len": "8"},
        **{"OFFSET__printk_log.text_len": "10"},
    )
    return {base: bytes(image)}, info


def kernel_with_log(lines: Sequence[str]) -> bytes:
    """An ELF dump of an x86_64 kernel with this log, a line each millisecond."""
    base, head = 0x100000, 2 * PAGE
    log = b"".join(_log_record(n * 1_000_000, line.encode()) for n, line in enumerate(lines))
    image = bytearray(head + len(log) + PAGE)
    image[head : head + len(log)] = log
    struct.pack_into("<QIII", image, 512, KERNEL_MAP + base + head, len(log) + PAGE, 0, len(log))
    image[1024 : 1024 + len(BANNER) + 2] = BANNER.encode() + b"\n\0"
    virtual = KERNEL_MAP + base
    info = vmcoreinfo(
        NUMBER__phys_base="0",
        SYMBOL___stext=f"{virtual:x}",
        SYMBOL__swapper_pg_dir=f"{virtual + PAGE:x}",
        SYMBOL__log_buf=f"{virtual + 512:x}",
        SYMBOL__log_buf_len=f"{virtual + 520:x}",
        SYMBOL__log_first_idx=f"{virtual + 524:x}",
        SYMBOL__log_next_idx=f"{virtual + 528:x}",
        SIZE__printk_log="16",
        **{"OFFSET__printk_log.ts_nsec": "0", "OFFSET__printk_log.len": "8"},
        **{"OFFSET__printk_log.text_len": "10"},
    )
    return Elf({base: bytes(image)}, [info_note(info)]).build()


def _log_record(time_ns: int, text: bytes) -> bytes:
    size = -(-(16 + len(text)) // 8) * 8
    return (struct.pack("<QHHHBB", time_ns, size, len(text), 0, 0, 0) + text).ljust(size, b"\0")
