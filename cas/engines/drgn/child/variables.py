"""Which variables of a frame are in which registers.

Only a DWARF location says so, which drgn does not show. So the frame is made again with another
value in the register: a variable that changes with it is there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from drgn import (
    Architecture,
    FaultError,
    Object,
    PlatformFlags,
    Program,
    StackFrame,
    StackTrace,
    TypeKind,
    cast,
)

from cas.engines.drgn.child.code import CONVENTIONS, Step
from cas.engines.drgn.child.member import member_at, name_of_type, structure_of

SENTINELS = (0x5CA1_AB1E_0BAD_F00D, 0x1DEA_C0DE_0DDB_A115)


_TRAMPOLINES = ("__x86_indirect_", "__SCT__", "__fentry__", "ftrace_", "__raw_callee_save_")
"""Functions that go on to another one, or keep all registers."""


class Site(NamedTuple):
    """The instruction that is explained, and the registers before it."""

    pc: int
    registers: Mapping[str, int]


class Known(NamedTuple):
    """What a register is in the source."""

    expression: str
    type: Any
    value: int | None
    is_variable: bool
    is_passed: bool = False
    """A caller passed it: `origin` says where."""
    origin: str | None = None
    returned_by: str | None = None
    shift: int = 0
    holder: str | None = None
    holder_address: int | None = None

    def as_pointer(self, register: str, offset: int | None = None, size: int = 0) -> dict[str, Any]:
        """What :class:`cas.fault_reading.Pointer` has.

        :param offset: of the access from the register's value, signed
        :param size: of the access; 0: not known
        """
        member = None
        if offset is not None:
            member = member_at(self.type, offset + self.shift, size)
        return {
            "register": register,
            "value": self.value or 0,
            "expression": self.expression,
            "type": "" if self.type.kind == TypeKind.VOID else name_of_type(self.type),
            "is_variable": self.is_variable,
            "origin": self.origin,
            "returned_by": self.returned_by,
            "shift": self.shift,
            "structure": structure_of(self.type),
            "member": member.path if member else None,
            "member_type": name_of_type(member.type) if member else None,
            "holder": self.holder,
            "holder_address": self.holder_address,
        }


class Variables:
    """What registers, addresses and calls are in the source."""

    def __init__(self, prog: Program) -> None:
        self._prog = prog
        assert prog.platform is not None  # noqa: S101  a dump that was opened has one
        self._platform = prog.platform
        self._arch = self._platform.arch
        self._bits = 64 if PlatformFlags.IS_64_BIT in self._platform.flags else 32
        self._rules = CONVENTIONS[self._arch]
        self._probes: dict[tuple[int, str, int], list[StackFrame]] = {}

    def held(self, name: str, pc: int, registers: Mapping[str, int]) -> Iterator[Known]:
        """Pointers and numbers that are in a register at an instruction, innermost frame first."""
        first, second = (self._probed(pc, registers, name, value) for value in SENTINELS)
        for frames in zip(first, second, strict=False):
            for local in frames[0].locals():
                shift = self._shift_by_sentinels(
                    [_number_in_register(frame, local) for frame in frames]
                )
                if shift is not None:
                    yield Known(
                        expression=local,
                        type=frames[0][local].type_,
                        value=registers.get(name),
                        is_variable=True,
                        shift=shift,
                    )

    def _shift_by_sentinels(self, found: list[_Number | None]) -> int | None:
        """How much greater a register is than a variable; ``None``: they are independent."""
        shifts = {
            (sentinel - one.value) & ((1 << one.bits) - 1)
            for one, sentinel in zip(found, SENTINELS, strict=True)
            if one is not None
        }
        if None in found or len(shifts) != 1:
            return None
        shift, (one, _) = shifts.pop(), found
        if one is not None and one.bits < self._bits:
            return 0 if shift == 0 else None  # of a part of the register
        return signed(shift, self._bits)

    def _probed(
        self, pc: int, registers: Mapping[str, int], name: str, value: int
    ) -> list[StackFrame]:
        """The frames of one instruction, with another value in a register."""
        key = (pc, name, value)
        if key not in self._probes:
            self._probes[key] = []
            regs = self._as_pt_regs({**registers, name: value, self._rules.pc: pc})
            if regs is not None:
                with contextlib.suppress(ValueError, LookupError, FaultError):
                    self._probes[key] = _same_code(self._prog.stack_trace(regs))
        return self._probes[key]

    def _as_pt_regs(self, registers: Mapping[str, int]) -> Object | None:
        """Registers as an exception saves them; ``None``: not known of this architecture."""
        try:
            kind = self._prog.type("struct pt_regs")
        except LookupError:
            return None
        places = _PT_REGS.get(self._arch)
        if places is None:
            return None
        raw = bytearray(kind.size)
        is_little = PlatformFlags.IS_LITTLE_ENDIAN in self._platform.flags
        width = self._bits // 8
        for name, value in registers.items():
            offset = places.get(name)
            if offset is not None and offset + width <= len(raw):
                word = value & ((1 << self._bits) - 1)
                raw[offset : offset + width] = word.to_bytes(
                    width, "little" if is_little else "big"
                )
        return Object.from_bytes_(self._prog, kind, bytes(raw))

    def caller(self, site: Site) -> Site | None:
        """Where a function was called, behind the call, with the registers that are known there."""
        regs = self._as_pt_regs({**site.registers, self._rules.pc: site.pc})
        if regs is None:
            return None
        try:
            trace = self._prog.stack_trace(regs)
            frame = trace[len(_same_code(trace))]
            if frame.interrupted:
                return None
            return Site(frame.pc, dict(frame.registers()))
        except (ValueError, LookupError, FaultError):
            return None

    def place(self, address: int) -> str | None:
        """``function+0x18``."""
        try:
            symbol = self._prog.symbol(address)
        except LookupError:
            return None
        return f"{symbol.name}+{address - symbol.address:#x}"

    def variable_at(self, address: int) -> tuple[Object, int] | None:
        """The global variable that an address is in, and how far."""
        try:
            symbol = self._prog.symbol(address)
            found = self._prog.variable(symbol.name)
        except LookupError:
            return None
        if found.address_ != symbol.address:
            return None
        return found, address - symbol.address

    def word(self, address: int) -> int | None:
        """What stands in memory; ``None``: the dump has nothing there."""
        try:
            return int(self._prog.read_word(address & ((1 << self._bits) - 1)))
        except FaultError:
            return None

    def is_scratch(self, name: str) -> bool:
        """Whether a call may change a register."""
        return name in self._rules.scratch

    def returned(self, step: Step, name: str) -> Known | None:
        """What a function that was called gave back, if that is in this register."""
        if name != self._rules.result or step.shown.target is None:
            return None
        try:
            called = self._prog.symbol(step.shown.target)
        except LookupError:
            return None
        if called.address != step.shown.target or called.name.startswith(_TRAMPOLINES):
            return None
        name = called.name.partition(".")[0]
        # nothing is known of it where another function has its name, or it is a clone
        kind = self._prog.void_type()
        with contextlib.suppress(LookupError):
            function = self._prog.function(name)
            if function.address_ == called.address:
                kind = function.type_.type
        return Known(f"{name}()", kind, None, is_variable=False, returned_by=name)


def _same_code(trace: StackTrace) -> list[StackFrame]:
    """The frames of the innermost function: what is inlined there, and itself."""
    frames: list[StackFrame] = []
    for frame in trace:
        frames.append(frame)
        if not frame.is_inline:
            break
    return frames


class _Number(NamedTuple):
    """A variable's value."""

    value: int
    bits: int


