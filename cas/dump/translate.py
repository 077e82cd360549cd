"""Kernel virtual addresses to physical ones, with nothing but VMCOREINFO.

Each architecture has a rule for its linear mappings or a walk of its page tables; the sources are
the kernel's, by file, at the functions. A rule is here only where VMCOREINFO tells all it needs, or
memory proves what it does not tell.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress

from cas.dump.memory import Absent, Image, Memory
from cas.dump.page_table import (
    X86_IMAGE_BYTES,
    X86_KERNEL_MAP,
    PageTable,
    Span,
    arm64_entry,
    riscv_entry,
    x86_entry,
)
from cas.dump.vmcoreinfo import VmcoreInfo
from cas.frozen import dataclass

Translate = Callable[[int], Span]
"""Physical address of a virtual one, and how many bytes on from there are contiguous."""

_WHOLE = 1 << 64
_ARM64_IMAGE_BYTES = 1 << 27
_SPANS_LIMIT = 1 << 16
_I686_LOW_BYTES = 0x38000000
"""Most memory that is mapped where it lies (arch/x86/include/asm/pgtable_32_areas.h, MAXMEM)."""
_RISCV64_LEVELS = {39: 3, 48: 4, 57: 5}
_RISCV64_STEP = 2 << 20
_RISCV64_LOADED_BYTES = 64 << 30
"""Where the image is looked for: a kernel is loaded to where memory begins."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a translation starts from."""

    arch: str
    order: str
    page_size: int
    memory: Memory
    phys_base: int | None
    """phys_base of an x86_64 kernel, in bytes, as the dump's headers tell it."""
    info: VmcoreInfo


class Kernel:
    """The kernel's memory by virtual address."""

    def __init__(self, machine: Machine) -> None:
        """Choose the architecture's rule.

        :raises Absent: none for this architecture, or VMCOREINFO lacks what it needs
        """
        if machine.arch not in _RULES:
            raise Absent(f"no rule for virtual addresses of {machine.arch}")
        self._memory = machine.memory
        self._translate = _RULES[machine.arch](machine)
        self._mask = (1 << (32 if machine.arch in ("i686", "arm") else 64)) - 1
        self.long_bytes = 4 if machine.arch in ("i686", "arm") else 8
        self.order = machine.order
        self.info = machine.info

    def read(self, address: int, size: int) -> bytes:
        """All the bytes there.

        :raises Absent: not mapped, or not in the dump
        """
        parts: list[bytes] = []
        for _ in range(_SPANS_LIMIT):
            if size <= 0:
                return b"".join(parts)
            physical, rest = self._translate(address & self._mask)
            part = min(size, rest)
            parts.append(self._memory.read(physical, part))
            address, size = address + part, size - part
        raise Absent("memory too scattered to be read")

    def physical(self, address: int) -> int:
        """Physical address of a virtual one."""
        return self._translate(address & self._mask)[0]

    def long(self, address: int) -> int:
        """An ``unsigned long`` or a pointer."""
        return self.number_in("L", self.read(address, self.long_bytes))

    def unsigned(self, address: int) -> int:
        """An ``unsigned int``."""
        return self.number_in("I", self.read(address, 4))

    def number_in(self, kind: str, data: bytes, offset: int = 0) -> int:
        """One unsigned number of the kernel's byte order from bytes that were read.

        :param kind: ``H``, ``I``, ``Q`` as in `struct`, or ``L`` for the kernel's ``long``
        :raises Absent: the bytes end before it
        """
        code = ("I" if self.long_bytes == 4 else "Q") if kind == "L" else kind
        try:
            value: int = struct.unpack_from(self.order + code, data, offset)[0]
        except struct.error as error:
            raise Absent("a structure is cut short") from error
        return value


def kernel_order(image: Image, info: VmcoreInfo) -> str:
    """The byte order in which a kernel wrote its memory.

    QEMU writes big-endian headers for any ppc64 guest that it does not see run (target/ppc,
    ppc_interrupts_little_endian). A pointer of the kernel's has 0xc in its upper four bits.
    """
    address = info.symbol("prb") or info.symbol("log_buf")
    if image.arch not in ("ppc64", "ppc64le") or address is None:
        return image.order
    try:
        pointer = image.memory.read(address & (1 << 60) - 1, 8)
    except Absent:
        return image.order
    is_big, is_little = pointer[0] >> 4 == 0xC, pointer[7] >> 4 == 0xC
    if is_big == is_little:
        return image.order
    return ">" if is_big else "<"


def page_size_of(image: Image, info: VmcoreInfo) -> int | None:
    """Bytes of a page, by VMCOREINFO where what it says can be true."""
    size = info.decimal("PAGESIZE")
    return size if size in (4096, 8192, 16384, 32768, 65536) else image.page_size


