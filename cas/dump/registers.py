"""The processors' registers at the crash, from the NT_PRSTATUS notes of a dump.

Source: include/linux/elfcore.h (struct elf_prstatus); per architecture the user's view of
``struct pt_regs`` in arch/*/include/uapi/asm/ptrace.h and, for x86, arch/x86/include/asm/user_*.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from cas.elf import Note
from cas.model.dump import Registers

NT_PRSTATUS = 1
PROCESSORS_LIMIT = 4096
"""Most processors whose registers are kept."""
_PID = {64: 32, 32: 24}
_REGISTERS = {64: 112, 32: 72}

_X86_64 = """r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss
fs_base gs_base ds es fs gs"""
_I686 = "ebx ecx edx esi edi ebp eax ds es fs gs orig_eax eip cs eflags esp ss"
_RISCV64 = """pc ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11
t3 t4 t5 t6"""
_PPC64_REST = "nip msr orig_gpr3 ctr link xer ccr softe trap dar dsisr result"


def _numbered_names(letter: str, count: int) -> str:
    return " ".join(f"{letter}{number}" for number in range(count))


_NAMES = {
    "x86_64": _X86_64,
    "i686": _I686,
    "aarch64": f"{_numbered_names('x', 31)} sp pc pstate",
    "arm": f"{_numbered_names('r', 11)} fp ip sp lr pc cpsr orig_r0",
    "ppc64": f"{_numbered_names('gpr', 32)} {_PPC64_REST}",
    "ppc64le": f"{_numbered_names('gpr', 32)} {_PPC64_REST}",
    "s390x": f"psw_mask psw_addr {_numbered_names('r', 16)}",
    "riscv64": _RISCV64,
    "loongarch64": f"{_numbered_names('r', 32)} orig_a0 csr_era csr_badv",
}
_SIZES = {
    ("<", 336): "x86_64",
    ("<", 392): "aarch64",
    ("<", 504): "ppc64le",
    ("<", 376): "riscv64",
    ("<", 480): "loongarch64",
    ("<", 144): "i686",
    ("<", 148): "arm",
    (">", 336): "s390x",
    (">", 504): "ppc64",
}


def arch_of(notes: Iterable[Note], order: str) -> str | None:
    """The architecture that the size of the register notes tells."""
    sizes = (len(note.desc) for note in notes if is_status(note))
    return next(filter(None, (_SIZES.get((order, size)) for size in sizes)), None)


def registers_of_notes(
    notes: Sequence[Note], arch: str, order: str, *, is_crash: bool = True
) -> tuple[Registers, ...]:
    """What each note says; a note that is cut short or all zeros says nothing.

    QEMU, which knows no tasks, writes the number of the processor, from 1 on, in place of the pid
    (target/*/arch_dump.c).

    :param is_crash: whether the kernel itself says that it crashed
    """
    if arch not in _NAMES:
        return ()
    names = _NAMES[arch].split()
    bits = 32 if arch in ("i686", "arm") else 64
    fields = struct.Struct(f"{order}{len(names)}{'I' if bits == 32 else 'Q'}")
    found: list[Registers] = []
    for cpu, note in enumerate(islice(filter(is_status, notes), PROCESSORS_LIMIT)):
        if len(note.desc) < _REGISTERS[bits] + fields.size:
            continue
        values = fields.unpack_from(note.desc, _REGISTERS[bits])
        (pid,) = struct.unpack_from(order + "i", note.desc, _PID[bits])
        if any(values):
            found.append(Registers(cpu, pid, dict(zip(names, values, strict=True))))
    is_counted = all(one.pid == one.cpu + 1 for one in found)
    is_qemu = len(found) > 1 or not is_crash or any(note.name == "QEMU" for note in notes)
    if is_counted and is_qemu:
        return tuple(replace(one, pid=None) for one in found)
    return tuple(found)


def is_status(note: Note) -> bool:
    """Whether a note has the registers of a processor."""
    return note.type == NT_PRSTATUS and note.name == "CORE"
