"""Modules of the deep trace that kernel modules name themselves.

A kernel module has a symbol ``cas_glide_module`` whose value is a string, or says it by
``MODULE_INFO(cas_glide_module, "name")``, which its file has, and not its memory. Only those are
looked at that did not come with the kernel: a table of symbols takes milliseconds to read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from drgn.helpers.linux.module import module_taints

from cas import elf
from cas.engines.drgn.child.glide.drawing import Unreadable
from cas.engines.drgn.child.target import LoadedKmod, Target
from cas.errors import NotADump

SYMBOL = "cas_glide_module"
BELIEVED = re.compile(r"[a-z0-9_]{1,64}")
"""What such a name may be: it becomes part of a file's name."""
_FOREIGN = frozenset("POE")
"""Taints of kernel modules that are proprietary, built elsewhere, or not signed."""
_INFO_BYTES = 1 << 20


def named_modules(target: Target) -> Iterator[tuple[str, str]]:
    """The kernel modules that name a module of the deep trace, each with that name."""
    for kmod in target.kmods:
        try:
            if not _FOREIGN & set(module_taints(kmod.object)):
                continue
            name = _by_symbol(target, kmod) or _by_info(target, kmod)
        except (*Unreadable, NotADump, OSError):
            continue
        if name is not None and BELIEVED.fullmatch(name):
            yield kmod.name, name


def _by_symbol(target: Target, kmod: LoadedKmod) -> str | None:
    symbol = target.own_symbol(kmod, SYMBOL)
    if symbol is None:
        return None
    raw: bytes = target.prog.read_c_string(symbol.address, max_size=65)
    return raw.decode("ascii", "replace")


def _by_info(target: Target, kmod: LoadedKmod) -> str | None:
    """By the section .modinfo of its file, where that was given and still has it."""
    file = target.debug_file(kmod.name)
    if file is None:
        return None

    def read(offset: int, size: int) -> bytes:
        return os.pread(file.descriptor, size, offset)

    section = elf.section_named(read, elf.header(read), ".modinfo")
    if section is None or section.type != elf.SHT_PROGBITS:
        return None
    for entry in read(section.offset, min(section.size, _INFO_BYTES)).split(b"\0"):
        key, _, value = entry.partition(b"=")
        if key == SYMBOL.encode():
            return value.decode("ascii", "replace")
    return None
