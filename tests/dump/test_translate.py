"""Virtual addresses to physical ones, by page tables built here."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from cas.dump.memory import Absent
from cas.dump.translate import Kernel, Machine
from cas.dump.vmcoreinfo import parse_vmcoreinfo

KERNEL_MAP = 0xFFFFFFFF80000000
TARGET = 0x5000000


@dataclass
class Tables:
    """Entries of page tables by physical address."""

    entries: dict[int, int] = field(default_factory=dict)
    entry_bytes: int = 8
    address_shift: int = 0
    """How many bits lower an address stands in an entry."""

    def read(self, address: int, size: int) -> bytes:
        if address not in self.entries:
            raise Absent(f"{address:#x} is not in the dump")
        return struct.pack("<Q", self.entries[address])[: self.entry_bytes][:size]

    def chunks(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        yield from ()

    def map(
        self, address: int, shifts: tuple[int, ...], bits: tuple[int, ...], kind: tuple[int, int]
    ) -> None:
        """Lead an address through tables at 0x10000, 0x20000 … to the page at TARGET."""
        for level, (shift, width) in enumerate(zip(shifts, bits, strict=True)):
            index = address >> shift & (1 << width) - 1
            at = 0x10000 * (level + 1) + self.entry_bytes * index
            is_last = level == len(shifts) - 1
            target = TARGET if is_last else 0x10000 * (level + 2)
            self.entries[at] = target >> self.address_shift | kind[is_last]


def kernel(arch: str, tables: Tables, lines: Mapping[str, str], page: int = 4096) -> Kernel:
    info = parse_vmcoreinfo("".join(f"{key}={value}\n" for key, value in lines.items()).encode())
    return Kernel(Machine(arch, "<", page, tables, None, info))


X86 = {"NUMBER(phys_base)": "0", "SYMBOL(init_top_pgt)": f"{KERNEL_MAP + 0x10000:x}"}


@pytest.mark.parametrize(
    ("shifts", "leaf", "offset"),
    [((39, 30, 21, 12), 0x63, 0x123), ((39, 30, 21), 0xE3, 0x12345), ((39, 30), 0xE3, 0x1234567)],
    ids=["page", "2-mib", "1-gib"],
)
def test_x86_64_pages_of_every_size(shifts: tuple[int, ...], leaf: int, offset: int) -> None:
    tables = Tables()
    address = 0xFFFF888100000000 + (offset if len(shifts) < 4 else 0x123)
    tables.map(address, shifts, (9,) * len(shifts), (0x63, leaf))
    expected = (TARGET & -(1 << shifts[-1])) + (address & (1 << shifts[-1]) - 1)
    assert kernel("x86_64", tables, X86).physical(address) == expected


def test_x86_64_with_five_levels() -> None:
    tables = Tables()
    tables.map(0xFF11000000000456, (48, 39, 30, 21, 12), (9,) * 5, (0x63, 0x63))
    lines = {**X86, "NUMBER(pgtable_l5_enabled)": "1"}
    assert kernel("x86_64", tables, lines).physical(0xFF11000000000456) == TARGET + 0x456


def test_x86_64_encryption_bit_is_taken_off() -> None:
    tables, mask = Tables(), 1 << 47
    tables.map(0xFFFF888000000456, (39, 30, 21, 12), (9,) * 4, (0x63 | mask, 0x63 | mask))
    lines = {**X86, "NUMBER(sme_mask)": str(mask)}
    assert kernel("x86_64", tables, lines).physical(0xFFFF888000000456) == TARGET + 0x456


def test_x86_64_image_moves_with_phys_base() -> None:
    lines = {**X86, "NUMBER(phys_base)": "-4194304"}
    image = kernel("x86_64", Tables(), lines)
    assert image.physical(KERNEL_MAP + 0x1000000) == 0x1000000 - 4194304


@pytest.mark.parametrize(
    ("page", "va_bits", "shifts", "bits"),
    [
        (4096, 48, (39, 30, 21, 12), (9, 9, 9, 9)),
        (4096, 39, (30, 21, 12), (9, 9, 9)),
        (4096, 48, (39, 30, 21), (9, 9, 9)),
        (16384, 47, (36, 25, 14), (11, 11, 11)),
        (16384, 48, (47, 36, 25, 14), (1, 11, 11, 11)),
        (65536, 48, (42, 29, 16), (6, 13, 13)),
        (65536, 52, (42, 29, 16), (10, 13, 13)),
    ],
)
def test_aarch64_of_every_page_size(
    page: int, va_bits: int, shifts: tuple[int, ...], bits: tuple[int, ...]
) -> None:
    address, tables = (1 << 64) - (1 << va_bits - 1) + 0x1234560, Tables()
    is_block = shifts[-1] > page.bit_length() - 1
    tables.map(address, shifts, bits, (3, 1 if is_block else 3))
    lines = {
        "NUMBER(kimage_voffset)": "0xffff800008000000",
        "SYMBOL(swapper_pg_dir)": "ffff800008010000",
        "NUMBER(VA_BITS)": str(va_bits),
        "NUMBER(TCR_EL1_T1SZ)": hex(64 - va_bits),
    }
    expected = (TARGET & -(1 << shifts[-1])) + (address & (1 << shifts[-1]) - 1)
    assert kernel("aarch64", tables, lines, page).physical(address) == expected


RISCV64_BASES = {39: 0xFFFFFFD600000000, 48: 0xFFFFAF8000000000, 57: 0xFF60000000000000}
RISCV64 = {
    "NUMBER(phys_ram_base)": "2147483648",
    "NUMBER(MODULES_VADDR)": "0xffffffff01e6c000",
    "NUMBER(KERNEL_LINK_ADDR)": "0xffffffff80000000",
    "NUMBER(va_kernel_pa_offset)": "0xffffffff80000000",
    "SYMBOL(swapper_pg_dir)": "ffffffff80010000",
}


@pytest.mark.parametrize(
    ("va_bits", "address", "shifts", "leaf"),
    [
        (39, 0xFFFFFFC801234567, (30, 21, 12), 0xCF),
        (48, 0xFFFF8F8001234567, (39, 30, 21, 12), 0xCF),
        (57, 0xFF20000001234567, (48, 39, 30, 21, 12), 0xCF),
        (57, 0xFF20000001234567, (48, 39, 30, 21), 0xC3),
        (57, 0xFFFFFFFF01F00567, (48, 39, 30, 21, 12), 0xC9),
    ],
    ids=["3-levels", "4-levels", "5-levels", "2-mib", "module"],
)
def test_riscv64_beyond_its_linear_map(
    va_bits: int, address: int, shifts: tuple[int, ...], leaf: int
) -> None:
    tables = Tables(address_shift=2)
    tables.map(address, shifts, (9,) * len(shifts), (1, leaf))
    base = RISCV64_BASES[va_bits]
    lines = {"NUMBER(VA_BITS)": str(va_bits), "NUMBER(PAGE_OFFSET)": hex(base)}
    machine = kernel("riscv64", tables, {**RISCV64, **lines})
    expected = (TARGET & -(1 << shifts[-1])) + (address & (1 << shifts[-1]) - 1)
    assert machine.physical(address) == expected
    assert machine.physical(base + 0x1234567) == 0x81234567
    assert machine.physical(0xFFFFFFFF80001234) == 0x1234


@pytest.mark.parametrize(
    ("shifts", "address"),
    [
        ((30, 21), 0xFFFFFFD801234567),
        ((39, 30, 21), 0xFFFFAF8001234567),
        ((48, 39, 30, 21), 0xFF60000001234567),
    ],
    ids=["3-levels", "4-levels", "5-levels"],
)
def test_riscv64_that_does_not_tell_its_maps_is_read_by_the_tables_that_map_themselves(
    shifts: tuple[int, ...], address: int
) -> None:
    image, loaded = 0xFFFFFFFF80000000, 0x80200000
    tables = Tables(address_shift=2)
    tables.map(image, shifts, (9,) * len(shifts), (1, 0xCF))
    leaf = max(tables.entries)
    tables.map(address, shifts, (9,) * len(shifts), (1, 0xCF))
    # the image begins where its first table is, whose page maps it
    tables.entries = {loaded + at: _moved(entry, loaded) for at, entry in tables.entries.items()}
    tables.entries |= {loaded + leaf: loaded >> 2 | 0xCF, loaded + 0x10000: 0}
    lines = {"SYMBOL(swapper_pg_dir)": f"{image + 0x10000:x}", "SYMBOL(_stext)": f"{image:x}"}
    machine = kernel("riscv64", tables, lines)
    assert machine.physical(image + 0x2345) == loaded + 0x2345
    assert machine.physical(address) == TARGET + (address & 0x1FFFFF)
    del tables.entries[loaded + leaf]
    with pytest.raises(Absent, match="no page tables are where"):
        kernel("riscv64", tables, lines)


def _moved(entry: int, distance: int) -> int:
    """An entry, of a table that lies elsewhere."""
    return entry if entry & 0xE else entry + (distance >> 2)


def test_riscv64_entries_of_64_kib_are_not_misread() -> None:
    tables, address = Tables(address_shift=2), 0xFF20000001234567
    tables.map(address, (48, 39, 30, 21, 12), (9,) * 5, (1, 1 << 63 | 0xCF))
    lines = {"NUMBER(VA_BITS)": "57", "NUMBER(PAGE_OFFSET)": hex(RISCV64_BASES[57])}
    with pytest.raises(Absent, match="does not read"):
        kernel("riscv64", tables, {**RISCV64, **lines}).physical(address)


@pytest.mark.parametrize(
    ("lines", "shifts", "bits", "leaf"),
    [
        ({}, (22, 12), (10, 10), 0x63),
        ({}, (22,), (10,), 0xE3),
        ({"CONFIG_X86_PAE": "y"}, (30, 21, 12), (2, 9, 9), 0x63),
        ({"CONFIG_X86_PAE": "y"}, (30, 21), (2, 9), 0xE3),
    ],
    ids=["page", "4-mib", "pae", "pae-2-mib"],
)
def test_i686_beyond_low_memory(
    lines: dict[str, str], shifts: tuple[int, ...], bits: tuple[int, ...], leaf: int
) -> None:
    tables, address = Tables(entry_bytes=8 if lines else 4), 0xF8123456
    tables.map(address, shifts, bits, (0x63 if len(bits) < 3 else 1, leaf))
    machine = kernel("i686", tables, {**lines, "SYMBOL(swapper_pg_dir)": "c0010000"})
    expected = (TARGET & -(1 << shifts[-1])) + (address & (1 << shifts[-1]) - 1)
    assert machine.physical(address) == expected
    assert machine.physical(0xC1234567) == 0x1234567  # its tables are not in the dump


@pytest.mark.parametrize(
    ("arch", "lines", "address", "physical"),
    [
        ("ppc64le", {}, 0xC000000001234567, 0x1234567),
        ("s390x", {}, 0x1234567, 0x1234567),
        ("i686", {"SYMBOL(_stext)": "c1000000"}, 0xC1234567, 0x1234567),
        ("i686", {"SYMBOL(_stext)": "81000000"}, 0x81234567, 0x1234567),
        ("loongarch64", {}, 0x9000000001234567, 0x1234567),
        (
            "riscv64",
            {"NUMBER(PAGE_OFFSET)": "0xff60000000000000", "NUMBER(phys_ram_base)": "2147483648"},
            0xFF60000001234567,
            0x81234567,
        ),
    ],
)
def test_linear_maps(arch: str, lines: dict[str, str], address: int, physical: int) -> None:
    assert kernel(arch, Tables(), lines).physical(address) == physical


def test_address_that_is_not_mapped_is_absent() -> None:
    tables = Tables({0x10000 + 8 * (0xFFFF888000000000 >> 39 & 511): 0})
    with pytest.raises(Absent, match="do not map"):
        kernel("x86_64", tables, X86).physical(0xFFFF888000000000)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "riscv64", "i686", "ia64"])
def test_vmcoreinfo_that_tells_too_little_is_absent(arch: str) -> None:
    with pytest.raises(Absent):
        kernel(arch, Tables(), {})