def _x86_64(machine: Machine) -> Translate:
    """arch/x86/include/asm/page_64.h, __phys_addr_nodebug(); all else by the page tables."""
    phys_base = machine.info.number("phys_base")
    base = machine.phys_base if phys_base is None else phys_base
    if base is None:
        raise Absent("nothing tells phys_base")
    # The top table had three names: init_level4_pgt before Linux 4.13 (65ade2f872b4), and
    # swapper_pg_dir, an alias.
    names = ("init_top_pgt", "init_level4_pgt", "swapper_pg_dir")
    top = next(filter(None, map(machine.info.symbol, names)), None)
    if top is None:
        raise Absent("VMCOREINFO does not tell where the page tables are")
    encryption = machine.info.number("sme_mask") or 0
    levels = 5 if machine.info.number("pgtable_l5_enabled") else 4
    table = PageTable(
        memory=machine.memory,
        root=top - X86_KERNEL_MAP + base,
        shifts=tuple(12 + 9 * level for level in reversed(range(levels))),
        bits=9,
        top_bits=9,
        order="<",
        entry=lambda value, shift: x86_entry(value & ~encryption, shift),
    )

    def translate_x86_64(address: int) -> Span:
        if X86_KERNEL_MAP <= address < X86_KERNEL_MAP + X86_IMAGE_BYTES:
            offset = address - X86_KERNEL_MAP
            return offset + base, X86_IMAGE_BYTES - offset
        return table.walk_table(address)

    return translate_x86_64


def _aarch64(machine: Machine) -> Translate:
    """arch/arm64/include/asm/memory.h: the image by kimage_voffset, which may lie anywhere since
    Linux 4.6 (a7f8de168ace); all else by the page tables."""
    info = machine.info
    voffset, top = info.number("kimage_voffset"), info.symbol("swapper_pg_dir")
    if voffset is None or top is None:
        raise Absent("VMCOREINFO tells neither kimage_voffset nor the page tables")
    va_bits = info.number("VA_BITS")
    if va_bits is None or not 36 <= va_bits <= 52:
        raise Absent("VMCOREINFO does not tell VA_BITS")
    page_bits = machine.page_size.bit_length() - 1
    # A 64 KiB kernel built for 52 bits has the wide table even where the machine has 48 bits, since
    # Linux 5.4 (c812026c54cf); of others TCR_EL1 tells, since Linux 5.9 (bbdbc11804ff).
    size = info.number("TCR_EL1_T1SZ")
    if size is not None and page_bits != 16 and 12 <= size <= 28:
        va_bits = 64 - size
    shifts = tuple(reversed(range(page_bits, va_bits, page_bits - 3)))
    table = PageTable(
        memory=machine.memory,
        root=top - voffset & (1 << 64) - 1,
        shifts=shifts,
        bits=page_bits - 3,
        top_bits=va_bits - shifts[0],
        order=machine.order,
        # with 4 and 16 KiB pages both kinds of addresses have 52 bits, or neither, since
        # Linux 6.9 (352b0395b505)
        entry=lambda value, shift: arm64_entry(value, shift, page_bits, wide=va_bits == 52),
    )
    image = info.symbol("_stext") or top

    def translate_aarch64(address: int) -> Span:
        try:
            return table.walk_table(address)
        except Absent:
            # A cut dump may lack the tables; the image needs none.
            if abs(address - image) >= _ARM64_IMAGE_BYTES:
                raise
            return address - voffset & (1 << 64) - 1, machine.page_size

    return translate_aarch64


def _i686(machine: Machine) -> Translate:
    """arch/x86/include/asm/page_32.h: low memory is moved by PAGE_OFFSET, with and without PAE.

    All else is found by the page tables. The default split is at 3 GiB; the kernel's text tells the
    others (arch/x86/Kconfig, VMSPLIT_*).
    """
    top = machine.info.symbol("swapper_pg_dir")
    text = machine.info.symbol("_stext") or top
    if text is None:
        raise Absent("VMCOREINFO does not tell where the kernel's text is")
    splits = (0xC0000000, 0xB0000000, 0x80000000, 0x78000000, 0x40000000)
    split = next((split for split in splits if text >= split), 0)
    low_memory = _linear(split, _I686_LOW_BYTES)
    if top is None:
        return low_memory
    has_pae = "CONFIG_X86_PAE" in machine.info.lines
    table = PageTable(
        memory=machine.memory,
        root=top - split,
        shifts=(30, 21, 12) if has_pae else (22, 12),
        bits=9 if has_pae else 10,
        top_bits=2 if has_pae else 10,
        order="<",
        entry=x86_entry,
        entry_bytes=8 if has_pae else 4,
    )
    return _first_of(table.walk_table, low_memory)


def _ppc64(_: Machine) -> Translate:
    """arch/powerpc/include/asm/page.h, __pa(): the four upper bits are the region."""
    return _linear(0xC000000000000000, 1 << 60)


