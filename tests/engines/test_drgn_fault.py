"""A fault read from the shipped dumps, and from the code that a kernel log shows."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from drgn.helpers.common.memory import identify_address

from cas.engines.drgn.child import fault as drgn_fault
from cas.engines.drgn.child.fault import Wanted
from cas.engines.drgn.child.target import File, Request, Target
from cas.engines.drgn.child.variables import Known
from cas.engines.drgn.process import Worker
from cas.errors import EngineError
from cas.fault_reading import Reading
from cas.model.case import Case
from cas.supervise import Confinement

WANTED = {"place": "cas_sum_entries+0x18", "nowhere": None, "address": 0x18, "registers": {}}


@pytest.fixture(scope="module")
def reading(
    opened: Case, kmods: Mapping[str, Path], make_room: Callable[..., Confinement]
) -> Reading:
    with Worker(make_room()) as worker:
        worker.answer(replace(opened, kmods=kmods), 60)
        return worker.fault(WANTED)


def test_the_registers_are_those_that_the_exception_saved(reading: Reading) -> None:
    assert reading.origin.startswith("struct pt_regs at 0xffff")
    assert (reading.registers["rax"], reading.registers["rip"]) == (0, reading.pc)
    assert reading.things["rbx"].startswith("slab object kmalloc-32")


def test_the_pointer_is_named_by_the_variable_that_it_was_loaded_from(reading: Reading) -> None:
    pointer = reading.pointer
    assert pointer is not None
    assert (pointer.register, pointer.value, pointer.is_variable) == ("rax", 0, False)
    assert (pointer.expression, pointer.type) == ("entry->account", "struct cas_account *")
    assert (pointer.member, pointer.member_type) == ("balance", "long")
    assert pointer.origin == "`movq 0x18(%rbx), %rax`, where rbx is struct cas_entry *entry"
    assert pointer.holder_address == reading.registers["rbx"]


def test_the_code_is_shown_with_the_instruction_that_faulted(reading: Reading) -> None:
    (fault,) = (each for each in reading.code if each.is_fault)
    assert (fault.place, fault.file, fault.line) == (
        "cas_sum_entries+0x18",
        "drivers/cas/cas_oops.c",
        63,
    )
    assert fault.text.split() == ["movq", "0x18(%rax),", "%rdx"]
    assert any("<__cond_resched+0x0>" in each.text for each in reading.code)


def test_no_live_pointer_looks_like_null(reading: Reading) -> None:
    assert reading.lookalikes == ()


FLIPPED_BIT = 1 << 42
PT_REGS = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8"),
    *("rax", "rcx", "rdx", "rsi", "rdi"),
)
"""The first of ``struct pt_regs``."""


def spoilt(dump: bytes, reading: Reading, *, is_entry_too: bool) -> bytes:
    """The dump with a flipped bit in a copy of the entry's address, which was then used."""
    registers = reading.registers
    bad = struct.pack("<Q", registers["rbx"] ^ FLIPPED_BIT)
    saved = struct.pack("<15Q", *(registers[name] for name in PT_REGS))
    at = 8 * PT_REGS.index("rax")
    dump = dump.replace(saved, saved[:at] + bad + saved[at + 8 :])  # the kernel has a copy
    if is_entry_too:
        entry = re.escape(struct.pack("<Q", registers["rbp"])) + b".{8}\x08\0{7}(\0{8})"
        (found,) = re.finditer(entry, dump, re.DOTALL)
        dump = dump[: found.start(1)] + bad + dump[found.end(1) :]
    return dump


