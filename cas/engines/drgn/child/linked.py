"""Code of a vmlinux as it was linked, for a kernel log: which of it did run, and from where.

The kernel writes to its code while it boots and runs, and memory is not there to compare. So only
those instructions count whose bytes the log shows, and only where nothing in the whole file leads
to one of them but the instruction before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from drgn import Architecture, Program

from cas import elf
from cas.engines.drgn.child.code import MAX_CODE_BYTES, Step, steps
from cas.engines.drgn.child.target import File
from cas.engines.drgn.child.variables import Site, Variables
from cas.engines.drgn.child.walk import Walk
from cas.errors import NotADump

_ALLOCATED = 2
"""SHF_ALLOC."""
_CHUNK_BYTES = 64 << 10
_OVERLAP = 8
_REACH = 1 << 31
_THUNK = "__x86_indirect_"


class Ran(NamedTuple):
    """Instructions that ran one after another."""

    steps: Sequence[Step]
    """The last one faulted."""
    targets: frozenset[int]
    """Addresses among them that may have been come to from elsewhere."""


class Shown(NamedTuple):
    """The code in the log."""

    code: bytes
    mark: int
    """Where in it the instruction begins that faulted."""


class WalkWithoutMemory(Walk):
    """Back over what ran: nothing can be compared with what it loaded."""

    _has_memory = False

    def __init__(self, variables: Variables, ran: Ran, site: Site) -> None:
        """See `Walk`."""
        super().__init__(variables, ran.steps, len(ran.steps) - 1, site, lambda *_: None)
        self._targets |= ran.targets


def ran_before(prog: Program, vmlinux: File, address: int, shown: Shown) -> Ran | None:
    """What ran up to an instruction; ``None``: nothing is sure.

    :param address: of the instruction that faulted, as it was linked
    """
    platform = prog.platform
    if platform is None or platform.arch != Architecture.X86_64:
        return None  # its jumps and tables alone are known here
    with suppress(LookupError, NotADump):
        symbol = prog.symbol(address)
        sections = [one for one in _allocated(vmlinux) if one.type == elf.SHT_PROGBITS]
        size = symbol.size
        home = next(each for each in sections if each.addr <= address < each.addr + each.size)
        if not 0 < size <= MAX_CODE_BYTES:
            return None
        code = os.pread(vmlinux.descriptor, size, home.offset + symbol.address - home.addr)
        function = list(steps(code, symbol.address, platform))
        at = next(n for n, step in enumerate(function) if step.address == address)
        if sum(step.size for step in function) != size or _goes_anywhere(prog, function):
            return None
        begin = symbol.address
        first = at + 1
        while first and _is_shown(function[first - 1], code, begin, shown, address):
            first -= 1
        ran = function[first : at + 1]
        if not ran:
            return None
        own = {step.shown.target for step in function if step.is_jump and step.shown.target}
        led_to = _referred(vmlinux, sections, ran[0].address, address)
        return Ran(ran, frozenset(own | led_to))
    return None


def _allocated(file: File) -> Sequence[elf.Section]:
    def read(offset: int, size: int) -> bytes:
        return os.pread(file.descriptor, size, offset)

    return [
        one for one in elf.sections(read, elf.header(read)) if one.flags & _ALLOCATED and one.addr
    ]


def _is_shown(step: Step, code: bytes, begin: int, shown: Shown, fault: int) -> bool:
    """Whether the log has an instruction with the bytes that were linked."""
    linked = code[step.address - begin :][: step.size]
    at = step.address - fault + shown.mark
    return at >= 0 and shown.code[at : at + step.size] == linked


def _goes_anywhere(prog: Program, function: Sequence[Step]) -> bool:
    """Whether a function jumps to where only its data say: into itself perhaps."""
    for step in function:
        if step.is_call or not step.is_jump:
            continue
        target = step.shown.target
        if step.register or step.memory:
            return True
        with suppress(LookupError):
            if target is not None and prog.symbol(target).name.startswith(_THUNK):
                return True
    return False


def _referred(file: File, sections: Sequence[elf.Section], low: int, high: int) -> set[int]:
    """Addresses from one to another that the file may lead to: by jumps from elsewhere, what takes
    the place of code, jump labels, tables of exceptions, pointers.

    Whatever could be such an address counts for one.
    """
    found = set[int]()
    for section in sections:
        for offset in range(0, section.size, _CHUNK_BYTES):
            size = min(_CHUNK_BYTES + _OVERLAP, section.size - offset)
            data = os.pread(file.descriptor, size, section.offset + offset)
            base = section.addr + offset
            least, most = max(low - 4 - base - size, -_REACH), min(high - base, _REACH - 1)
            for place, distance in _words(data, least, most, 4):
                # by its distance from where it stands, or from behind that, as jumps have it
                found.update((base + place + distance, base + place + distance + 4))
            found.update(word for _, word in _words(data, low, high, 8))
    return {each for each in found if low <= each <= high}


def _words(data: bytes, least: int, most: int, size: int) -> Iterator[tuple[int, int]]:
    """Numbers within limits, at whatever place: where, and which.

    All but two of their bytes are the same within 64 KiB: those are what is looked for.
    """
    for upper in range(least >> 16, (most >> 16) + 1):
        known = upper.to_bytes(size - 2, "little", signed=size == 4)
        at = data.find(known, 2)
        while at >= 0:
            number = int.from_bytes(data[at - 2 : at - 2 + size], "little", signed=size == 4)
            if least <= number <= most:
                yield at - 2, number
            at = data.find(known, at + 1)
