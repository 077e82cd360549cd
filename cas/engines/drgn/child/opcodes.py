"""The code that the kernel printed at a fault, taken apart without a dump."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from drgn import Platform, PlatformFlags

from cas.engines.drgn.child.code import CONVENTIONS, Step, accessed, steps
from cas.engines.drgn.child.linked import Shown, WalkWithoutMemory, ran_before
from cas.engines.drgn.child.locate import Locator, Place
from cas.engines.drgn.child.member import name_of_type, structure_of
from cas.engines.drgn.child.target import PLATFORMS
from cas.engines.drgn.child.variables import Site, Variables


class Logged(NamedTuple):
    """What the kernel log says of the code."""

    arch: str
    code: str
    """In hex, as it lay in memory."""
    mark: int
    """Where in it the instruction begins that faulted."""
    place: str | None
    """Where that instruction stands: ``function+0x18``."""
    address: int | None
    """The address that was accessed."""
    registers: Mapping[str, int]


def read_opcodes(logged: Logged, reading: dict[str, Any]) -> None:
    """Fill in what :class:`cas.fault_reading.Reading` has, as far as there is no dump for it."""
    platform = Platform(*PLATFORMS[logged.arch])
    pc = logged.registers.get(CONVENTIONS[platform.arch].pc)
    code = bytes.fromhex(logged.code)
    begin = 0 if pc is None else pc - logged.mark
    before, fault, after = _around(code, logged.mark, begin, platform)
    name, _, offset = (logged.place or "").partition("+")
    shown = reading["code"] = []
    for step in (*before, *fault, *after):
        distance = step.address - begin - logged.mark
        # so far behind the one that faulted, in the same function
        at = int(offset, 16) + distance if offset else -1
        instruction = {
            "address": None if pc is None else step.address,
            "place": f"{name}+{at:#x}" if at >= 0 else "",
            "text": step.shown.text,
            "is_fault": distance == 0,
        }
        shown.append(instruction)
    if not fault:
        return
    reading["divisor"] = fault[0].divisor
    bits = 64 if PlatformFlags.IS_64_BIT in platform.flags else 32
    if found := accessed(fault[0], logged.registers, logged.address, bits):
        memory, address = found
        reading["access"] = {
            "address": address,
            "base": memory.base,
            "base_value": logged.registers[memory.base] if memory.base else 0,
            "index": memory.index,
            "index_value": logged.registers[memory.index] if memory.index else 0,
            "scale": memory.scale,
            "offset": memory.offset,
            "size": memory.size,
        }


def read_pointer(locator: Locator, place: Place, logged: Logged, reading: dict[str, Any]) -> None:
    """Fill in which variable the register is that the access went through, or of which one it is a
    member.

    That is what the debug information says of a register at that instruction, or before it, where
    what filled the register then is sure; memory is not there.
    """
    access: Mapping[str, Any] = reading.get("access") or {}
    name, address = access.get("base"), locator.address_of(place)
    if not name or address is None:
        return
    variables = Variables(locator.prog)
    for known in variables.held(name, address, logged.registers):
        if structure_of(known.type):
            offset = None if access["index"] else access["offset"]
            reading["pointer"] = known.as_pointer(name, offset, access["size"])
            return
    if place.kmod is not None:
        return  # its debug file has no code
    shown = Shown(bytes.fromhex(logged.code), logged.mark)
    ran = ran_before(locator.prog, locator.vmlinux, address, shown)
    if ran is None:
        return
    walk = WalkWithoutMemory(variables, ran, Site(address, logged.registers))
    loaded = walk.resolved(name, walk.at)
    if loaded is not None and loaded.origin and name_of_type(loaded.type).endswith("*"):
        offset = None if access["index"] else access["offset"]
        # there is no memory to show at an address
        pointer = loaded._replace(holder_address=None).as_pointer(name, offset, access["size"])
        reading["pointer"] = pointer


def _around(
    code: bytes, mark: int, begin: int, platform: Platform
) -> tuple[list[Step], list[Step], list[Step]]:
    """What stands before the fault, the instruction, and what follows.

    The first bytes may be the end of an instruction: of x86 it is tried from where on the rest
    comes out at the mark.
    """
    behind = list(steps(code[mark:], begin + mark, platform))
    fault = [step for step in behind[:1] if step.address == begin + mark]
    for first in range(min(mark, 16)):
        before = list(steps(code[first:mark], begin + first, platform))
        size = sum(step.size for step in before)
        if size == mark - first:
            return before, fault, behind[len(fault) :]
    return [], fault, behind[len(fault) :]
