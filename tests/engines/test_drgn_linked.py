"""Bad pointers of a kernel log that were loaded from memory, named by the code as it was linked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cas import elf
from cas.engines.drgn.child.linked import Shown, ran_before
from cas.engines.drgn.child.locate import Locator, Place
from cas.engines.drgn.child.opcodes import Logged, read_opcodes, read_pointer
from cas.engines.drgn.child.target import File

BEFORE, AFTER = 42, 21
"""Bytes of code that x86 prints around the one that faulted (``arch/x86/kernel/dumpstack.c``)."""
REGISTERS = dict.fromkeys(("rsi", "rdi", "rbx", "rdx", "rsp"), 0xFFFF_8880_0000_1000)
OF_FAULT = Place("vdso_fault", 0x4, 0x6F, None)
"""``movq 0x10(%rsi), %rax``, then ``movq 0x320(%rax), %rsi``."""

Read = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def locator(vmlinux_b: Path) -> Iterator[Locator]:
    descriptor = os.open(vmlinux_b, os.O_RDONLY)
    try:
        yield Locator(File(str(vmlinux_b), descriptor))
    finally:
        os.close(descriptor)


def section(vmlinux: Path, name: str) -> elf.Section:
    with elf.opened(vmlinux) as read:
        found = elf.section_named(read, elf.header(read), name)
    assert found is not None
    return found


def linked(vmlinux: Path, locator: Locator, place: Place) -> bytes:
    """The code of a function."""
    address, text = locator.address_of(place._replace(offset=0)), section(vmlinux, ".text")
    assert address is not None
    with vmlinux.open("rb") as file:
        file.seek(text.offset + address - text.addr)
        return file.read(place.size)


@pytest.fixture
def read(vmlinux_b: Path, locator: Locator) -> Read:
    """What is read of a fault at a place, whose code may have been changed since it was linked."""

    def reading(
        place: Place, address: int, *, code: bytes | None = None, before: int = BEFORE
    ) -> dict[str, Any]:
        function = code or linked(vmlinux_b, locator, place)
        mark = min(place.offset, before)
        shown = function[place.offset - mark : place.offset + AFTER]
        name = f"{place.function}+{place.offset:#x}"
        registers = {**REGISTERS, "rax": 0}
        logged = Logged("x86_64", shown.hex(), mark, name, address, registers)
        found: dict[str, Any] = {}
        read_opcodes(logged, found)
        read_pointer(locator, place, logged, found)
        return found

    return reading


def test_a_pointer_that_was_loaded_just_before_is_named_with_the_member_that_was_wanted(
    read: Read,
) -> None:
    pointer = read(OF_FAULT, 0x320)["pointer"]
    assert (pointer["expression"], pointer["type"]) == ("vma->vm_mm", "struct mm_struct *")
    assert (pointer["register"], pointer["value"]) == ("rax", 0)
    assert (pointer["member"], pointer["holder"]) == (
        "context.vdso_image",
        "struct vm_area_struct",
    )
    assert pointer["origin"] == ("`movq 0x10(%rsi), %rax`, where rsi is struct vm_area_struct *vma")


def test_code_that_was_written_to_since_or_that_the_log_does_not_show_names_nothing(
    read: Read, vmlinux_b: Path, locator: Locator
) -> None:
    code = linked(vmlinux_b, locator, OF_FAULT)
    for changed in (b"\x48\x8b\x46\x18" + code[4:], b"\xcc" + code[1:]):
        assert "pointer" not in read(OF_FAULT, 0x320, code=changed)
    assert "pointer" not in read(OF_FAULT, 0x320, before=3)


def test_a_jump_of_the_function_between_a_load_and_the_fault_is_found(
    vmlinux_b: Path, locator: Locator
) -> None:
    place = Place("hrtimer_active", 0x4, 0x32, None)
    address = locator.address_of(place)
    assert address is not None
    shown = Shown(linked(vmlinux_b, locator, place), place.offset)
    ran = ran_before(locator.prog, locator.vmlinux, address, shown)
    assert ran is not None
    assert [step.address for step in ran.steps] == [address - 4, address]
    assert address in ran.targets


@pytest.mark.parametrize(
    ("name", "form"),
    [
        pytest.param(".altinstr_aux", "jump", id="a jump of another section"),
        pytest.param("__ex_table", "distance", id="a fix-up of an exception"),
        pytest.param(".rodata", "pointer", id="a pointer"),
    ],
)
def test_what_leads_to_code_from_elsewhere_is_found(
    name: str, form: str, vmlinux_b: Path, locator: Locator, tmp_path: Path
) -> None:
    at = 3 if form == "jump" else 16
    address, home = locator.address_of(OF_FAULT), section(vmlinux_b, name)
    assert address is not None
    shown = Shown(linked(vmlinux_b, locator, OF_FAULT), OF_FAULT.offset)
    distance = address - (home.addr + at + (4 if form == "jump" else 0))
    value = distance.to_bytes(4, "little", signed=True)
    if form == "pointer":
        value = address.to_bytes(8, "little")
    path = Path(shutil.copy(vmlinux_b, tmp_path))
    path.chmod(0o600)
    descriptor = os.open(path, os.O_RDWR)
    try:
        file = File(str(path), descriptor)
        for is_led_to in (False, True):
            ran = ran_before(locator.prog, file, address, shown)
            assert ran is not None
            assert [step.address for step in ran.steps] == [address - 4, address]
            assert (address in ran.targets) == is_led_to
            os.pwrite(descriptor, value, home.offset + at)
    finally:
        os.close(descriptor)
