"""How far KASLR moved a kernel whose dump does not say so."""

from __future__ import annotations

import struct
from pathlib import Path

from cas import elf
from cas.errors import NotADump
from cas.model import Dump

TEXT = "_stext"
_SYMTAB = 2
_TABLE_BYTES = 256 << 20
"""What is read of symbols, or of their names; the largest vmlinux has 20 MB."""
_BY_CRASH = frozenset({"i686", "x86_64"})
"""Architectures for which crash is told, i686 since crash 7.1.8 (e4fbec3d4151); on others it finds
out by itself, or kernels stay."""


def crash_options(dump: Dump, vmlinux: Path) -> tuple[str, ...]:
    """The options that crash needs to find the kernel where it is; most dumps tell it themselves.

    32-bit x86 has no KERNELOFFSET in VMCOREINFO (arch/x86/kernel/machine_kexec_32.c).
    """
    if dump.arch not in _BY_CRASH or dump.kaslr_offset is not None:
        return ()
    try:
        told = int(dump.vmcoreinfo.get(f"SYMBOL({TEXT})", ""), 16)
        linked = _linked_address(vmlinux, TEXT)
    except (ValueError, NotADump):
        return ()
    return ("--kaslr", f"{told - linked:#x}") if linked is not None and told > linked else ()


def _linked_address(vmlinux: Path, name: str) -> int | None:
    """Where a symbol was linked.

    Source: System V ABI, chapter 4, "Symbol Table".

    :raises NotADump: it is no ELF file
    """
    with elf.opened(vmlinux) as read:
        header = elf.header(read)
        sections = elf.sections(read, header)
        table = next((one for one in sections if one.type == _SYMTAB), None)
        if table is None or not 0 < table.link < len(sections):
            return None
        strings = sections[table.link]
        names = read(strings.offset, min(strings.size, _TABLE_BYTES))
        wanted = name.encode() + b"\0"
        places, at = set[int](), names.find(wanted)
        while at >= 0:
            places.add(at)
            at = names.find(wanted, at + 1)
        row = struct.Struct(header.order + ("IBBHQQ" if header.bits == 64 else "IIIBBH"))
        data = read(table.offset, min(table.size, _TABLE_BYTES) // row.size * row.size)
        value = 4 if header.bits == 64 else 1
        return next((one[value] for one in row.iter_unpack(data) if one[0] in places), None)
