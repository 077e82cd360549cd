"""What a damaged dump still tells: identity, the log in part, registers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from opening import pages_of
from test_printk import DATA, DESCS, LAYOUT, PRB, Ram, Ring
from writer import (
    BANNER,
    BUILD_ID,
    PAGE,
    Elf,
    Kdump,
    flattened,
    identified,
    info_note,
    kernel_memory,
    vmcoreinfo,
)

from cas.dump import identify
from cas.dump.log_search import log_start, loose_log
from cas.dump.memory import Absent
from cas.dump.printk import Log, read_log
from cas.errors import NotADump

MEMORY, INFO = kernel_memory()
PAGES = {at // PAGE + n: data[PAGE * n :][:PAGE] for at, data in MEMORY.items() for n in (0, 1)}
STATUS = struct.pack("<112x27Q8x", *range(1, 28))
NOTES = [("CORE", 1, STATUS), ("CORE", 1, bytes(336)), info_note(INFO)]
ELF = Elf(MEMORY, NOTES).build()
KDUMP = Kdump(PAGES, INFO, notes=NOTES[:2]).build()


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (changed(ELF, 4, b"\xff"), "damaged ELF"),
        (changed(ELF, 16, b"\x44\x44"), "damaged ELF"),
        (changed(ELF, 18, b"\xff\xff"), "damaged ELF"),
        (changed(ELF, 56, b"\0\0"), "damaged ELF"),
        (changed(KDUMP, 428, bytes(4)), "damaged KDUMP"),
        (changed(KDUMP, 8, b"\xff\xff"), "damaged KDUMP"),
        (changed(flattened(ELF, PAGE), 16, bytes(8)), "damaged flattened dump"),
    ],
    ids=["class", "type", "machine", "no-segments", "block-size", "version", "flattened"],
)
def test_words_in_a_file_with_damaged_headers_are_found(
    tmp_path: Path, data: bytes, format: str
) -> None:
    dump = identified(tmp_path, data)
    assert (dump.format, dump.arch, dump.osrelease) == (format, "x86_64", "6.1.0-test")
    assert (dump.build_id, dump.is_whole) == (BUILD_ID, False)
    assert "headers cannot be read" in dump.missing[0].what
    assert [r.cpu for r in dump.registers] == [0]


def test_damaged_file_without_words_is_no_dump(tmp_path: Path) -> None:
    with pytest.raises(NotADump, match="impossible sizes"):
        identified(tmp_path, b"KDUMP   " + bytes(9000))


def test_log_of_a_real_dump_with_damaged_headers_is_found(vmcore: Path, tmp_path: Path) -> None:
    whole = identify(vmcore)
    damaged = identified(tmp_path, changed(vmcore.read_bytes(), 4, b"\xff"))
    texts = [line.split("] ", 1)[-1] for line in str(whole.dmesg).splitlines()]
    # where the text of a record ends is not always to be seen
    assert len(set(texts) - set(str(damaged.dmesg).splitlines())) < 0.06 * len(texts)
    assert (damaged.panic_message, damaged.arch) == (whole.panic_message, whole.arch)
    assert [r.values for r in damaged.registers] == [r.values for r in whole.registers]


def test_log_that_nothing_leads_to_is_found_by_its_records(vmcore: Path, tmp_path: Path) -> None:
    data = vmcore.read_bytes()
    dump = identified(tmp_path, data.replace(b"SYMBOL(prb)=", b"SYMBOL(xxx)="))
    assert dump.panic_message == identify(vmcore).panic_message
    assert "the kernel log was found by a search for its records, and may lack some" in dump.remarks


def test_registers_of_a_real_dump_are_those_of_its_call_traces(vmcore: Path) -> None:
    dump = identify(vmcore)
    assert [(r.cpu, r.pid) for r in dump.registers] == [(0, None), (1, None)]  # QEMU's
    assert dump.registers[0].values["rip"] >> 32 == 0xFFFFFFFF
    assert list(dump.registers[0].values)[:3] == ["r15", "r14", "r13"]


@pytest.mark.parametrize(
    ("arch", "machine", "bits", "order", "count", "first", "pc"),
    [
        ("x86_64", 62, 64, "<", 27, "r15", ("rip", 17)),
        ("i686", 3, 32, "<", 17, "ebx", ("eip", 13)),
        ("aarch64", 183, 64, "<", 34, "x0", ("pc", 33)),
        ("arm", 40, 32, "<", 18, "r0", ("pc", 16)),
        ("ppc64", 21, 64, ">", 48, "gpr0", ("nip", 33)),
        ("ppc64le", 21, 64, "<", 48, "gpr0", ("nip", 33)),
        ("s390x", 22, 64, ">", 27, "psw_mask", ("psw_addr", 2)),
        ("riscv64", 243, 64, "<", 32, "pc", ("pc", 1)),
        ("loongarch64", 258, 64, "<", 45, "r0", ("csr_era", 34)),
    ],
)
@pytest.mark.parametrize("make", [Elf, Kdump])
def test_registers_by_the_names_of_every_arch(  # noqa: PLR0917
    tmp_path: Path,
    arch: str,
    machine: int,
    bits: int,
    order: str,
    count: int,
    first: str,
    pc: tuple[str, int],
    make: Callable[..., Elf | Kdump],
) -> None:
    head, word, pad = (112, "Q", 8) if bits == 64 else (72, "I", 4)
    desc = bytearray(head) + struct.pack(f"{order}{count}{word}", *range(1, count + 1)) + bytes(pad)
    struct.pack_into(order + "i", desc, 32 if bits == 64 else 24, 4711)
    note = ("CORE", 1, bytes(desc))
    info = info_note(vmcoreinfo())
    if make is Elf:
        data = Elf(notes=[note, info], machine=machine, bits=bits, order=order).build()
    else:
        named = {"machine": "armv7l" if arch == "arm" else arch, "bits": bits, "order": order}
        data = Kdump(info=info[2], notes=[note], **named).build()  # type: ignore[arg-type]
    dump = identified(tmp_path, data)
    assert dump.arch == arch
    (registers,) = dump.registers
    assert (registers.cpu, registers.pid) == (0, 4711)
    assert next(iter(registers.values.items())) == (first, 1)
    assert registers.values[pc[0]] == pc[1]


@pytest.mark.parametrize(
    ("pids", "info", "expected"),
    [
        ((1, 2, 3), vmcoreinfo(), (None, None, None)),
        ((1, 2, 7), vmcoreinfo(), (1, 2, 7)),
        ((1,), vmcoreinfo(), (1,)),  # init has crashed
        ((1,), vmcoreinfo().replace(b"CRASHTIME", b"NOTHING"), (None,)),
    ],
)
def test_the_number_of_a_processor_is_no_pid(
    tmp_path: Path, pids: tuple[int, ...], info: bytes, expected: tuple[int | None, ...]
) -> None:
    notes = []
    for pid in pids:
        desc = bytearray(112) + struct.pack("<27Q", *range(1, 28)) + bytes(8)
        struct.pack_into("<i", desc, 32, pid)
        notes.append(("CORE", 1, bytes(desc)))
    dump = identified(tmp_path, Elf(notes=[*notes, info_note(info)]).build())
    assert tuple(one.pid for one in dump.registers) == expected


def test_note_of_registers_that_is_cut_or_empty_says_nothing(tmp_path: Path) -> None:
    notes = [("CORE", 1, STATUS[:200]), ("CORE", 1, bytes(336)), info_note()]
    assert identified(tmp_path, Elf(notes=notes).build()).registers == ()


class Torn(Ram):
    """Memory that lacks some pages."""

    lost: frozenset[int] = frozenset()

    def read(self, address: int, size: int) -> bytes:
        if self.lost & set(range(address // PAGE, (address + size - 1) // PAGE + 1)):
            raise Absent("not in the dump")
        return super().read(address, size)


def torn(ring: Ring, *addresses: int) -> Log:
    ring.dmesg()
    memory = Torn(ring.ram.data)
    memory.lost = frozenset(address // PAGE for address in addresses)
    return read_log(memory.kernel(LAYOUT))


def test_records_whose_text_is_lost_are_counted() -> None:
    ring = Ring(lpos=(1 << 64) - 256)
    ring.say(b"one")
    ring.say(b"two")
    with pytest.raises(Absent, match="all 2 records are lost"):
        torn(ring, DATA)


def test_descriptors_that_are_lost_leave_the_other_records() -> None:
    ring = Ring()
    for number in range(8):
        ring.say(b"%d" % number)
    # the ring of descriptors ends in the page that is lost
    moved = bytearray(ring.ram.data)
    moved[0x3000 - 96 : 0x3000 + 96] = ring.ram.data[DESCS : DESCS + 192]
    ring.ram.data[:] = moved
    ring.dmesg()
    ring.ram.put(PRB + 8, "Q", 0x3000 - 96)
    memory = Torn(ring.ram.data)
    memory.lost = frozenset({3})
    log = read_log(memory.kernel(LAYOUT))
    assert (log.records, log.lost) == (4, 4)


def test_hole_in_a_buffer_of_records_costs_only_what_is_in_it() -> None:
    ram = Torn()
    log, at = 0x2000, 0
    texts = [b"record %03d of the log" % number for number in range(400)]
    for number, text in enumerate(texts):
        ram.put(log + at, "QHH", number * 10**9, 40, len(text))
        ram.data[log + at + 16 : log + at + 16 + len(text)] = text
        at += 40
    ram.put(0x800, "QIII", log, 1 << 14, 0, at)
    ram.lost = frozenset({3})
    lines = {"log_buf": "800", "log_buf_len": "808", "log_first_idx": "80c", "log_next_idx": "810"}
    info = "".join(f"SYMBOL({name})={value}\n" for name, value in lines.items())
    info += "SIZE(printk_log)=16\nOFFSET(printk_log.ts_nsec)=0\nOFFSET(printk_log.len)=8\n"
    read = read_log(ram.kernel(info + "OFFSET(printk_log.text_len)=10\n"))
    assert 295 <= read.records <= 299
    assert read.lost >= 1
    assert not read.is_counted
    assert read.text.splitlines()[-1].endswith("record 399 of the log")


def test_records_are_followed_by_their_shape_alone() -> None:
    texts = [BANNER.encode(), b"Command line: quiet", b"two\nlines", b"end"]
    records = b"".join(
        (struct.pack("<QHHHBB", 5 * 10**8, size, len(text), 0, 0, 0) + text).ljust(size, b"\0")
        for text in texts
        for size in [-(-(16 + len(text)) // 8) * 8]
    )
    start = log_start(b"noise" * 8 + records, "<")
    assert start == 40
    assert loose_log(records, "<").count("[    0.500000] ") == 5


@pytest.mark.parametrize("tail", [b"", b"\n", b"end"])
def test_banner_alone_is_no_log(tail: bytes) -> None:
    assert log_start(bytes(16) + BANNER.encode() + tail + bytes(100), "<") is None


def test_log_in_a_dump_with_holes_is_read_in_part(vmcore: Path, tmp_path: Path) -> None:
    """The pages of a part of the log in the middle are compressed wrongly."""
    lines = str(identify(vmcore).dmesg).splitlines()
    text = lines[len(lines) // 2].split("] ", 1)[1].encode()
    pages = pages_of(vmcore)
    hit = next(frame for frame, page in pages.items() if text in page and b"Linux ver" not in page)
    info = "".join(f"{key}={value}\n" for key, value in identify(vmcore).vmcoreinfo.items())
    del pages[hit]
    dump = identified(tmp_path, Kdump(pages, info.encode(), release="6.1").build())
    (missing,) = dump.missing
    read, of, total, *rest = missing.what.split()
    assert (of, rest) == ("of", ["records", "of", "the", "kernel", "log", "could", "be", "read"])
    assert 0 < int(read) < int(total)
    assert set(str(dump.dmesg).splitlines()) < set(lines)
    assert dump.panic_message == identify(vmcore).panic_message