@pytest.mark.parametrize("is_entry_too", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_live_pointer_one_bit_away_is_found(
    worker: Worker,
    opened: Case,
    kmods: Mapping[str, Path],
    reading: Reading,
    tmp_path: Path,
    *,
    is_entry_too: bool,
) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(spoilt(opened.dump.path.read_bytes(), reading, is_entry_too=is_entry_too))
    worker.answer(replace(opened, kmods=kmods, dump=replace(opened.dump, path=path)), 60)
    bad = reading.registers["rbx"] ^ FLIPPED_BIT
    found = worker.fault({**WANTED, "address": bad + 0x18})
    (lookalike,) = found.lookalikes
    assert (lookalike.where, lookalike.value) == ("rbx", reading.registers["rbx"])
    assert lookalike.what == "slab object kmalloc-32+0x0"
    # what memory does not have is not said to have been loaded from there
    assert (found.pointer is not None) == is_entry_too


@pytest.fixture(scope="module")
def target(vmcore: Path, vmlinux: Path) -> Target:
    """The shipped dump, opened in this process."""
    files = [File(str(path), os.open(path, os.O_RDONLY)) for path in (vmcore, vmlinux)]
    return Target(Request(*files, "x86_64"))


def lookalikes(target: Target, bad: int, live: int) -> list[str]:
    """What looks like a value, of a register that has another one."""
    fault = drgn_fault._Fault(target, Wanted(None, None, None, {}), {})
    return [each["what"] for each in fault._lookalikes(bad, {"rbx": live, "rsp": 0})]


def test_a_lookalike_is_a_live_pointer_of_which_one_high_bit_differs(
    target: Target, reading: Reading
) -> None:
    live = reading.registers["rbx"]
    assert lookalikes(target, live ^ 1 << 42, live) == ["slab object kmalloc-32+0x0"]
    assert lookalikes(target, live ^ 1 << 31, live) == []  # as neighbours have it
    assert lookalikes(target, live ^ 1 << 63, live) == []
    assert lookalikes(target, live ^ 3 << 42, live) == []
    nothing = 0xFFFFDEAD00001000
    assert lookalikes(target, nothing ^ 1 << 42, nothing) == []
    page = live & -4096
    slots = [(slot, identify_address(target.prog, slot)) for slot in range(page, page + 4096, 32)]
    free = next(slot for slot, what in slots if what and what.startswith("free "))
    assert lookalikes(target, free ^ 1 << 42, free) == []


def test_a_value_that_is_memory_of_the_machine_has_no_bit_too_many(
    vmcore: Path, vmlinux: Path, reading: Reading
) -> None:
    files = [File(str(path), os.open(path, os.O_RDONLY)) for path in (vmcore, vmlinux)]
    large = Target(Request(*files, "x86_64"))
    at = large.prog["max_pfn"].address_
    assert at is not None
    pages = struct.pack("<Q", 1 << 24)  # as if it had 64 GiB
    large.prog.add_memory_segment(at, 8, lambda _, size, offset, __: pages[offset : offset + size])
    live = reading.registers["rbx"]
    low = int(large.prog["page_offset_base"])
    assert lookalikes(large, live ^ 1 << 33, live) == []
    assert lookalikes(large, live ^ 1 << 42, live) == ["slab object kmalloc-32+0x0"]
    assert low <= live ^ 1 << 33 < low + (64 << 30)


def test_a_member_is_counted_from_the_variable_and_not_from_the_register(target: Target) -> None:
    prog = target.prog
    node = prog.type("struct task_struct").member("tasks").offset
    known = Known("task", prog.type("struct task_struct *"), 1, is_variable=True, shift=node)
    assert known.as_pointer("rbx", 8, 8)["member"] == "tasks.prev"
    assert known._replace(shift=0).as_pointer("rbx", node, 8)["member"] == "tasks.next"


def test_without_debug_information_of_the_module_there_is_no_variable(
    worker: Worker, opened: Case
) -> None:
    worker.answer(opened, 60)
    reading = worker.fault(WANTED)
    assert reading.pointer is None
    assert reading.access is not None
    assert (reading.access.base, reading.access.address) == ("rax", 0x18)
    # nor is a fault elsewhere taken for this one
    with pytest.raises(EngineError, match="neither on the stack nor in the log"):
        worker.fault({**WANTED, "place": "cas_sum_entries+0x1c"})


def test_another_architectures_fault_is_read_like_our_own(
    worker: Worker, opened_aarch64: Case, unpack: Callable[[str], Path]
) -> None:
    (debug,) = unpack("arm64").rglob("cas_oops.ko.debug")
    worker.answer(replace(opened_aarch64, kmods={"cas_oops": debug}), 60)
    reading = worker.fault({**WANTED, "place": "cas_sum_entries+0x40"})
    assert reading.pointer is not None
    assert reading.pointer.expression == "entry->account"
    assert reading.pointer.member == "balance"


CODES = {
    # a load of 0x18 behind a register that is NULL, behind an instruction of another length
    "x86_64": ("4889c3488b5018", 3, {"rax": 0}, "rax"),
    "i686": ("89c38b5018", 2, {"eax": 0}, "eax"),
    "aarch64": ("fd7bbfa9000c40f9", 4, {"x0": 0}, "x0"),
    "armv7l": ("0300a0e1183090e5", 4, {"r0": 0}, "r0"),
    "ppc64": ("38600000e8630018", 4, {"r3": 0}, "r3"),
    "riscv64": ("0145086d", 2, {"a0": 0}, "a0"),
}


@pytest.mark.parametrize("arch", CODES)
def test_the_code_in_a_log_is_read_without_a_dump(worker: Worker, arch: str) -> None:
    code, mark, registers, base = CODES[arch]
    asked = {"code": code, "mark": mark, "place": "f+0x20", "address": 0x18}
    reading = worker.decode({**asked, "arch": arch, "registers": registers})
    assert reading.access is not None
    assert (reading.access.base, reading.access.offset) == (base, 0x18)
    assert [each.place for each in reading.code if each.is_fault] == ["f+0x20"]
    assert reading.code[0].place == f"f+{0x20 - mark:#x}"


def test_an_address_that_no_operand_means_blames_none(worker: Worker) -> None:
    code, mark, registers, _ = CODES["x86_64"]
    asked = {"code": code, "mark": mark, "place": "f+0x20", "address": 0x1018}
    reading = worker.decode({**asked, "arch": "x86_64", "registers": registers})
    assert reading.access is None


@pytest.mark.parametrize("code", ["", "ff", "0f0b" * 64, "f0" * 60])
def test_any_bytes_are_read(worker: Worker, code: str) -> None:
    asked = {"arch": "x86_64", "code": code, "mark": 0, "place": None, "address": None}
    assert worker.decode({**asked, "registers": {}}).access is None
