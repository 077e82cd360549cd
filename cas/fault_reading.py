"""What is read of a fault before it is judged: from the dump by drgn, or from the kernel log.

drgn's process fills it in, :mod:`cas.findings.fault` makes sentences of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from cas.frozen import dataclass
from cas.model.code import Instruction


@dataclass(frozen=True, slots=True)
class Access:
    """The memory that the faulting instruction wanted, as its operand names it."""

    address: int
    base: str | None = None
    base_value: int = 0
    index: str | None = None
    index_value: int = 0
    scale: int = 1
    offset: int = 0
    """Bytes, signed."""
    size: int = 0
    """Bytes; 0: the disassembler does not say."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a register of the faulting instruction is in the source."""

    register: str
    value: int
    expression: str
    """E.g. ``entry->account``; its value is the register's."""
    type: str
    """E.g. ``struct cas_account *``."""
    is_variable: bool
    """Whether a variable of the frame is in that register; else it was loaded from one."""
    origin: str | None = None
    """How the register got it, e.g. ``movq 0x18(%rbx), %rax; rbx is struct cas_entry *entry``."""
    returned_by: str | None = None
    """The function that returned it."""
    shift: int = 0
    """Bytes by which the register differs from the expression: the register is greater."""
    structure: str | None = None
    """Type that the pointer points to, if that is a structure: ``struct cas_account``."""
    member: str | None = None
    """Of it, at the offset of the access: ``balance``, ``list.next``."""
    member_type: str | None = None
    holder: str | None = None
    """The structure that `expression` is a member of, e.g. ``struct cas_entry``."""
    holder_address: int | None = None


@dataclass(frozen=True, slots=True)
class Lookalike:
    """A live pointer that differs from the one used in one bit."""

    where: str
    """A register, or a place on the stack."""
    value: int
    what: str
    """What it points to, e.g. ``slab object kmalloc-64+0x0``."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of a fault."""

    origin: str
    """Where the registers are from, e.g. ``struct pt_regs at 0xffffaff9c00efdc8``."""
    registers: Mapping[str, int]
    """By drgn's names."""
    pc: int | None = None
    place: str | None = None
    """The program counter as ``function+0x18``."""
    kmod: str | None = None
    code: tuple[Instruction, ...] = ()
    is_from_memory: bool = False
    """Whether the code is the dump's, else the kernel log's."""
    is_cut: bool = False
    """Whether the instruction before the first shown may have been cut."""
    access: Access | None = None
    pointer: Pointer | None = None
    divisor: str | None = None
    """The register that was divided by."""
    target: int | None = None
    """Where the faulting instruction calls or jumps to by a register or memory, which was read."""
    caller: str | None = None
    """Where the call stands, as ``function+0x18``, that led to where no code is, or that is it."""
    call: str | None = None
    """The call itself, e.g. ``callq *0x18(%rax)``."""
    things: Mapping[str, str] = field(default_factory=dict)
    """What registers point to, e.g. ``rbx``: ``slab object kmalloc-64+0x0``."""
    stack: tuple[int, int] | None = None
    """Where the task's stack begins and ends."""
    is_end_overwritten: bool | None = None
    """Whether the mark at the end of the stack is no more; ``None``: it was not read."""
    user_mapping: str | None = None
    """What the task has at the address that was accessed; empty: nothing; ``None``: not known."""
    has_mm: bool | None = None
    """Whether the task has memory of a process: kernel threads have none."""
    is_kmods_area: bool = False
    """Whether the program counter, where no code is, lies where kernel modules are loaded."""
    last_unloaded: str | None = None
    lookalikes: tuple[Lookalike, ...] = ()
    problems: tuple[str, ...] = ()
