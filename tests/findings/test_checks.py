"""What the kernel's own checks say, in a sentence that says no more than they do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cas.choices import Weight
from cas.fault_reading import Reading
from cas.findings import fault_case, with_source
from cas.model.code import SourceLines
from cas.model.dump import Dump
from cas.model.fault import Fault

DUMP = Dump(Path("vmcore"), "ELF", 1 << 20, "x86_64")
LOGS = Path(__file__).parent / "logs"
CUT = "------------[ cut here ]------------\n"
REST = """
CPU: 1 PID: 48 Comm: sh Not tainted 6.1.0 #1
RIP: 0010:cas_doubt_order+0x18/0x1b [cas_crashes]
Call Trace:
 cas_warn+0x12/0x13 [cas_crashes]
---[ end trace 0000000000000000 ]---
Kernel panic - not syncing: {panic}
"""
WARNED = REST.format(panic="kernel: panic_on_warn set ...")
OOPSED = "\ninvalid opcode: 0000 [#1] SMP" + REST.format(panic="Fatal exception")
AT = "fs/cas/faults.c:202"
ENTRY, OTHER = "ffff9689c085a100", "ffff9689c085a200"


def explained(log: str) -> Fault | None:
    case = fault_case(replace(DUMP, dmesg=log), None)
    return case.explained(Reading("x", {"rax": 1}) if case.was_stopped else None) if case else None


def said(log: str) -> list[str]:
    fault = explained(log)
    evidence = fault.evidence if fault else ()
    assert all(each.weight is Weight.CAUSE for each in evidence)
    return [each.sentence for each in evidence]


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (f"{CUT}kernel BUG at {AT}!{OOPSED}", f"the check at {AT} failed"),
        (f"{CUT}kernel BUG at [n > 8] {AT}!{OOPSED}", f"the check at {AT} failed: n > 8"),
        (f"WARNING: CPU: 1 PID: 48 at {AT} f+0x18/0x1b{WARNED}", f"the check at {AT} failed"),
        (f"WARNING: at {AT} f+0x18/0x1b(){WARNED}", f"the check at {AT} failed"),
        (f"WARNING: [n > 8] {AT} at f+0x18/0x1b, CPU#1: sh/48{WARNED}",
         f"the check at {AT} failed: n > 8"),
        (f"{CUT}order 9 of 8\nWARNING: CPU: 1 PID: 48 at {AT} f+0x18/0x1b{WARNED}",
         f"the check at {AT} failed; the kernel said right before: order 9 of 8"),
        (f"eth0: link is up\nWARNING: CPU: 1 PID: 48 at {AT} f+0x18/0x1b{WARNED}",
         f"the check at {AT} failed"),
        (f"{CUT}one\ntwo\nWARNING: CPU: 1 PID: 48 at {AT} f+0x18/0x1b{WARNED}",
         f"the check at {AT} failed"),
    ],
)  # fmt: skip
def test_an_assertion_is_told_with_its_place_and_what_it_says_itself(
    log: str, sentence: str
) -> None:
    assert said(log) == [sentence]


def test_of_an_assertion_the_line_of_the_source_is_shown_where_it_is_the_same() -> None:
    fault = explained(f"{CUT}kernel BUG at /tmp/build/{AT}!{OOPSED}")
    assert fault is not None
    source = SourceLines(AT.partition(":")[0], 202, 201, ("{", "\tBUG_ON(n > 8);"), "/usr/src")
    (shown,) = with_source(fault, source).evidence
    assert shown.details == ("202  BUG_ON(n > 8);",)
    (other,) = with_source(fault, replace(source, line=201)).evidence
    assert other.details == ()


def in_list(message: str) -> list[str]:
    return said(f"{message}\n{CUT}kernel BUG at lib/list_debug.c:53!{OOPSED}")


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            f"list_del corruption, {ENTRY}->next is LIST_POISON1 (dead000000000100)",
            f"the `next` of the list entry at 0x{ENTRY} is LIST_POISON1, which list_del() leaves"
            " there: the entry had been removed before",
        ),
        (
            "list_del corruption, 00000000bc6553ca->prev is LIST_POISON2 (dead000000000122)",
            "the `prev` of the list entry is LIST_POISON2, which list_del() leaves there: the"
            " entry had been removed before",
        ),
        (
            f"list_del corruption, {ENTRY}->next is NULL",
            f"the `next` of the list entry at 0x{ENTRY} is NULL: it was never in a list, or"
            " something wrote over it",
        ),
        (
            f"list_add double add: new={ENTRY}, prev={ENTRY}, next={OTHER}.",
            f"the list entry at 0x{ENTRY} was to be added beside itself (as its own `prev`): it is"
            " in that list already",
        ),
    ],
)
def test_the_entry_that_a_check_of_lists_found_wrong_is_told(message: str, sentence: str) -> None:
    assert in_list(message) == [sentence]


def test_a_list_whose_neighbour_is_wrong_blames_no_entry() -> None:
    was = f"list_del corruption. prev->next should be {ENTRY}, but was {OTHER}. (prev={OTHER})"
    assert in_list(was) == []


def test_an_object_that_was_freed_twice_is_told_with_who_had_it() -> None:
    fault = explained((LOGS / "panic-on-taint.log").read_text())
    assert fault is not None and fault.registers == {}
    (told,) = fault.evidence
    assert told.sentence == (
        "the object at 0xffff9d20c0e48980 of slab cache kmalloc-128 was to be freed, and is free"
        " already; last freed in cas_free_order [cas_crashes] (pid 47, CPU 0); last allocated in"
        " cas_new_order [cas_crashes] (pid 47, CPU 0)"
    )
    assert (told.command, told.weight) == ("rd ffff9d20c0e48980 16", Weight.CAUSE)
    freed = next(n for n, line in enumerate(told.details) if line.startswith("Freed in"))
    assert told.details[freed + 1].strip() == "cas_cancel_order+0xa/0x15 [cas_crashes]"


SLAB = """\
BUG kmalloc-64 (Tainted: G    B      O ): {complaint}
-----------------------------------------------------------------------------

