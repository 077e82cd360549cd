"""``dis`` of drgn: instructions of every architecture, and where they lead to."""

from __future__ import annotations

import pytest
from drgn import Platform

from cas.engines.drgn.child.dis import instructions
from cas.engines.drgn.child.target import PLATFORMS

BASE = 0xFFFF800010000000
KERNEL_32 = 0xC0100000
CALLS = {
    # a branch to 0x100 behind its own address
    "x86_64": (BASE, "e8fb000000", "callq"),
    "i686": (KERNEL_32, "e8fb000000", "calll"),
    "aarch64": (BASE, "40000094", "bl"),
    "armv7l": (KERNEL_32, "3e0000eb", "bl"),
    "ppc64": (BASE, "48000101", "bl"),
    "ppc64le": (BASE, "01010048", "bl"),
    "s390x": (0x100000, "c0e500000080", "brasl"),
    "riscv64": (BASE, "ef000010", "jal"),
}


def test_every_architecture_of_drgn_is_tried() -> None:
    assert CALLS.keys() == PLATFORMS.keys()


@pytest.mark.parametrize("arch", CALLS)
def test_a_call_names_its_target(arch: str) -> None:
    address, code, mnemonic = CALLS[arch]
    (one,) = instructions(bytes.fromhex(code), address, Platform(*PLATFORMS[arch]))
    assert one.text.split()[0] == mnemonic
    assert (one.address, one.target) == (address, address + 0x100)


def test_bytes_that_are_no_instruction_are_shown() -> None:
    code = bytes.fromhex("06" + "90")  # `push %es` is none on x86_64
    bad, nop = instructions(code, BASE, Platform(*PLATFORMS["x86_64"]))
    assert (bad.text.split(), bad.target) == ([".byte", "0x06"], None)
    assert (nop.address, nop.text) == (BASE + 1, "nop")
