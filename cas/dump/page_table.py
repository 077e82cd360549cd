"""Walking page tables in physical memory."""

from __future__ import annotations

import struct
from collections.abc import Callable

from cas.dump.memory import Absent, Memory
from cas.frozen import dataclass

Span = tuple[int, int]
"""A physical address, and how many bytes on from there are contiguous."""

Entry = Callable[[int, int], tuple[int, bool]]
"""From a table's entry and the level's shift: the address in it, and whether it is a page's.

:raises Absent: nothing is mapped
"""

X86_KERNEL_MAP = 0xFFFFFFFF80000000
X86_IMAGE_BYTES = 1 << 30
"""The kernel's image has at most so much of the map (arch/x86/include/asm/page_64_types.h)."""
_X86_ADDRESS = 0x000FFFFFFFFFF000
_ARM64_ADDRESS = 0x0000FFFFFFFFF000


@dataclass(frozen=True, slots=True)
class PageTable:
    """A kernel's page tables."""

    memory: Memory
    root: int
    """Physical address of the top table."""
    shifts: tuple[int, ...]
    """Lowest bit of the address that indexes each level, top first."""
    bits: int
    """How many bits index a table below the top."""
    top_bits: int
    order: str
    entry: Entry
    entry_bytes: int = 8

    def walk_table(self, address: int) -> Span:
        """Where a virtual address lies.

        :raises Absent: not mapped, or the tables are not in the dump
        """
        table, bits = self.root, self.top_bits
        for shift in self.shifts:
            at = table + self.entry_bytes * (address >> shift & (1 << bits) - 1)
            data = self.memory.read(at, self.entry_bytes)
            (value,) = struct.unpack(self.order + ("Q" if self.entry_bytes == 8 else "I"), data)
            table, is_page = self.entry(value, shift)
            if is_page:
                offset = address & (1 << shift) - 1
                return (table & -(1 << shift)) + offset, (1 << shift) - offset
            bits = self.bits
        raise Absent(f"address {address:#x} is not mapped")


def x86_entry(value: int, shift: int) -> tuple[int, bool]:
    """arch/x86/include/asm/pgtable_types.h: present is bit 0, a large page bit 7."""
    if not value & 1:
        raise Absent("the page tables do not map it")
    return value & _X86_ADDRESS, shift == 12 or (shift < 39 and bool(value & 0x80))


def riscv_entry(value: int, shift: int) -> tuple[int, bool]:
    """arch/riscv/include/asm/pgtable-64.h: valid is bit 0, a page's rights are bits 1 to 3."""
    is_page = bool(value & 0xE)
    if not value & 1 or (shift == 12 and not is_page):
        raise Absent("the page tables do not map it")
    if value >> 63:  # Svnapot: one entry for 64 KiB
        raise Absent("the page tables map it in a way that CAS does not read")
    return (value >> 10 & (1 << 44) - 1) << 12, is_page


def arm64_entry(value: int, shift: int, page_bits: int, *, wide: bool) -> tuple[int, bool]:
    """arch/arm64/include/asm/pgtable-hwdef.h: 3 is a table, or a page at the last level; 1 a block.

    :param wide: 52-bit addresses, whose upper bits stand in otherwise unused lower ones
    """
    kind = value & 3
    is_last = shift == page_bits
    if kind not in (1, 3) or (is_last and kind == 1):
        raise Absent("the page tables do not map it")
    address = value & _ARM64_ADDRESS & -(1 << page_bits)
    if page_bits == 16:
        address |= (value & 0xF000) << 36
    elif wide:
        address |= (value & 0x3000000000000) | (value & 0x300) << 42
    return address, is_last or kind == 1