{prefix}{spoilt}
{tracks}{prefix}Slab 0xffffd0f380039200 objects=21 used=6 fp=0xffff9d20c0e48980 flags=0x200
{prefix}Object 0x{at} @offset=64 fp=0x0000000000000000
CPU: 0 PID: 47 Comm: sh Tainted: G    B      O       6.1.192 #1
Call Trace:
 check_bytes_and_report+0x57/0x6a
Freed in others+0x5/0x6 age=0 cpu=3 pid=9
Kernel panic - not syncing: panic_on_taint set ...
"""


@pytest.mark.parametrize(
    ("at", "prefix", "place"),
    [
        ("ffff9d20c0e48980", "", " at 0xffff9d20c0e48980"),
        ("00000000bc6553ca", "INFO: ", ""),  # Linux 4.15 prints a hash
    ],
)
def test_memory_that_was_overwritten_is_told_with_the_first_byte(
    at: str, prefix: str, place: str
) -> None:
    spoilt = f"0x{at}-0x{at} @offset=64. First byte 0x61 instead of 0x6b"
    told = {"complaint": "Poison overwritten", "prefix": prefix, "spoilt": spoilt, "at": at}
    assert said(SLAB.format(tracks="", **told)) == [
        f"the object{place} of slab cache kmalloc-64: Poison overwritten, the first byte{place}"
        " with 0x61 in place of 0x6b"
    ]


def test_a_sanitizers_report_and_a_plain_page_have_no_object_of_a_cache() -> None:
    log = "BUG: KASAN: slab-use-after-free in demo_poke+0x10/0x20 [demo]\n" + WARNED
    assert explained(log) is None
    assert explained("BUG: Bad page state in process sh  pfn:12345\n" + WARNED) is None
