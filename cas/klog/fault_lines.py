"""What the kernel printed of the processor at a fault: registers, the code, the address.

Formats: ``show_regs()`` and ``show_opcodes()`` of x86, ``__show_regs()`` and
``dump_kernel_instr()`` of arm, arm64 and riscv, ``show_regs()`` of powerpc and s390, from Linux 2.6
to 7.x.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field

from cas.frozen import dataclass

_HEAD_LINES = 12
"""Behind the announcement, in which the address can stand."""
_ADDRESS = re.compile(
    r"(?:\baddress:?|\bat|access to|non-canonical address) (?:0x)?([0-9a-f]{8,16})(?![0-9a-f])"
)
"""Who announces what was accessed: ``arch/*/mm/fault.c``, ``arch/x86/kernel/traps.c``."""
_ANNOUNCES = re.compile(
    r"BUG: |.{0,12}[Uu]nable to handle |general protection fault|Unhandled fault"
    r"|Oops: general protection fault|KASAN: "
)
_NO_FAULT = re.compile(r"BUG: K(?:A|M|C)SAN|BUG: KFENCE|kernel BUG at")
_FETCH = re.compile(
    r"#PF: supervisor instruction fetch|.{0,40}tried to execute|.{0,60}[Ee]xecute from non-exec"
)
_STACK = re.compile(
    r".{0,80}stack is (?:0x)?([0-9a-f]{8,16})\.\.(?:0x)?([0-9a-f]{8,16})"
    r"|Task stack: {1,8}\[0x([0-9a-f]{8,16})\.\.0x([0-9a-f]{8,16})\]"
)
"""``arch/x86/kernel/traps.c``: handle_stack_overflow(); ``arch/arm64/kernel/traps.c``:
panic_bad_stack()."""
_END = re.compile(r" *(?:Call Trace|Call trace|Backtrace|---\[ end |Stack:|stack backtrace)")
_USER = re.compile(r" *(?:RIP: 00[23]3:|RIP: [0-9a-f]{4}:0x[0-7]|EIP: 0073:|RSP: 002b:)")


_KERNEL_PC = re.compile(r" *(?:RIP: 0010:|EIP: (?:0060:)?)")
_REPEATED = re.compile(r" *(?:RIP: 0010:|---\[ end trace|RIP  ?\[|RIP: \S{1,160} RSP: |EIP: )")
"""``arch/x86/kernel/process*.c`` and ``dumpstack.c`` print the program counter again at the end."""
_OTHERS = re.compile(r"general protection fault|BUG: |PANIC: |Oops: |double fault")


@dataclass(frozen=True, slots=True)
class Opcodes:
    """The bytes of the code around the program counter."""

    code: bytes
    mark: int
    """Where in them the instruction begins that was stopped."""


@dataclass(frozen=True, slots=True)
class FaultLines:
    """What the kernel printed of the processor at a fault."""

    arch: str | None = None
    """``uname -m`` spelling, as far as the registers' names tell: powerpc's byte order they do not;
    ``None``: no registers were printed."""
    registers: Mapping[str, int] = field(default_factory=dict)
    """By drgn's names."""
    opcodes: Opcodes | None = None
    address: int | None = None
    """That was accessed; ``None`` where no line says so."""
    is_fetch: bool = False
    """Code was to be fetched from there."""
    is_page: bool = False
    """Only the page of the address is told (s390x)."""
    stack: tuple[int, int] | None = None
    """Where the task's stack begins and ends, where the kernel printed that."""

    @property
    def pc(self) -> int | None:
        """The program counter, where it was printed as a number."""
        return self.registers.get(_PC[self.arch]) if self.arch else None


_PC: Mapping[str, str] = {
    "x86_64": "rip",
    "i686": "eip",
    "aarch64": "pc",
    "armv7l": "r15",
    "ppc64": "nip",
    "s390x": "pswa",
    "riscv64": "epc",
}
_MARKS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("x86_64", re.compile(r" *RIP: 0010:|RAX: [0-9a-f]{16} RBX: ")),
    ("i686", re.compile(r" *EIP: |EAX: [0-9a-f]{8} EBX: ")),
    ("armv7l", re.compile(r"pc : \[<[0-9a-f]{8}>\] {1,8}lr : |r10: [0-9a-f]{8}  r9 : ")),
    ("aarch64", re.compile(r"x29: [0-9a-f]{16} x28: |pc : .{1,200}|pstate: [0-9a-f]{8}")),
    ("ppc64", re.compile(r"NIP: {1,4}[0-9a-f]{16} |GPR00: ")),
    ("s390x", re.compile(r"Krnl PSW : ")),
    ("riscv64", re.compile(r"epc ?: [0-9a-f]{16} ra ?: ")),
)
_X86 = re.compile(r"\b(R[A-Z0-9]{2}): (?:[0-9a-f]{4}:)?(?:\[<)?([0-9a-f]{16})(?![0-9a-f])")
_X86_FLAGS = re.compile(r"EFLAGS: ([0-9a-f]{8})\b")
_I386 = re.compile(r"\b(E[A-Z]{2}): (?:[0-9a-f]{4}:)?(?:\[<)?([0-9a-f]{8})(?![0-9a-f])")
_ARM64 = re.compile(r"\b(x\d{1,2}|sp|pc|lr|pstate) ?: (?:\[<)?([0-9a-f]{8,16})(?![0-9a-f])")
_ARM = re.compile(r"\b(r\d{1,2}|sp|ip|fp|pc|lr) ?: (?:\[<)?([0-9a-f]{8})(?![0-9a-f])")
_PPC = re.compile(r"\b(NIP|LR|CTR|DAR): {1,4}([0-9a-f]{16})(?![0-9a-f])")
_RISCV = re.compile(
    r"\b(epc|ra|sp|gp|tp|t\d|s\d{1,2}|a\d|badaddr|cause) ?: ([0-9a-f]{16})(?![0-9a-f])"
)
_PSW = re.compile(r"Krnl PSW : [0-9a-f]{16} ([0-9a-f]{16})")
_GPRS = re.compile(r"(GPR(\d\d):|Krnl GPRS:|)((?: {1,12}[0-9a-f]{16}){1,8})$")
_FAILING = re.compile(r"Failing address: ([0-9a-f]{8,16})")
_ALIASES: Mapping[str, Mapping[str, str]] = {
    "aarch64": {"lr": "x30"},
    "armv7l": {"sp": "r13", "ip": "r12", "fp": "r11", "pc": "r15", "lr": "r14"},
}
_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "x86_64": _X86,
    "i686": _I386,
    "aarch64": _ARM64,
    "armv7l": _ARM,
    "ppc64": _PPC,
    "riscv64": _RISCV,
}


def fault_lines(texts: Iterable[str]) -> FaultLines:
    """Read the lines of one report, which begin with its announcement."""
    lines = list(texts)
    arch = next((name for text in lines for name, mark in _MARKS if mark.match(text)), None)
    block = _processor_lines(lines, arch) if arch else []
    registers: dict[str, int] = {}
    for name, value in _register_values(block, arch) if arch else ():
        if registers.setdefault(name, value) != value:
            registers = {}  # two processors printed theirs at once
            break
    told = None
    for text in lines[:_HEAD_LINES]:
        is_told = _ANNOUNCES.match(text) and not _NO_FAULT.match(text)
        if is_told and (found := _ADDRESS.search(text)):
            told = int(found[1], 16)
            break
    is_page = False
    if arch == "s390x":
        told = next((int(one[1], 16) for text in lines if (one := _FAILING.match(text))), None)
        is_page = told is not None
    stack = None
    if found := next(filter(None, map(_STACK.match, lines)), None):
        stack = int(found[1] or found[3], 16), int(found[2] or found[4], 16)
    return FaultLines(
        arch=arch,
        registers=registers,
        opcodes=_opcodes(block, arch) if arch else None,
        address=told,
        is_fetch=any(_FETCH.match(text) for text in lines[:_HEAD_LINES]),
        is_page=is_page,
        stack=stack,
    )


def _processor_lines(lines: list[str], arch: str) -> list[str]:
    """The lines about the processor: those of x86 up to where they are repeated.

    Where two processors print at once, what is whose cannot be told: then there are none.
    """
    if arch not in ("x86_64", "i686"):
        return lines
    first = next((n for n, text in enumerate(lines) if _KERNEL_PC.match(text)), None)
    if first is None:
        return lines
    last = len(lines)
    for number, text in enumerate(lines[first + 1 :], first + 1):
        if _REPEATED.match(text):
            last = number
            break
    block = lines[first:last]
    return [] if any(map(_OTHERS.match, block)) else block


def _register_values(lines: list[str], arch: str) -> Iterator[tuple[str, int]]:
    has_begun, last = False, None
    for text in lines:
        if has_begun and (_END.match(text) or _USER.match(text)):
            return
        if _USER.match(text):
            return
        for name, value in _registers_in_line(text, arch, last):
            has_begun, last = True, name
            yield name, value


def _registers_in_line(text: str, arch: str, last: str | None) -> Iterator[tuple[str, int]]:
    if arch in ("ppc64", "s390x") and (found := _GPRS.match(text)):
        # they are printed by the row
        if found[2]:
            first = int(found[2])
        elif found[1]:
            first = 0
        elif last and re.fullmatch(r"r\d{1,2}", last):
            first = int(last[1:]) + 1
        else:
            return
        values = found[3].split()[: max(0, 32 - first)]
        yield from ((f"r{number}", int(value, 16)) for number, value in enumerate(values, first))
        return
    if arch == "s390x":
        if psw := _PSW.match(text):
            yield "pswa", int(psw[1], 16)
        return
    aliases = _ALIASES.get(arch, {})
    for each in _PATTERNS[arch].finditer(text):
        name = each[1].lower()
        if arch == "x86_64" and re.fullmatch(r"r0\d", name):
            name = f"r{name[2]}"
        yield aliases.get(name, name), int(each[2], 16)
    if arch == "x86_64" and (flags := _X86_FLAGS.search(text)):
        yield "rflags", int(flags[1], 16)


_X86_CODE = re.compile(r"Code: ((?:[0-9a-f]{2} ){0,64})<([0-9a-f]{2})>((?: [0-9a-f]{2}){0,64})")
_WORDS = re.compile(r"Code: ((?:[0-9a-f]{8} ){0,16})\(([0-9a-f]{8})\)((?: [0-9a-f]{8}){0,16})")
_PARCELS = re.compile(r"Code: ((?:[0-9a-f]{4} ){0,32})\(([0-9a-f]{4})\)((?: [0-9a-f]{4}){0,32})")
_ONE_WORD = re.compile(r"(<?)([0-9a-f]{8})>?")


def _opcodes(lines: list[str], arch: str) -> Opcodes | None:
    """The report's first line of code, with the instruction that was stopped marked."""
    if arch == "ppc64":
        return _instruction_dump(lines)
    pattern = _X86_CODE if arch in ("x86_64", "i686") else _WORDS
    before = ""
    for text in lines:
        is_users, before = _USER.match(before), text
        if "Code: " not in text or is_users:
            continue
        found = pattern.search(text) or (_PARCELS.search(text) if arch == "riscv64" else None)
        if found:
            first, last = (b"".join(map(_little_endian, found[n].split())) for n in (1, 3))
            return Opcodes(first + _little_endian(found[2]) + last, len(first))
    return None


def _little_endian(word: str) -> bytes:
    """A word as it lies in the memory of a little-endian machine."""
    return bytes.fromhex(word)[::-1]


def _instruction_dump(lines: list[str]) -> Opcodes | None:
    """``show_instructions()`` of powerpc: words, as a big-endian machine has them."""
    code, mark = b"", None
    begun = False
    for text in lines:
        is_first = text.startswith(("Instruction dump:", "Code: "))
        begun = begun or is_first
        if not begun:
            continue
        words = (text.partition(":")[2] if is_first else text).split()
        if words and not all(map(_ONE_WORD.fullmatch, words)):
            break
        for word in words:
            if word.startswith("<"):
                mark = len(code)
            code += bytes.fromhex(word.strip("<>"))
    return Opcodes(code, mark) if mark is not None else None
