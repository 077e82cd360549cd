"""What instructions do to registers, by which the origin of a value is followed back."""

from __future__ import annotations

import pytest
from drgn import Platform

from cas.engines.drgn.child.code import Step, accessed, steps
from cas.engines.drgn.child.target import PLATFORMS


def only(arch: str, code: str) -> Step:
    (step,) = steps(bytes.fromhex(code), 0xFFFFFFFF81000000, Platform(*PLATFORMS[arch]))
    return step


@pytest.mark.parametrize(
    ("arch", "code", "destination", "source", "addend"),
    [
        ("x86_64", "4889f0", "rax", "rsi", 0),  # movq %rsi, %rax
        ("x86_64", "488d6f58", "rbp", "rdi", 0x58),  # leaq 0x58(%rdi), %rbp
        ("aarch64", "e10300aa", "x1", "x0", 0),  # mov x1, x0
        ("aarch64", "20680091", "x0", "x1", 0x1A),  # add x0, x1, #0x1a
    ],
)
def test_copies_are_followed(
    arch: str, code: str, destination: str, source: str, addend: int
) -> None:
    step = only(arch, code)
    assert (step.destination, step.source, step.addend) == (destination, source, addend)
    assert not step.is_load


@pytest.mark.parametrize(
    ("arch", "code", "destination", "base"),
    [
        ("x86_64", "488b4318", "rax", "rbx"),  # movq 0x18(%rbx), %rax
        ("aarch64", "200c40f9", "x0", "x1"),  # ldr x0, [x1, #0x18]
        ("armv7l", "183093e5", "r3", "r3"),  # ldr r3, [r3, #0x18]
    ],
)
def test_loads_are_followed_to_their_base(
    arch: str, code: str, destination: str, base: str
) -> None:
    step = only(arch, code)
    assert (step.is_load, step.destination) == (True, destination)
    assert [(each.base, each.offset) for each in step.memory] == [(base, 0x18)]


@pytest.mark.parametrize(
    ("arch", "code"),
    [
        ("x86_64", "48894318"),  # movq %rax, 0x18(%rbx)
        ("x86_64", "4883c008"),  # addq $8, %rax
        ("x86_64", "0fb64318"),  # movzbl 0x18(%rbx), %eax
        ("x86_64", "480fb14b18"),  # cmpxchgq %rcx, 0x18(%rbx)
        ("aarch64", "200080b9"),  # ldrsw x0, [x1]
        ("aarch64", "208440f8"),  # ldr x0, [x1], #8
    ],
)
def test_what_is_more_than_a_load_or_a_copy_is_not_followed(arch: str, code: str) -> None:
    step = only(arch, code)
    assert (step.destination, step.is_load) == (None, False)


@pytest.mark.parametrize(
    ("code", "register"),
    [("ffd0", "rax"), ("41ffd3", "r11"), ("ff5018", None), ("e8fb000000", None)],
)
def test_a_call_names_the_register_that_it_goes_to(code: str, register: str | None) -> None:
    step = only("x86_64", code)
    assert (step.is_call, step.register) == (True, register)


def test_a_jump_does_not_go_on_behind_it() -> None:
    assert not only("x86_64", "ebdf").falls_through
    assert not only("x86_64", "c3").falls_through
    assert only("x86_64", "741c").falls_through


def test_of_two_operands_that_of_the_reported_address_faulted() -> None:
    step = only("x86_64", "f3a4")  # rep movsb (%rsi), (%rdi)
    registers = {"rsi": 0x1000, "rdi": 0x2000}
    found = accessed(step, registers, 0x2000, 64)
    assert found is not None and found[0].base == "rdi"
    assert accessed(step, registers, 0x2008, 64) is None
    assert accessed(step, {"rsi": 0x2000, "rdi": 0x2000}, 0x2000, 64) is not None


def test_without_a_reported_address_the_one_that_is_none_faulted() -> None:
    step = only("x86_64", "f3a4")
    registers = {"rsi": 0x6B6B6B6B6B6B6B6B, "rdi": 0xFFFF888000000000}
    found = accessed(step, registers, None, 64)
    assert found is not None and found[0].base == "rsi"
    assert accessed(step, {"rsi": 0x1000, "rdi": 0x2000}, None, 64) is None


def test_an_access_that_crosses_into_a_page_that_is_not_there_is_found() -> None:
    step = only("x86_64", "488b4318")
    assert accessed(step, {"rbx": 0x1FE4}, 0x2000, 64) is not None
    assert accessed(step, {"rbx": 0x1FE0 - 0x18}, 0x2001, 64) is None


def test_a_per_cpu_variable_has_no_address_of_its_own() -> None:
    step = only("x86_64", "65488b04251800000000"[:18])  # movq %gs:0x18, %rax
    assert accessed(step, {}, 0x18, 64) is None
