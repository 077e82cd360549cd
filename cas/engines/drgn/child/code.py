"""The code around a fault, taken apart: which registers an instruction reads, writes and goes
through; pure but for capstone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import capstone
from drgn import Architecture, Platform

from cas.engines.drgn.child.dis import Instruction as Decoded
from cas.engines.drgn.child.dis import instruction_of, opened
from cas.frozen import dataclass

MAX_CODE_BYTES = 32 << 10
"""The code of one function: all its jumps must be known before it is said where a value is from."""
PAGE_BYTES = 4096
CARRY_BYTES = 64
"""The largest access."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory operand."""

    base: str | None
    index: str | None
    scale: int
    offset: int
    size: int
    is_segment: bool
    """A segment register moves it: it is a per-CPU variable."""


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction, and what it does to registers."""

    address: int
    size: int
    shown: Decoded
    memory: tuple[Memory, ...]
    writes: frozenset[str]
    destination: str | None
    """The register that `source`, `memory` or `source` and `addend` fill, if it does only that."""
    source: str | None
    addend: int
    is_load: bool
    is_call: bool
    is_jump: bool
    """Including calls that end the function, and returns."""
    falls_through: bool
    register: str | None
    """The register that a call or a jump goes to."""
    divisor: str | None


@dataclass(frozen=True, slots=True)
class Convention:
    """How functions call one another."""

    scratch: frozenset[str]
    """Registers that a call may change."""
    result: str
    pc: str
    sp: str
    link: str | None
    """The register of the return address; ``None``: it is pushed."""


def _register_names(letter: str, *ranges: range) -> frozenset[str]:
    return frozenset(f"{letter}{number}" for each in ranges for number in each)


CONVENTIONS: Mapping[Architecture, Convention] = {
    Architecture.X86_64: Convention(
        frozenset({"rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"}),
        "rax",
        "rip",
        "rsp",
        None,
    ),
    Architecture.I386: Convention(frozenset({"eax", "ecx", "edx"}), "eax", "eip", "esp", None),
    Architecture.AARCH64: Convention(
        _register_names("x", range(19)) | {"x30"}, "x0", "pc", "sp", "x30"
    ),
    Architecture.ARM: Convention(
        frozenset({"r0", "r1", "r2", "r3", "r12", "r14"}), "r0", "r15", "r13", "r14"
    ),
    Architecture.PPC64: Convention(_register_names("r", range(14)), "r3", "nip", "r1", "lr"),
    Architecture.S390X: Convention(_register_names("r", range(6)), "r2", "pswa", "r15", "r14"),
    Architecture.RISCV64: Convention(
        _register_names("t", range(7)) | _register_names("a", range(8)) | {"ra"},
        "a0",
        "epc",
        "sp",
        "ra",
    ),
}
_X86_PARTS = re.compile(r"[er]?([abcd])(?:x|h|l)|[er]?(si|di|bp|sp)l?|(r\d{1,2})[dwb]?")
_THUNK = re.compile(r"__x86_indirect_(?:call_|jump_)?thunk_(r\w{1,2})")
_SEGMENTS = ("fs", "gs")
_FLAGS = frozenset({"rflags", "eflags"})
_COMPRESSED = frozenset({"c.ld", "c.lw", "c.sd", "c.sw"})
"""Instructions of riscv whose memory operands capstone takes for three."""
_LOADS = frozenset({"mov", "movq", "movl", "movabs", "ldr", "ldur", "ldar", "ldapr"})
"""Instructions that fill a register with what is in memory, and do nothing else."""


def whole_register(name: str, arch: Architecture) -> str:
    """The register as drgn calls it of which a part is named: ``rax`` of ``eax``."""
    if arch in (Architecture.X86_64, Architecture.I386):
        found = _X86_PARTS.fullmatch(name)
        letter = "r" if arch == Architecture.X86_64 else "e"
        if not found:
            return name
        return found[3] or (f"{letter}{found[1]}x" if found[1] else f"{letter}{found[2]}")
    if arch == Architecture.AARCH64:
        name = {"fp": "x29", "lr": "x30"}.get(name, name)
        return f"x{name[1:]}" if re.fullmatch(r"w\d{1,2}", name) else name
    if arch == Architecture.ARM:
        aliases = {"sb": "r9", "sl": "r10", "fp": "r11", "ip": "r12"}
        return {**aliases, "sp": "r13", "lr": "r14", "pc": "r15"}.get(name, name)
    if arch in (Architecture.PPC64, Architecture.S390X) and name.isdigit():
        return f"r{name}"
    return name


def steps(code: bytes, address: int, platform: Platform) -> Iterator[Step]:
    """Instructions with what they do; bytes that are none are left out.

    :raises CommandError: nothing here reads the architecture's code
    """
    reader, decoder = opened(platform)
    for one in reader.disasm(code, address):
        if one.id:
            yield _Reading(one, platform).step(instruction_of(one, decoder, platform))


class _Reading:
    """One instruction of capstone's while it is looked at."""

    def __init__(self, one: Any, platform: Platform) -> None:
        self._one, self._arch = one, platform.arch
        self._operands = list(one.operands)
        self._is_x86 = platform.arch in (Architecture.X86_64, Architecture.I386)

    def step(self, shown: Decoded) -> Step:
        one = self._one
        is_call = one.group(capstone.CS_GRP_CALL) or one.mnemonic in ("bl", "blr", "blx", "brasl")
        is_return = one.group(capstone.CS_GRP_RET) or one.mnemonic == "ret"
        is_jump = one.group(capstone.CS_GRP_JUMP) and not is_call
        is_always = is_return or one.mnemonic in ("jmp", "b", "br", "ud2", "j", "jr")
        memory = tuple(self._memory_operands())
        destination, source, addend, is_load = self._moves(memory)
        last = self._register_operand(self._operands[-1]) if self._operands else None
        is_division = one.mnemonic.rstrip("bwlq") in ("div", "idiv") and len(self._operands) == 1
        return Step(
            address=one.address,
            size=one.size,
            shown=shown,
            memory=memory,
            writes=self._writes(),
            destination=destination,
            source=source,
            addend=addend,
            is_load=is_load,
            is_call=is_call,
            is_jump=is_jump or is_return,
            falls_through=not is_always,
            register=last if is_call or is_jump else None,
            divisor=last if is_division else None,
        )

    def _whole_register_name(self, number: int) -> str | None:
        name = self._one.reg_name(number) if number else None
        return whole_register(name, self._arch) if name else None

    def _memory_operands(self) -> Iterator[Memory]:
        if self._one.mnemonic in _COMPRESSED and len(self._operands) == 3:
            _, offset, base = self._operands
            yield Memory(
                self._whole_register_name(base.reg), None, 1, offset.imm, 0, is_segment=False
            )
        for operand in self._operands:
            if operand.type != capstone.CS_OP_MEM:
                continue
            memory = operand.mem
            segment = self._one.reg_name(memory.segment) if self._is_x86 else None
            base = self._whole_register_name(memory.base)
            offset = memory.disp
            if base in ("rip", "eip"):
                base, offset = None, self._one.address + self._one.size + offset
            index = self._whole_register_name(memory.index) if hasattr(memory, "index") else None
            if self._arch in (Architecture.AARCH64, Architecture.ARM) and (
                operand.shift.value
                or getattr(operand, "ext", 0)
                or getattr(operand, "subtracted", 0)
            ):
                continue  # nothing here computes an index that is shifted, extended or taken off
            if self._arch == Architecture.S390X and base == "r0":
                base = None  # means none there
            yield Memory(
                base,
                None if index == "r0" and self._arch == Architecture.S390X else index,
                getattr(memory, "scale", 1) or 1,
                offset,
                operand.size
                if self._is_x86
                else _accessed_bytes(self._one.mnemonic, self._one.op_str),
                segment in _SEGMENTS,
            )

    def _writes(self) -> frozenset[str]:
        try:
            _, written = self._one.regs_access()
        except capstone.CsError:  # not of every architecture
            return frozenset(filter(None, map(self._register_operand, self._operands[:1])))
        return frozenset(filter(None, map(self._whole_register_name, written))) - _FLAGS

    def _register_operand(self, operand: Any) -> str | None:
        return (
            self._whole_register_name(operand.reg) if operand.type == capstone.CS_OP_REG else None
        )

    def _moves(self, memory: Sequence[Memory]) -> tuple[str | None, str | None, int, bool]:
        """The register that is filled, from which one, plus what; whether from memory."""
        if len(self._operands) not in (2, 3):
            return None, None, 0, False
        # AT&T's order: what is filled comes last
        to, *rest = self._operands[::-1] if self._is_x86 else self._operands
        filled = self._register_operand(to)
        if filled is None or self._writes() - {filled}:
            return None, None, 0, False
        if len(rest) == 1 and memory:
            return self._from_memory(filled, memory[0])
        word, source = self._one.mnemonic, self._register_operand(rest[0])
        if word in ("mov", "movq") and len(rest) == 1:
            return filled, source, 0, False
        if word == "add" and len(rest) == 2 and rest[1].type == capstone.CS_OP_IMM:
            return filled, source, rest[1].imm, False
        return None, None, 0, False

    def _from_memory(self, filled: str, memory: Memory) -> tuple[str | None, str | None, int, bool]:
        word = self._one.mnemonic
        if word in _LOADS:
            return filled, None, 0, True
        if word in ("lea", "leaq") and memory.base and not memory.index:
            return filled, memory.base, memory.offset, False
        return None, None, 0, False


