"""What an address and the registers give away, in sentences that say no more than was read."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from kernels.crashes.expected import read_causes

from cas.choices import Weight
from cas.fault_reading import Access, Lookalike, Pointer, Reading
from cas.findings import fault_case, find, with_advice
from cas.findings.values import Sort, is_one_bit, meaning_of, near_poison
from cas.model.answer import FirstAnswer
from cas.model.code import Frame, Instruction
from cas.model.dump import Dump
from cas.model.fault import Fault

DUMP = Dump(Path("vmcore"), "ELF", 1 << 20, "x86_64")
NULL_LOG = "BUG: kernel NULL pointer dereference, address: {address:016x}"
PAGE_LOG = "BUG: unable to handle page fault for address: {address:016x}"
GPF_LOG = "general protection fault, probably for non-canonical address {address:#x}: 0000 [#1] SMP"
BARE_GPF_LOG = "general protection fault: 0000 [#1] SMP"
REST = """
Oops: 0000 [#1] SMP
CPU: 1 PID: 27 Comm: kworker/1:1 Not tainted 6.1.0 #1
RIP: 0010:f+0x18/0x38
Call Trace:
 g+0x18/0x2c
---[ end trace 0000000000000000 ]---
Kernel panic - not syncing: Fatal exception
"""
FAULT_CODE = (Instruction(0xFFFFFFFF81000018, "f+0x18", "movq 0x18(%rax), %rdx", is_fault=True),)
LIVE = 0xFFFF888012345640


def explained(first: str, reading: Reading, address: int = 0, rest: str = REST) -> Fault:
    log = f"{first.format(address=address)}{rest}"
    case = fault_case(replace(DUMP, dmesg=log), None)
    assert case is not None
    fault = case.explained(reading)
    assert fault is not None
    return fault


def said(first: str, reading: Reading, address: int = 0) -> list[str]:
    return [each.sentence for each in explained(first, reading, address).evidence]


def through(value: int, offset: int = 0x18, **more: object) -> Reading:
    """An access at an offset from what is in rax."""
    address = (value + offset) & ((1 << 64) - 1)
    access = Access(address, base="rax", base_value=value, offset=offset, size=8)
    facts = {"code": FAULT_CODE, "access": access, "place": "f+0x18", **more}
    return Reading("struct pt_regs at 0x1", {"rax": value}, **facts)  # type: ignore[arg-type]


def pointer(value: int, **more: object) -> Pointer:
    facts = {
        "register": "rax",
        "value": value,
        "expression": "entry->account",
        "type": "struct cas_account *",
        "is_variable": False,
        "origin": "`movq 0x18(%rbx), %rax`, where rbx is struct cas_entry *entry",
        "structure": "struct cas_account",
        "member": "balance",
        "member_type": "long",
        "holder": "struct cas_entry",
        "holder_address": LIVE,
    }
    return Pointer(**{**facts, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "sort", "text"),
    [
        (0, Sort.NULL, "NULL"),
        (0x18, Sort.SMALL, "NULL to which an offset was added"),
        (0xDEAD000000000100, Sort.POISON, "LIST_POISON1"),
        (0xDEAD000000000122, Sort.POISON, "LIST_POISON2"),
        (0xDEAD000000000200, Sort.POISON, "LIST_POISON2"),
        (0x5DEADBEEF0000100, Sort.POISON, "LIST_POISON1"),
        (0x6B6B6B6B6B6B6B6B, Sort.POISON, "freed slab memory"),
        (0x5A5A5A5A5A5A5A5A, Sort.POISON, "not set yet"),
        (0xA5A5A5A5A5A5A5A5, Sort.POISON, "end of a freed slab object"),
        (0xAAAAAAAAAAAAAAAA, Sort.POISON, "freed pages"),
        ((1 << 64) - 12, Sort.ERROR, "ERR_PTR(-ENOMEM), an error and not a pointer"),
        ((1 << 64) - 16, Sort.ERROR, "or what container_of() makes of NULL"),
        ((1 << 64) - 517, Sort.ERROR, "ERR_PTR(-EPROBE_DEFER)"),
        ((1 << 64) - 1000, Sort.ERROR, "an offset was taken from NULL"),
        (0x00007F1234567890, Sort.USER, "part that user space has"),
        (0x4141414142434445, Sort.TEXT, '"EDCBAAAA"'),
        (0x1234567890ABCDEF, Sort.NON_CANONICAL, "not canonical"),
    ],
)
def test_values_that_are_no_pointers_are_told(value: int, sort: Sort, text: str) -> None:
    found = meaning_of(value, "x86_64")
    assert found is not None
    assert found.sort is sort
    assert text in found.text


@pytest.mark.parametrize(
    "value",
    [
        *(LIVE, 0xFFFFFFFF81000018, 0xFFFFC90000123456, 0xFFFFEA0000001000, 0xFFFF0000_00000000),
        (1 << 64) - 4096,  # the last page but for errors
    ],
)
def test_a_value_that_may_be_a_pointer_has_no_meaning(value: int) -> None:
    assert meaning_of(value, "x86_64") is None


@pytest.mark.parametrize("value", [0x100, 0x122, 0xC1234560])
def test_what_a_32_bit_kernel_uses_as_poison_may_be_an_offset(value: int) -> None:
    found = meaning_of(value, "i686")
    assert found is None or found.sort is Sort.SMALL


def test_the_number_of_an_error_is_that_of_its_width() -> None:
    found = meaning_of((1 << 32) - 12, "i686")
    assert found is not None
    assert "-12: ERR_PTR(-ENOMEM)" in found.text  # of 4, which an offset can be


def test_a_known_pointer_is_named_with_the_member_that_was_accessed() -> None:
    (sentence,) = said(NULL_LOG, through(0, pointer=pointer(0)), 0x18)
    assert sentence == (
        "entry->account (struct cas_account *, rax) is NULL: the access to 0x18 was to its member"
        " balance (long)"
    )


def test_the_evidence_says_where_the_pointer_came_from_and_how_to_see_it() -> None:
    (evidence,) = explained(NULL_LOG, through(0, pointer=pointer(0)), 0x18).evidence
    assert evidence.weight is Weight.CAUSE
    assert "where rbx is struct cas_entry *entry" in evidence.source
    assert "`movq 0x18(%rax), %rdx` at f+0x18" in evidence.source
    assert evidence.command == f"struct cas_entry {LIVE:x}"


def test_without_debug_information_only_the_register_is_named() -> None:
    assert said(NULL_LOG, through(0), 0x18) == [
        "rax is NULL: 0x18 is the offset of what was accessed"
    ]


def test_an_error_used_as_a_pointer_is_not_called_null_although_the_kernel_says_so() -> None:
    assert said(NULL_LOG, through((1 << 64) - 12, 0x18), 0xC) == [
        "rax is ERR_PTR(-ENOMEM), an error and not a pointer"
    ]


def test_what_a_function_returned_is_said_of_it() -> None:
    bad = (1 << 64) - 12
    held = pointer(bad, expression="cas_find()", returned_by="cas_find", holder=None, origin=None)
    fault = explained(PAGE_LOG, through(bad, pointer=held), bad + 0x18)
    (evidence,) = fault.evidence
    assert evidence.sentence.startswith("what cas_find() returned (struct cas_account *, rax) is")
    assert fault.advice == "read when cas_find() returns that: its caller did not check"


def test_poison_in_the_register_is_told() -> None:
    address = 0xDEAD000000000110
    (sentence,) = said(GPF_LOG, through(0xDEAD000000000100, 0x10), address)
    assert sentence.startswith("rax is LIST_POISON1, which list_del() leaves in an entry")


def test_of_a_structure_that_was_freed_it_is_said() -> None:
    bad = 0x6B6B6B6B6B6B6B6B
    fault = explained(GPF_LOG, through(bad, pointer=pointer(bad)), bad + 0x18)
    assert fault.evidence[0].sentence == (
        "entry->account (struct cas_account *, rax) is the pattern of freed slab memory (6b,"
        f" POISON_FREE): the struct cas_entry at {LIVE:#x} was freed"
    )
    # of a kernel log there is no memory to show
    told = through(bad, pointer=pointer(bad, holder_address=None))
    assert (
        explained(GPF_LOG, told, bad + 0x18)
        .evidence[0]
        .sentence.endswith("POISON_FREE): the struct cas_entry was freed")
    )
    assert fault.advice == f"find who freed the struct cas_entry at {LIVE:#x} while it was used"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (0x6B6B6B6B6B6B6B83, "0x18 behind 0x6b6b6b6b6b6b6b6b: the pattern of freed slab memory"),
        (0xDEAD000000000110, "0x10 behind 0xdead000000000100: LIST_POISON1"),
    ],
)
def test_poison_is_told_from_the_address_alone(address: int, words: str) -> None:
    (sentence,) = said(GPF_LOG, Reading("kernel log", {}), address)
    assert words in sentence


def test_nothing_is_said_of_an_address_alone_that_may_be_a_pointer() -> None:
    case = fault_case(replace(DUMP, dmesg=PAGE_LOG.format(address=LIVE) + REST), None)
    assert case is not None
    assert case.explained(None) is None


def test_near_poison_is_none_of_a_kernel_of_32_bits() -> None:
    assert near_poison(0x6B6B6B83, 32) is None


def test_of_two_registers_that_may_both_be_wrong_none_is_blamed() -> None:
    access = Access(LIVE + 0x1000, "rax", LIVE, "rcx", 0x1000, 1, 0, 8)
    reading = Reading("x", {"rax": LIVE, "rcx": 0x1000}, code=FAULT_CODE, access=access)
    assert said(PAGE_LOG, reading, LIVE + 0x1000) == []


def test_of_two_registers_the_poisoned_one_is_blamed() -> None:
    poison = 0x6B6B6B6B6B6B6B6B
    access = Access(poison + 0x80, "rax", 0x10, "rcx", poison, 1, 0x70, 8)
    reading = Reading("x", {"rax": 0x10, "rcx": poison}, code=FAULT_CODE, access=access)
    (sentence,) = said(BARE_GPF_LOG, reading)
    assert sentence.startswith("rcx is the pattern of freed slab memory")


def test_kasans_shadow_is_translated_back() -> None:
    shadow = 0xDFFFFC0000000000
    access = Access(shadow + 3, "rax", shadow, "rdx", 3, 1, 0, 1)
    reading = Reading("x", {"rax": shadow, "rdx": 3}, code=FAULT_CODE, access=access)
    (sentence,) = said(GPF_LOG, reading, shadow + 3)
    assert sentence == (
        "KASAN was checking an access to 0x18-0x1f: a NULL pointer, or a small offset from it"
    )


def test_a_null_function_pointer_is_named_with_the_call() -> None:
    log = NULL_LOG.format(address=0) + REST.replace("f+0x18/0x38", "0x0")
    case = fault_case(replace(DUMP, dmesg=log), None)
    assert case is not None
    called = pointer(0, register="rax", expression="ops->show", type="int (*)(void)", member=None)
    reading = Reading("x", {"rip": 0}, pc=0, caller="h+0x8", call="callq   *%rax", pointer=called)
    fault = case.explained(reading)
    assert fault is not None
    assert [each.sentence for each in fault.evidence] == [
        "the function called through ops->show (int (*)(void), rax) is NULL"
    ]
    assert fault.place == "h+0x8"


def test_a_pointer_to_another_place_is_not_what_was_called() -> None:
    log = NULL_LOG.format(address=0) + REST.replace("f+0x18/0x38", "0x0")
    case = fault_case(replace(DUMP, dmesg=log), None)
    assert case is not None
    other = pointer(LIVE, expression="ops->show", type="int (*)(void)", member=None)
    fault = case.explained(
        Reading("x", {}, pc=0, caller="h+0x8", call="callq *%rax", pointer=other)
    )
    assert fault is not None
    assert [each.sentence for each in fault.evidence] == [
        "from h+0x8 the processor jumped to address 0: a function pointer was NULL"
    ]


def test_a_jump_into_an_unloaded_module_names_the_last_that_was_unloaded() -> None:
    log = PAGE_LOG.format(address=0xFFFFFFFFC0123000) + REST.replace(
        "f+0x18/0x38", "0xffffffffc0123000"
    )
    case = fault_case(replace(DUMP, dmesg=log), None)
    assert case is not None
    reading = Reading("x", {}, pc=0xFFFFFFFFC0123000, is_kmods_area=True, last_unloaded="cas_gone")
    fault = case.explained(reading)
    assert fault is not None
    assert "where kernel modules are loaded, but none is now" in fault.evidence[0].sentence
    assert "the last one that was unloaded is cas_gone" in fault.evidence[0].sentence


FLIPPED = LIVE ^ (1 << 41)


def flipped(value: int, *others: int) -> Reading:
    each = tuple(Lookalike("rbx", other, "slab object kmalloc-64+0x0") for other in others)
    return through(value, lookalikes=each)


def test_a_pointer_that_one_bit_tells_from_a_live_one_may_be_a_flipped_bit() -> None:
    (sentence,) = said(PAGE_LOG, flipped(FLIPPED, LIVE), FLIPPED + 0x18)
    assert "differs in bit 41 alone from" in sentence
    assert "a live pointer to slab object kmalloc-64+0x0" in sentence


def test_where_two_pointers_are_one_bit_away_nothing_is_said_of_bits() -> None:
    both = flipped(FLIPPED, LIVE, FLIPPED ^ (1 << 42))
    assert not any("bit" in sentence for sentence in said(PAGE_LOG, both, FLIPPED + 0x18))


@pytest.mark.parametrize("value", [0, 0xDEAD000000000100, 0x6B6B6B6B6B6B6B6B, (1 << 64) - 12])
def test_null_poison_and_errors_are_never_flipped_bits(value: int) -> None:
    sentences = said(PAGE_LOG, flipped(value, value ^ (1 << 41)), (value + 0x18) % (1 << 64))
    assert sentences
    assert not any("bit " in sentence for sentence in sentences)


LIST_LOG = "list_del corruption. prev->next should be {right:016x}, but was {wrong:016x}\n" + (
    "------------[ cut here ]------------\nkernel BUG at lib/list_debug.c:51!\n"
    "invalid opcode: 0000 [#1] SMP"
)


def in_a_list(right: int, wrong: int) -> list[str]:
    return said(LIST_LOG.format(right=right, wrong=wrong), Reading("x", {"rax": 1}))


def test_a_flipped_bit_in_a_list_is_told_by_what_should_stand_there() -> None:
    (sentence,) = in_a_list(LIVE, FLIPPED)
    assert "differs in bit 41 alone from 0xffff888012345640" in sentence


@pytest.mark.parametrize("wrong", [LIVE ^ 0x40, LIVE + 0x1000, 0x00000000BC6553CA, FLIPPED ^ 8])
def test_another_entry_in_a_list_is_no_flipped_bit(wrong: int) -> None:
    assert in_a_list(LIVE, wrong) == []


def test_of_addresses_that_are_hashed_nothing_is_said() -> None:
    hashed = 0x00000001BC6553CA  # as some kernels have it, with a bit above the 32 of a hash
    assert in_a_list(hashed, hashed ^ 1 << 32) == []


def test_the_bits_of_a_tag_are_not_those_of_a_pointer() -> None:
    assert is_one_bit(1 << 56, "x86_64")
    assert not is_one_bit(1 << 56, "aarch64")
    assert is_one_bit(1 << 54, "aarch64")


def test_what_list_add_says_is_read_too() -> None:
    first = LIST_LOG.replace("{right:016x}", "prev ({right:016x})").replace("_del", "_add")
    log = first.format(right=LIVE, wrong=FLIPPED) + ". (next=ffff8880a9eb84f0)."
    (sentence,) = said(log.replace("{", "{{"), Reading("x", {"rax": 1}))
    assert "differs in bit 41" in sentence


def test_poison_in_a_list_is_named() -> None:
    (sentence,) = in_a_list(LIVE, 0xDEAD000000000100)
    assert sentence.startswith("in the list stands LIST_POISON1, which list_del() leaves")


def test_an_address_of_user_space_is_told_with_what_the_task_has_there() -> None:
    reading = through(0x7F0012340000, user_mapping="busybox")
    (sentence,) = said(PAGE_LOG, reading, 0x7F0012340018)
    assert sentence.endswith("that user space has; the task has busybox there")


def test_a_kernel_thread_has_no_user_space() -> None:
    (sentence,) = said(PAGE_LOG, through(0x7F0012340000, has_mm=False), 0x7F0012340018)
    assert sentence.endswith("the task is a kernel thread and has no such memory")


def test_text_over_a_pointer_is_read() -> None:
    (sentence,) = said(GPF_LOG, through(0x4141414142434445), 0x414141414243445D)
    assert sentence == 'rax is the text "EDCBAAAA": something wrote over the pointer'


def test_text_in_another_register_is_no_pointer_that_was_written_over() -> None:
    reading = replace(through(0), registers={"rax": 0, "r13": 0x64656C7564656863})
    assert explained(NULL_LOG, reading, 0x18).meanings == {"r13": 'the text "cheduled"'}


def test_a_small_negative_number_of_32_bits_is_no_address_of_user_space() -> None:
    (sentence,) = said(PAGE_LOG, through(0xFFFFFFFF, 0x138), 0x100000137)
    assert sentence == "rax is 0xffffffff, -1 in 32 bits and no pointer"


def test_the_offset_of_kasans_shadow_is_never_the_bad_pointer() -> None:
    shadow = 0xDFFFFC0000000000
    wild = 0xBADBEEFBADBEE8
    access = Access(shadow + (wild >> 3), "rdx", wild >> 3, "rax", shadow, 1, 0, 1)
    reading = Reading("x", {"rax": shadow}, code=FAULT_CODE, access=access)
    (sentence,) = said(GPF_LOG, reading, access.address)
    assert sentence.endswith("0xbadbeefbadbeef: no pointer of the kernel")


def test_a_divisor_of_zero_is_named() -> None:
    reading = Reading("x", {"rcx": 0}, code=FAULT_CODE, divisor="rcx", place="f+0x18")
    (sentence,) = said("divide error: 0000 [#1] SMP", reading)
    assert sentence == "rcx, the divisor, is 0"


def test_code_whose_name_crash_does_not_know_is_shown_by_its_address() -> None:
    def command(place: str) -> str:
        code = (replace(FAULT_CODE[0], place=place),)
        reading = Reading("x", {"rcx": 0}, code=code, divisor="rcx", place=place)
        return explained("divide error: 0000 [#1] SMP", reading).evidence[0].command

    assert command("f+0x18") == "dis -rl f+0x18"
    assert command("f.isra.0+0x0") == "dis -rl ffffffff81000018"


def test_a_stack_that_ran_out_is_told_by_its_limits() -> None:
    reading = Reading(
        "x", {"rsp": 0xFFFFC90000100FF0}, stack=(0xFFFFC90000101000, 0xFFFFC90000105000)
    )
    fault = explained(PAGE_LOG, reading, 0xFFFFC90000100FE8)
    assert "24 bytes below the task's stack" in fault.evidence[0].sentence


def test_a_recursion_is_counted() -> None:
    answer = FirstAnswer(
        backtrace=(Frame("f", 0x18), *(Frame("recurse.isra.0", 0x10) for _ in range(40))),
        dmesg="PANIC: double fault, error_code: 0x0" + REST,
    )
    case = fault_case(DUMP, answer)
    assert case is not None
    fault = case.explained(Reading("x", {"rsp": 1}))
    assert fault is not None
    assert "recurse stands 40 times in the backtrace" in [each.sentence for each in fault.evidence]


def test_the_place_of_a_fault_is_the_processors_not_that_of_the_code_to_blame() -> None:
    log = PAGE_LOG.format(address=LIVE) + REST.replace("f+0x18/0x38", "memcmp+0x9/0x40")
    case = fault_case(replace(DUMP, dmesg=log), None)
    assert case is not None
    assert case.crash.owner is not None
    assert case.crash.owner.function == "g"
    assert case.wanted()["place"] == "memcmp+0x9"


def test_the_next_step_is_about_the_pointer_and_no_longer_about_the_kind() -> None:
    log = NULL_LOG.format(address=0x18) + REST
    finding = find(replace(DUMP, dmesg=log), None, None)
    general = next(step for step in finding.next_steps if "offset of the field" in step)
    fault = explained(NULL_LOG, through(0, pointer=pointer(0)), 0x18)
    steps = with_advice(finding, fault).next_steps
    assert steps[0] == (
        f"find out why entry->account is NULL (cas debug: struct cas_entry {LIVE:x})"
    )
    assert general not in steps
    assert with_advice(with_advice(finding, fault), fault).next_steps == steps


def test_without_more_the_next_steps_stay() -> None:
    finding = find(replace(DUMP, dmesg=NULL_LOG.format(address=0x18) + REST), None, None)
    assert with_advice(finding, explained(NULL_LOG, through(0), 0x18)) == finding


@pytest.mark.parametrize(
    "first",
    ["INFO: task cat:62 blocked for more than 120 seconds.", "sysrq: Trigger a crash"],
)
def test_where_no_code_was_stopped_there_is_no_fault(first: str) -> None:
    log = f"{first}\nKernel panic - not syncing: sysrq triggered crash\n"
    assert fault_case(replace(DUMP, dmesg=log), None) is None


LOADED = {
    "expression": "order->account",
    "register": "rdi",
    "origin": "`movq 0x18(%rbx), %rdi`, where rbx is struct cas_order *order",
    "holder": "struct cas_order",
}
CALLED = {
    "register": "",
    "expression": "order->settle",
    "type": "int (*)(struct cas_order *)",
    "structure": None,
    "member": None,
    "member_type": None,
    "origin": "0x10(%rbx), where rbx is struct cas_order *order",
}
HOOK = {**CALLED, "expression": "cas_hook", "type": "int (*)(int)", "is_variable": True}
ORDERS = {**CALLED, "register": "rsi", "expression": "orders", "type": "unsigned int"}
FOUND = {
    **{"register": "rdi", "expression": "account", "origin": None, "is_variable": True},
    **{"returned_by": "cas_find_account", "holder": None, "holder_address": None},
}
WILD = int.from_bytes(b"ORDER #7", "little")
UNLOADED = 0xFFFFFFFFC005F000


def called(pc: int, known: dict[str, object], **more: object) -> tuple[str, Reading]:
    """A call through a pointer, to where no code is."""
    log = f"{PAGE_LOG.format(address=pc)}{REST}".replace("f+0x18/0x38", f"{pc:#x}")
    there = {"pc": pc, "caller": "cas_settle_order+0x20", "pointer": pointer(pc, **known), **more}
    return log, Reading("x", {"rdi": LIVE}, **there)  # type: ignore[arg-type]


def accessed(first: str, value: int, **more: object) -> tuple[str, Reading]:
    """An access at an offset from what is in rdi."""
    reading = through(value, **more)
    assert reading.access is not None
    log = first.format(address=reading.access.address) + REST
    return log, replace(
        reading, registers={"rdi": value}, access=replace(reading.access, base="rdi")
    )


CRASHES = {
    "null": accessed(NULL_LOG, 0),
    "poison": accessed(GPF_LOG, 0xDEAD000000000100, offset=0),
    "use-after-free": accessed(
        GPF_LOG, 0x6B6B6B6B6B6B6B6B, pointer=pointer(0x6B6B6B6B6B6B6B6B, **LOADED)
    ),
    "bit-flip": accessed(
        PAGE_LOG,
        LIVE ^ (1 << 42),
        lookalikes=(Lookalike("rdx", LIVE, "slab object kmalloc-32+0x0"),),
    ),
    "user-address": accessed(PAGE_LOG, 0x7F0012345000, user_mapping=""),
    "err-ptr": accessed(NULL_LOG, (1 << 64) - 2, pointer=pointer((1 << 64) - 2, **FOUND)),
    "divide": (
        "divide error: 0000 [#1] SMP" + REST,
        Reading("x", {"rsi": 0}, divisor="rsi", pointer=pointer(0, **ORDERS)),
    ),
    "jump-null": called(0, CALLED),
    "jump-wild": called(WILD, CALLED),
    "jump-unloaded": called(UNLOADED, HOOK, is_kmods_area=True, last_unloaded="cas_gone"),
}
"""What is read of the dumps of kernels/crashes, of which three are shipped."""


@pytest.mark.parametrize("name", CRASHES)
def test_own_crashes_are_explained_in_the_words_that_their_dumps_are_judged_by(name: str) -> None:
    log, reading = CRASHES[name]
    case = fault_case(replace(DUMP, dmesg=log), None)
    assert case is not None
    fault = case.explained(reading)
    assert fault is not None
    (found,) = fault.evidence
    (pattern,) = read_causes()[0][name]["evidence"]
    assert re.search(pattern, found.sentence), found.sentence
    assert found.weight is Weight.CAUSE