def _s390x(machine: Machine) -> Translate:
    """Identity; VMCOREINFO tells both mappings since Linux 6.10 (c98d2ecae08f).

    arch/s390/include/asm/page.h, __pa_nodebug(): the image lies above the identity mapping, as
    crash 8.0.5 (d0164e7e480a) has it.
    """
    base = machine.info.hexadecimal("IDENTITYBASE")
    virtual = machine.info.hexadecimal("KERNELOFFSET")
    physical = machine.info.hexadecimal("KERNELOFFPHYS")
    if base is None or physical is None or virtual is None:
        return _linear(0, _WHOLE)

    def translate_s390x(address: int) -> Span:
        if address >= virtual:
            return address - virtual + physical, 1 << 30
        return _linear(base, _WHOLE)(address)

    return translate_s390x


def _riscv64(machine: Machine) -> Translate:
    """arch/riscv/kernel/crash_core.c and include/asm/page.h: linear map below, image above.

    All else is found by the page tables.

    phys_ram_base is where memory begins since Linux 6.4 (3335068f8721); the image's own offset is
    what crash 8.0.4 (ff963b795b3f) goes by. Before Linux 6.2 (649d6b1019a2) nothing of it is told.
    """
    info = machine.info
    base, ram = info.number("PAGE_OFFSET"), info.number("phys_ram_base")
    link, image = info.number("KERNEL_LINK_ADDR"), info.number("va_kernel_pa_offset")
    if base is None or ram is None:
        return _riscv64_found(machine)
    end = info.number("MODULES_VADDR") or link or _WHOLE

    def by_rule(address: int) -> Span:
        if link is not None and image is not None and address >= link:
            return address - image, 1 << 30
        if not base <= address < end:
            raise Absent(f"address {address:#x} is not in the linear map")
        return address - base + ram, end - address

    top, va_bits = info.symbol("swapper_pg_dir"), info.number("VA_BITS")
    if top is None or va_bits not in _RISCV64_LEVELS:
        return by_rule
    table = _riscv64_tables(machine, by_rule(top)[0], _RISCV64_LEVELS[va_bits])
    return _first_of(by_rule, table.walk_table)


def _riscv64_tables(machine: Machine, root: int, levels: int) -> PageTable:
    shifts = tuple(12 + 9 * level for level in reversed(range(levels)))
    return PageTable(machine.memory, root, shifts, bits=9, top_bits=9, order="<", entry=riscv_entry)


def _riscv64_found(machine: Machine) -> Translate:
    """By the kernel's page tables, wherever they are: the image was moved by pieces of 2 MiB
    (``arch/riscv/mm/init.c``: setup_vm()), and they map themselves, and its text, so far from where
    it was linked.
    """
    top, text = machine.info.symbol("swapper_pg_dir"), machine.info.symbol("_stext")
    if top is None or text is None:
        raise Absent("VMCOREINFO tells neither PAGE_OFFSET nor where the page tables are")
    for root in range(top % _RISCV64_STEP, _RISCV64_LOADED_BYTES, _RISCV64_STEP):
        try:
            machine.memory.read(root, 8)
        except Absent:
            continue
        for levels in _RISCV64_LEVELS.values():
            table = _riscv64_tables(machine, root, levels)
            with suppress(Absent):
                places = [table.walk_table(address)[0] for address in (top, text)]
                if places == [root, root + text - top]:
                    return table.walk_table
    raise Absent("no page tables are where the kernel's image may be")


def _loongarch64(_: Machine) -> Translate:
    """arch/loongarch/include/asm/addrspace.h, TO_PHYS(): the direct map windows."""

    def translate_loongarch64(address: int) -> Span:
        if address >> 60 not in (8, 9):
            raise Absent(f"address {address:#x} is not in a direct map window")
        return address & (1 << 48) - 1, 1 << 30

    return translate_loongarch64


def _first_of(translate: Translate, otherwise: Translate) -> Translate:
    """Two ways, of which the second counts where the first does not lead anywhere."""

    def translate_either(address: int) -> Span:
        try:
            return translate(address)
        except Absent:
            return otherwise(address)

    return translate_either


def _linear(base: int, size: int) -> Translate:
    def translate_linear(address: int) -> Span:
        if not base <= address < base + size:
            raise Absent(f"address {address:#x} is not in the linear map")
        return address - base, base + size - address

    return translate_linear


_RULES: dict[str, Callable[[Machine], Translate]] = {
    "x86_64": _x86_64,
    "aarch64": _aarch64,
    "i686": _i686,
    "ppc64": _ppc64,
    "ppc64le": _ppc64,
    "s390x": _s390x,
    "riscv64": _riscv64,
    "loongarch64": _loongarch64,
}