def thunk_register(symbol: str) -> str | None:
    """The register that a retpoline jumps to."""
    found = _THUNK.fullmatch(symbol)
    return found[1] if found else None


_SIZES = {"b": 1, "h": 2, "sb": 1, "sh": 2, "sw": 4}


def _accessed_bytes(mnemonic: str, operands: str) -> int:
    """Bytes that an instruction of arm64 accesses."""
    found = re.fullmatch(r"(?:ld|st)u?[ax]?p?u?r?(b|h|sb|sh|sw)", mnemonic)
    if found:
        return _SIZES[found[1]]
    return {"w": 4, "x": 8}.get(operands[:1], 0)


def address_of(memory: Memory, registers: Mapping[str, int], bits: int) -> int | None:
    """The address that an operand means; ``None``: a register of it is not known."""
    if memory.is_segment:
        return None
    names = [name for name in (memory.base, memory.index) if name]
    if not all(name in registers for name in names):
        return None
    base = registers[memory.base] if memory.base else 0
    index = registers[memory.index] * memory.scale if memory.index else 0
    return (base + index + memory.offset) & ((1 << bits) - 1)


def accessed(
    step: Step, registers: Mapping[str, int], told: int | None, bits: int
) -> tuple[Memory, int] | None:
    """The operand that faulted, and its address.

    :param told: the address that the kernel says; without it the one operand counts whose address
        is none
    """
    found = [(each, address_of(each, registers, bits)) for each in step.memory]
    known = [(memory, address) for memory, address in found if address is not None]
    if told is not None:
        near = [one for one in known if one[1] == told]
        if not near and told % PAGE_BYTES == 0:  # the first page was there, the next was not
            near = [one for one in known if 0 < told - one[1] < CARRY_BYTES]
        return near[0] if len({one[1] for one in near}) == 1 else None
    wrong = [one for one in known if bits == 64 and not is_canonical(one[1])]
    return wrong[0] if len({one[1] for one in wrong}) == 1 else None


def is_canonical(address: int) -> bool:
    """Whether the upper 16 bits of an address of x86_64 are equal to the highest of the rest."""
    return address >> 47 in (0, (1 << 17) - 1)
