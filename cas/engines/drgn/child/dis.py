"""crash's ``dis`` for drgn, which has none: the kernel's code as it stands in the dump.

capstone reads the instructions of every architecture; the memory of the dump has them as they ran,
patched by ftrace and alternatives.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from drgn import Architecture, FaultError, Platform, PlatformFlags, Program
from drgn.commands import CommandError, argument, mutually_exclusive_group
from drgn.commands._crash.common import crash_command

LONGEST_BYTES = 15
"""An instruction of x86; all others are shorter."""
PAGE_BYTES = 4096
NAMEABLE = 1 << 31
"""Where code has whole addresses of the kernel as constants, they are greater."""
_S390X_BRANCH = re.compile(r"j|br(?:as|c)|larl|c\w*j")
_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]+")
_WHERE = re.compile(r"\(?\s*(.+?)\s*(?:\+\s*(0x[0-9a-fA-F]+|\d+)(?:/0x[0-9a-fA-F]+)?)?\s*\)?")


class Instruction(NamedTuple):
    """One instruction."""

    address: int
    text: str
    target: int | None
    """Where it branches to, or a constant of it that may be an address."""


class _Decoder(NamedTuple):
    arch: str
    mode: tuple[str, ...]


_DECODERS: Mapping[Architecture, _Decoder] = {
    Architecture.X86_64: _Decoder("X86", ("64",)),
    Architecture.I386: _Decoder("X86", ("32",)),
    Architecture.AARCH64: _Decoder("ARM64", ()),
    Architecture.ARM: _Decoder("ARM", ("ARM",)),
    Architecture.PPC64: _Decoder("PPC", ("64",)),
    Architecture.S390X: _Decoder("SYSZ", ()),
    Architecture.RISCV64: _Decoder("RISCV", ("RISCV64", "RISCVC")),
}
"""How capstone is set up, by the names of its constants."""


def opened(platform: Platform) -> tuple[Any, _Decoder]:
    """capstone, set up for an architecture.

    :raises CommandError: nothing here reads the architecture's code
    """
    try:
        import capstone
    except ImportError as error:
        raise CommandError("dis needs the Python package capstone: pip install capstone") from error
    decoder = _DECODERS.get(platform.arch)
    if decoder is None:
        raise CommandError(f"dis does not know the code of {platform.arch.name}")
    is_little = PlatformFlags.IS_LITTLE_ENDIAN in platform.flags
    mode = capstone.CS_MODE_LITTLE_ENDIAN if is_little else capstone.CS_MODE_BIG_ENDIAN
    for name in decoder.mode:
        mode |= getattr(capstone, f"CS_MODE_{name}")
    reader = capstone.Cs(getattr(capstone, f"CS_ARCH_{decoder.arch}"), mode)
    reader.detail = reader.skipdata = True
    if decoder.arch == "X86":
        reader.syntax = capstone.CS_OPT_SYNTAX_ATT
    return reader, decoder


def instructions(code: bytes, address: int, platform: Platform) -> Iterator[Instruction]:
    """The instructions of a piece of code; bytes that are none become ``.byte``.

    :raises CommandError: nothing here reads the architecture's code
    """
    reader, decoder = opened(platform)
    for one in reader.disasm(code, address):
        yield instruction_of(one, decoder, platform)


def instruction_of(one: Any, decoder: _Decoder, platform: Platform) -> Instruction:
    """An instruction of capstone's as it is shown."""
    import capstone

    text, target = f"{one.mnemonic:<7} {one.op_str}".rstrip(), None
    if one.id == 0:  # bytes that are no instruction
        return Instruction(one.address, text, None)
    kinds = (capstone.CS_GRP_JUMP, capstone.CS_GRP_CALL, capstone.CS_GRP_BRANCH_RELATIVE)
    is_branch = any(map(one.group, kinds))
    if decoder.arch == "SYSZ":  # has no groups, and its kernel is at low addresses
        is_branch = _S390X_BRANCH.match(one.mnemonic) is not None
    constants = [each.imm for each in one.operands if each.type == capstone.CS_OP_IMM]
    if constants and decoder.arch == "RISCV":  # has distances
        target = one.address + constants[-1] if is_branch else None
    elif constants:
        bits = 64 if PlatformFlags.IS_64_BIT in platform.flags else 32
        value = constants[-1] & ((1 << bits) - 1)
        target = value if is_branch or value >= NAMEABLE else None
    return Instruction(one.address, text, target)


