"""How far KASLR moved a kernel whose dump does not say so."""

from __future__ import annotations

from pathlib import Path

from cas import elf
from cas.errors import NotADump
from cas.model.dump import Dump

TEXT = "_stext"
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
        with elf.opened(vmlinux) as read:
            names, symbols = elf.symbols(read, elf.header(read))
            wanted = TEXT.encode() + b"\0"
            places, at = set[int](), names.find(wanted)
            while at >= 0:
                places.add(at)
                at = names.find(wanted, at + 1)
            linked = next((one.value for one in symbols if one.name in places), None)
    except (ValueError, NotADump):
        return ()
    return ("--kaslr", f"{told - linked:#x}") if linked is not None and told > linked else ()
