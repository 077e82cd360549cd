"""Faults of the module that crashes in many ways, read as those of a dump in which it is loaded.

One such dump is shipped: its code runs into another fault where registers and stack are others.
"""

from __future__ import annotations

import lzma
import os
import re
import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from kernels.crashes.expected import FIXTURES, read_causes

from cas.choices import Weight
from cas.engines.drgn.child.fault import Wanted, read_fault
from cas.engines.drgn.child.target import File, Request, Target
from cas.engines.drgn.fault_answer import reading_of
from cas.findings import fault_case
from cas.model.dump import Dump
from cas.model.evidence import Evidence

from installed import needs

STACK, ORDER = 0xFFFFAADBC0200000, 0xFFFFAADBC0300000
"""Memory that the dump has nothing of."""
RDI = 14 * 8
"""In ``struct pt_regs``."""
WILD = int.from_bytes(b"ORDER #7", "little")
UNLOADED = 0xFFFFFFFFC005F000
POISON = 0xDEAD000000000100
USER = 0x7F0012345000
ENOENT = (1 << 64) - 2
REPORT = """{first}
Oops: 0000 [#1] SMP
CPU: 0 PID: 46 Comm: sh Tainted: G           O       6.1.192 #1
RIP: 0010:{rip}
Call Trace:
 vfs_write+0x18/0x2c
---[ end trace 0000000000000000 ]---
Kernel panic - not syncing: Fatal exception
"""
NULL = "BUG: kernel NULL pointer dereference, address: {:016x}"
PAGE = "BUG: unable to handle page fault for address: {:016x}"
GPF = "general protection fault, maybe for address {:#x}: 0000 [#1] SMP"


class Machine:
    """The dump, with other registers and other words in its memory."""

    def __init__(self, target: Target) -> None:
        self.target, self.prog = target, target.prog

    def address(self, place: str) -> int:
        name, _, offset = place.partition("+")
        return int(next(iter(self.prog.symbols(name))).address) + int(offset or "0", 16)

    def put(self, address: int, *words: int) -> None:
        data = struct.pack(f"<{len(words)}Q", *words)
        self.prog.add_memory_segment(
            address, len(data), lambda _, size, offset, __: data[offset : offset + size]
        )

    def called_from(self, *places: str) -> None:
        self.put(STACK, *map(self.address, places), *[0] * 8)

    def evidence(
        self, first: str, address: int | None, registers: Mapping[str, int], **at: Any
    ) -> list[Evidence]:
        """What is said of a fault: at a place, or nowhere."""
        logged = {"rsp": STACK, **registers}
        told: dict[str, Any] = {}
        wanted = {"place": None, "nowhere": None, **at}
        read_fault(self.target, Wanted(**wanted, address=address, registers=logged), told)
        place = at.get("place")
        rip = f"{place}/0x40 [cas_crashes]" if place else f"{at['nowhere']:#x}"
        log = REPORT.format(first=first.format(address), rip=rip)
        case = fault_case(Dump(Path("vmcore"), "KDUMP", 1, "x86_64", dmesg=log), None)
        assert case is not None
        fault = case.explained(reading_of(told, None))
        assert fault is not None
        return list(fault.evidence)


@pytest.fixture(scope="module")
def machine(
    vmlinux: Path, made: Callable[[str, Callable[[Path], object]], Path], tmp_path_factory: Any
) -> Machine:
    packed = FIXTURES / "use-after-free.kdump.xz"
    vmcore = made(
        "use-after-free.kdump", lambda path: path.write_bytes(lzma.decompress(packed.read_bytes()))
    )
    (package,) = FIXTURES.glob("*.rpm")
    debug = tmp_path_factory.mktemp("crashes") / "cas_crashes.ko.debug"
    with debug.open("wb") as file:
        run = [needs("bsdtar"), "-xOf", package, "*/cas_crashes.ko.debug"]
        subprocess.run(run, stdout=file, check=True)
    files = [File(str(path), os.open(path, os.O_RDONLY)) for path in (vmcore, vmlinux, debug)]
    return Machine(Target(Request(*files[:2], "x86_64", kmods={"cas_crashes": files[2]})))


def null(machine: Machine) -> list[Evidence]:
    return of_balance(machine, NULL, 0, "cas_null+0x11")


def user_address(machine: Machine) -> list[Evidence]:
    return of_balance(machine, PAGE, USER, "cas_user_address+0x1d")