@crash_command(
    name="dis",
    description="disassemble code",
    long_description="""
    Show the instructions of a function, or so many from an address on, as they stand in the dump.
    An address alone shows one instruction.
    """,
    arguments=(
        mutually_exclusive_group(
            argument(
                "-r",
                dest="reverse",
                action="store_true",
                help="from the beginning of the function up to the address",
            ),
            argument(
                "-f",
                dest="forward",
                action="store_true",
                help="from the address to the end of the function",
            ),
        ),
        argument("-l", dest="lines", action="store_true", help="show source files and lines"),
        mutually_exclusive_group(
            argument("-x", dest="base", action="store_const", const=16, help="offsets in hex"),
            argument("-d", dest="base", action="store_const", const=10, help="offsets in decimal"),
        ),
        argument("where", metavar="address|symbol", help="hexadecimal, SYMBOL or SYMBOL+OFFSET"),
        argument("count", nargs="?", type=int, help="number of instructions"),
    ),
)
def _crash_cmd_dis(prog: Program, name: str, args: argparse.Namespace, **_: Any) -> None:
    platform = prog.platform
    assert platform is not None  # noqa: S101  a dump that was opened has one
    found = _WHERE.fullmatch(args.where)
    place, offset = (found[1], found[2]) if found else (args.where, None)
    try:
        address, is_function = prog.symbol(place).address, offset is None
    except LookupError:
        if not _HEX.fullmatch(place):
            raise CommandError(f"symbol not found: {place}") from None
        address, is_function = int(place, 16), False
    address += int(offset or "0", 0)
    begin, end = address, address + LONGEST_BYTES
    with suppress(LookupError):
        function = prog.symbol(address)
        begin, end = function.address, function.address + (function.size or PAGE_BYTES)
    is_whole = args.reverse or args.forward or is_function
    limit = args.count if args.count is not None or is_whole else 1
    if args.reverse:
        end = address + 1  # what begins before is shown
        address = begin
    elif not is_whole or args.count is not None:
        end = address + LONGEST_BYTES * max(0, limit)
    base = args.base or prog.config.get("crash_radix", 10)
    last = ""
    for one in islice(_instructions_in_memory(prog, address, end, platform), limit):
        line = ""
        with suppress(LookupError):
            source = prog.source_location(one.address)[0] if args.lines else None
            line = f"{source.filename}: {source.line}" if source and source.filename else ""
        if line not in ("", last):
            print(line)
            last = line
        to = "" if one.target is None else _symbol_label(prog, one.target, base)
        print(
            f"{one.address:#x} {_symbol_label(prog, one.address, base)}:\t{one.text} {to}".rstrip()
        )


def _instructions_in_memory(
    prog: Program, begin: int, end: int, platform: Platform
) -> Iterator[Instruction]:
    """Those that begin in a stretch of memory, as far as the dump has it.

    :raises FaultError: it has not all of it
    """
    size, missing = end - begin + LONGEST_BYTES, None
    try:
        code = prog.read(begin, size)
    except FaultError as error:
        size, missing = min(size, -begin % PAGE_BYTES), error
        if not size:
            raise
        code = prog.read(begin, size)
    for one in instructions(code, begin, platform):
        if one.address >= end:
            return
        yield one
    if missing is not None:
        raise missing


def _symbol_label(prog: Program, address: int, base: int) -> str:
    try:
        symbol = prog.symbol(address)
    except LookupError:
        return ""
    offset = address - symbol.address
    beyond = f"+{offset:#x}" if base == 16 else f"+{offset}"
    return f"<{symbol.name}{beyond if offset else ''}>"