def _number_in_register(frame: StackFrame, name: str) -> _Number | None:
    """The value of a variable that is a pointer or a number in a register."""
    try:
        found = frame[name]
        if found.absent_ or found.address_ is not None:
            return None
        kind = found.type_
        while kind.kind == TypeKind.TYPEDEF:
            kind = kind.type
        if kind.kind not in (TypeKind.POINTER, TypeKind.INT, TypeKind.ENUM) or kind.size < 4:
            return None
        unsigned = cast("unsigned long", found) if kind.kind != TypeKind.POINTER else found
        return _Number(int(unsigned.value_()), 8 * kind.size)
    except (LookupError, ValueError, TypeError, AttributeError, FaultError, OverflowError):
        return None


def signed(value: int, bits: int) -> int:
    """A register's value as a number that may be negative."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


_X86_ORDER = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8"),
    *("rax", "rcx", "rdx", "rsi", "rdi", "orig", "rip", "cs", "rflags", "rsp", "ss"),
)
_PT_REGS: Mapping[Architecture, Mapping[str, int]] = {
    Architecture.X86_64: {name: 8 * number for number, name in enumerate(_X86_ORDER)},
    Architecture.AARCH64: {
        **{f"x{number}": 8 * number for number in range(31)},
        "sp": 248,
        "pc": 256,
        "pstate": 264,
    },
    Architecture.PPC64: {
        **{f"r{number}": 8 * number for number in range(32)},
        "nip": 256,
        "msr": 264,
        "ctr": 280,
        "lr": 288,
    },
    Architecture.S390X: {
        "pswm": 8,
        "pswa": 16,
        **{f"r{number}": 24 + 8 * number for number in range(16)},
    },
    Architecture.ARM: {f"r{number}": 4 * number for number in range(16)},
}
"""``struct pt_regs`` of ``arch/*/include/asm/ptrace.h``."""