def of_balance(machine: Machine, first: str, rdi: int, caller: str) -> list[Evidence]:
    """Where the dump's own fault was, with another pointer."""
    place = "cas_balance_of.isra.0+0x0"
    told = dict[str, Any]()
    read_fault(machine.target, Wanted(place, None, None, {}), told)
    machine.put(int(told["origin"].rpartition(" ")[2], 16) + RDI, rdi)
    machine.put(told["registers"]["rsp"], *map(machine.address, ("cas_sum_up.isra.0+0x5", caller)))
    return machine.evidence(first, rdi + 0x18, {}, place=place)


def poison(machine: Machine) -> list[Evidence]:
    machine.called_from("cas_poison+0x5")
    place = "cas_number_behind.isra.0+0x0"
    return machine.evidence(GPF, POISON + 0x10, {"rdi": POISON}, place=place)


def err_ptr(machine: Machine) -> list[Evidence]:
    machine.called_from("cas_err_ptr+0x5")
    place = "cas_close_account.constprop.0+0x5"
    return machine.evidence(NULL, 0x16, {"rax": ENOENT}, place=place)


def divide(machine: Machine) -> list[Evidence]:
    machine.called_from("cas_summarise+0x12")
    first = "divide error: 0000 [#1] SMP"
    return machine.evidence(first, None, {"rdi": 5, "rsi": 0}, place="cas_average+0x7")


def settled(machine: Machine, settle: int) -> dict[str, int]:
    """An order with a function to call."""
    machine.put(ORDER, ORDER, ORDER, 1, 0, settle)
    return {"rdi": ORDER, "rax": ORDER}


def jump_null(machine: Machine) -> list[Evidence]:
    machine.called_from("cas_settle_order+0x9", "cas_jump_null+0x12")
    return machine.evidence(NULL, 0, settled(machine, 0), nowhere=0)


def jump_wild(machine: Machine) -> list[Evidence]:
    """As a processor does it that goes there before it stops."""
    machine.called_from("cas_settle_order+0x9", "cas_jump_wild+0x12")
    return machine.evidence(GPF, WILD, settled(machine, WILD), nowhere=WILD)


def jump_unloaded(machine: Machine) -> list[Evidence]:
    machine.called_from("cas_call_hook.constprop.0+0xb", "cas_jump_unloaded+0x5")
    machine.put(machine.address("cas_hook"), UNLOADED)
    name = machine.prog["last_unloaded_module"]
    at = (name.name if hasattr(name, "name") else name).address_
    machine.put(at, int.from_bytes(b"cas_gone", "little"), 0)
    return machine.evidence(PAGE, UNLOADED, {}, nowhere=UNLOADED)


CRASHES = {
    each.__name__.replace("_", "-"): each
    for each in (
        *(null, user_address, poison, err_ptr, divide),
        *(jump_null, jump_wild, jump_unloaded),
    )
}


@pytest.mark.parametrize("name", CRASHES)
def test_a_fault_is_explained_as_its_whole_dump_is_judged(machine: Machine, name: str) -> None:
    (found,) = CRASHES[name](machine)
    (pattern,) = read_causes()[0][name]["evidence"]
    assert re.search(pattern, found.sentence), found.sentence
    assert found.weight is Weight.CAUSE


@pytest.mark.parametrize(
    ("settle", "what"),
    [(WILD, 'the text "ORDER #7"'), (0x6B6B6B6B6B6B6B6B, "the pattern of freed slab memory")],
)
def test_a_processor_that_does_not_go_to_no_address_is_told_the_same_of(
    machine: Machine, settle: int, what: str
) -> None:
    machine.called_from("cas_jump_wild+0x12")
    registers, place = settled(machine, settle), "cas_settle_order+0x6"
    (found,) = machine.evidence(GPF, ORDER + 0x20, registers, place=place)
    assert found.sentence.startswith(
        f"the function called through order->settle (int (*)(struct cas_order *)) is {what}"
    )
    assert found.weight is Weight.CAUSE
    # another fault there, as of the stack, has to do with the function's address nothing
    assert machine.evidence(PAGE, STACK - 8, registers, place=place) == []


@pytest.mark.parametrize(
    ("rdi", "first", "what"),
    [(0, NULL, "NULL: the access to 0x20 was to its member settle"), (POISON, GPF, "LIST_POISON1")],
)
def test_where_a_function_pointer_cannot_be_read_the_pointer_to_it_is_told(
    machine: Machine, rdi: int, first: str, what: str
) -> None:
    machine.called_from("cas_jump_wild+0x12")
    (found,) = machine.evidence(first, rdi + 0x20, {"rdi": rdi}, place="cas_settle_order+0x6")
    assert found.sentence.startswith(f"order (struct cas_order *, rdi) is {what}")
    assert found.weight is Weight.CAUSE
