"""The kernel log: the ring buffer with wrap-around and lost records, and the buffers before it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from cas.dump.memory import Absent
from cas.dump.printk import dmesg, read_log
from cas.dump.translate import Kernel, Machine
from cas.dump.vmcoreinfo import VmcoreInfo, parse_vmcoreinfo

PAGE = 4096
PRB, DESCS, INFOS, DATA = 0x1000, 0x2000, 0x4000, 0x8000
COMMITTED, FINALIZED, RESERVED, REUSABLE = 1, 2, 0, 3
EMPTY, FAILED = 3, 1
LAYOUT = """SYMBOL(prb)=800
SIZE(printk_ringbuffer)=88
OFFSET(printk_ringbuffer.desc_ring)=0
OFFSET(printk_ringbuffer.text_data_ring)=48
SIZE(prb_desc_ring)=48
OFFSET(prb_desc_ring.count_bits)=0
OFFSET(prb_desc_ring.descs)=8
OFFSET(prb_desc_ring.infos)=16
OFFSET(prb_desc_ring.head_id)=24
OFFSET(prb_desc_ring.tail_id)=32
SIZE(prb_desc)=24
OFFSET(prb_desc.state_var)=0
OFFSET(prb_desc.text_blk_lpos)=8
OFFSET(prb_data_blk_lpos.begin)=0
OFFSET(prb_data_blk_lpos.next)=8
SIZE(printk_info)=88
OFFSET(printk_info.ts_nsec)=8
OFFSET(printk_info.text_len)=16
OFFSET(prb_data_ring.size_bits)=0
OFFSET(prb_data_ring.data)=8
OFFSET(prb_data_ring.head_lpos)=16
OFFSET(atomic_long_t.counter)=0
"""


@dataclass
class Ram:
    """Physical memory of 64 KiB; s390x has its kernel there at the same addresses."""

    data: bytearray = field(default_factory=lambda: bytearray(1 << 16))

    def read(self, address: int, size: int) -> bytes:
        if address + size > len(self.data):
            raise Absent("beyond the memory")
        return bytes(self.data[address : address + size])

    def chunks(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        yield 0, bytes(self.data)

    def put(self, address: int, layout: str, *values: int) -> None:
        struct.pack_into(">" + layout, self.data, address, *values)

    def kernel(self, info: str) -> Kernel:
        lines: VmcoreInfo = parse_vmcoreinfo(info.encode())
        return Kernel(Machine("s390x", ">", 4096, self, None, lines))


@dataclass
class Ring:
    """A printk ring buffer of 8 records and 256 bytes that is written as the kernel writes it."""

    ram: Ram = field(default_factory=Ram)
    id: int = (1 << 62) - 9
    """Starts below the wrap of ids, as the kernel's does."""
    lpos: int = (1 << 64) - 256
    written: int = 0

    def say(self, text: bytes, state: int = FINALIZED) -> None:
        size = -(-(8 + len(text)) // 8) * 8
        begin = self.lpos
        start = begin
        if begin >> 8 != begin + size >> 8 and (begin + size) % 256:
            start = (begin >> 8) + 1 << 8
        after = start + size & (1 << 64) - 1
        at = DATA + start % 256
        self.ram.put(at, "Q", self.id)
        self.ram.data[at + 8 : at + 8 + len(text)] = text
        self.lpos = after
        self.describe(begin, after, len(text), state)

    def describe(self, begin: int, after: int, text_len: int, state: int = FINALIZED) -> None:
        number = (self.id + 1) & (1 << 62) - 1
        self.id = number
        self.written += 1
        slot = number % 8
        self.ram.put(DESCS + 24 * slot, "QQQ", state << 62 | number, begin, after)
        self.ram.put(INFOS + 88 * slot, "QQH", self.written, self.written * 10**9, text_len)

    def dmesg(self) -> list[str]:
        tail = self.id - min(self.written, 8) + 1 & (1 << 62) - 1
        self.ram.put(0x800, "Q", PRB)
        self.ram.put(PRB, "I4xQQQQ", 3, DESCS, INFOS, self.id, tail)
        self.ram.put(PRB + 48, "I4xQQ", 8, DATA, self.lpos)
        return dmesg(self.ram.kernel(LAYOUT)).splitlines()


def test_records_come_in_order() -> None:
    ring = Ring()
    ring.say(b"one")
    ring.say(b"two")
    assert ring.dmesg() == ["[    1.000000] one", "[    2.000000] two"]


def test_rings_that_wrapped_give_the_newest_records() -> None:
    ring = Ring()
    texts = [f"record number {number} with some words".encode() for number in range(30)]
    for text in texts:
        ring.say(text)
    kept = [line.split("] ")[1].encode() for line in ring.dmesg()]
    assert len(kept) >= 4
    assert kept == texts[-len(kept) :]


def test_each_line_of_a_record_gets_its_stamp() -> None:
    ring = Ring()
    ring.say(b"one\ntwo")
    assert ring.dmesg() == ["[    1.000000] one", "[    1.000000] two"]


@pytest.mark.parametrize("state", [RESERVED, REUSABLE])
def test_record_that_is_not_written_to_its_end_is_left_out(state: int) -> None:
    ring = Ring()
    ring.say(b"one")
    ring.say(b"two", state)
    ring.say(b"three", COMMITTED)
    assert ring.dmesg() == ["[    1.000000] one", "[    3.000000] three"]


def test_empty_record_is_a_line_and_a_lost_one_is_none() -> None:
    ring = Ring()
    ring.describe(EMPTY, EMPTY, 0)
    ring.describe(FAILED, FAILED, 99)
    assert ring.dmesg() == ["[    1.000000] "]


def test_control_characters_stay_as_they_are() -> None:
    ring = Ring()
    ring.say(b"a\x1b[31mb\xff")
    assert ring.dmesg() == ["[    1.000000] a\x1b[31mb\ufffd"]


def test_empty_log_is_absent() -> None:
    ring = Ring()
    ring.say(b"one", RESERVED)
    with pytest.raises(Absent, match="empty"):
        ring.dmesg()


def test_log_of_text_before_linux_3_5_is_turned_round() -> None:
    ram = Ram()
    ram.data[0x3000:0x3010] = b"9]c\n<6>[ 1]a\n[ 1"
    ram.put(0x800, "QII", 0x3000, 16, 36)
    info = "SYMBOL(log_buf)=800\nSYMBOL(log_buf_len)=808\nSYMBOL(log_end)=80c\n"
    assert dmesg(ram.kernel(info)) == "<6>[ 1]a\n[ 19]c\n"


def test_vmcoreinfo_without_a_log_is_absent() -> None:
    with pytest.raises(Absent, match="does not tell where the kernel log is"):
        dmesg(Ram().kernel("OSRELEASE=6.1.0\n"))


def test_lying_size_takes_no_memory() -> None:
    ring = Ring()
    ring.say(b"one")
    ring.dmesg()
    ring.ram.put(PRB + 48, "I", 60)
    with pytest.raises(Absent, match="2\\^60 bytes"):
        dmesg(ring.ram.kernel(LAYOUT))


RECORDS = """SYMBOL(log_buf)=100
SYMBOL(log_buf_len)=108
SYMBOL(log_first_idx)=10c
SYMBOL(log_next_idx)=110
SIZE(printk_log)=16
OFFSET(printk_log.ts_nsec)=0
OFFSET(printk_log.len)=8
OFFSET(printk_log.text_len)=10
"""
LARGE = 32 << 20


def large_log(first: int, count: int) -> tuple[Ram, int]:
    """A buffer of 32 MiB with records of nearly 2 KiB, and how many of them there are."""
    ram = Ram(bytearray(LARGE + PAGE))
    at, number, begun = first, 0, first
    for number in range(1, count + 1):
        text = (b"record %d " % number).ljust(1990, b"x")
        size = -(-(16 + len(text)) // 8) * 8
        if at + size + 16 > LARGE:
            ram.put(PAGE + at, "QHHHBB", *bytes(6))
            at = 0
        ram.put(PAGE + at, "QHHHBB", number * 10**6, size, len(text), 0, 0, 0)
        ram.data[PAGE + at + 16 : PAGE + at + 16 + len(text)] = text
        at += size
    ram.put(0x100, "QIII", PAGE, LARGE, begun, at)
    return ram, number


@pytest.mark.parametrize(("first", "count"), [(0, 10_000), (20 << 20, 10_000), (0, 5_000)])
def test_of_a_large_log_the_newest_16_mib_are_read(first: int, count: int) -> None:
    ram, last = large_log(first, count)
    log = read_log(ram.kernel(RECORDS))
    numbers = [int(line.split()[3]) for line in log.text.splitlines()]
    assert numbers == list(range(numbers[0], last + 1))
    kept = len(numbers) * 2008
    if count == 5_000:
        assert (len(numbers), log.left_out) == (count, 0)
    else:
        assert 15 << 20 < kept <= 16 << 20
        assert abs(log.left_out - 2008 * (count - len(numbers))) < 2 * 2008


def test_of_a_large_plain_log_the_newest_16_mib_are_read() -> None:
    ram = Ram(bytearray(LARGE + PAGE))
    lines = b"".join(b"line %7d\n" % number for number in range(LARGE // 13 + 1000))
    for start in range(0, len(lines), LARGE):
        part = lines[start : start + LARGE]
        ram.data[PAGE : PAGE + len(part)] = part
    ram.put(0x100, "QII", PAGE, LARGE, len(lines))
    info = "SYMBOL(log_buf)=100\nSYMBOL(log_buf_len)=108\nSYMBOL(log_end)=10c\n"
    log = read_log(ram.kernel(info))
    assert log.text.encode() == lines[-(16 << 20) :]
