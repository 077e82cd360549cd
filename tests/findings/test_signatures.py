"""Titles, and signatures at several granularities."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cas.findings import find
from cas.findings.functions import shipped_digest
from cas.findings.signature import PATTERNS, VERSION, uncounted
from cas.model.answer import FirstAnswer
from cas.model.code import Frame
from cas.model.dump import Dump
from cas.model.finding import Finding

TRACE = """\
CPU: 1 PID: 9 Comm: {comm} Not tainted 6.1.0 #1
RIP: 0010:{function}+0x1c/0x40 [demo]
Call Trace:
 <TASK>
 _raw_spin_lock+0x1/0x2
 demo_write+0x1/0x2 [demo]
 vfs_write+0x1/0x2
 ksys_write+0x1/0x2
 do_syscall_64+0x1/0x2
 </TASK>
---[ end trace 0000000000000000 ]---
"""
OOPS = "BUG: kernel NULL pointer dereference, address: 0000000000000008\nOops: 0000 [#1] SMP\n"


def judge(log: str, frames: tuple[Frame, ...] = ()) -> Finding:
    dump = Dump(Path("vmcore"), "ELF", 1, "x86_64", dmesg=log)
    return find(dump, FirstAnswer(backtrace=frames, dmesg=log) if frames else None, None)


def trace(function: str = "demo_read", comm: str = "dd") -> str:
    return TRACE.format(function=function, comm=comm)


def values(finding: Finding) -> dict[str, str]:
    return {each.granularity: each.value for each in finding.signatures}


AT = "demo_read+0x1c/0x40 [demo]"
HEADS = [
    ("BUG: kernel NULL pointer dereference, address: 08", "NULL pointer dereference"),
    ("general protection fault: 0000 [#1] SMP", "general protection fault"),
    ("kernel BUG at fs/x.c:12!\ninvalid opcode: 0000 [#1]", "kernel BUG"),
    ("stack segment: 0000 [#1] SMP", "stack segment"),
    (f"BUG: KASAN: slab-use-after-free in {AT}", "KASAN: use-after-free"),
    (f"BUG: KASAN: use-after-free in {AT}", "KASAN: use-after-free"),
    ("BUG kmalloc-64 (Not tainted): Object already free", "slab kmalloc-64: Object already free"),
    ("UBSAN: array-index-out-of-bounds in a.c:1:2", "UBSAN: array-index-out-of-bounds"),
    (f"WARNING: CPU: 1 PID: 9 at net/x.c:12 {AT}", "warning"),
    (f"WARNING: CPU: 1 PID: 9 at lib/refcount.c:28 {AT}", "refcount error"),
    ("WARNING: possible recursive locking detected", "possible recursive locking"),
    ("BUG: spinlock bad magic on CPU#0, dd/9", "spinlock bad magic"),
    ("BUG: rwlock cpu-recursion on CPU#0, dd/9", "rwlock cpu-recursion"),
    ("BUG: scheduling while atomic: dd/9/0x2", "scheduling while atomic"),
    ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [dd:9]", "soft lockup"),
]


@pytest.mark.parametrize(("head", "headline"), HEADS)
def test_a_title_is_in_the_fields_form(head: str, headline: str) -> None:
    assert judge(f"{head}\n{trace()}").title == f"{headline} in demo_read [demo]"


@pytest.mark.parametrize(
    ("log", "title"),
    [
        ("BUG: KCSAN: data-race in two / one\n", "KCSAN: data-race in one / two"),
        ("sysrq: Trigger a crash\n" + trace(), "crash by sysrq"),
        (
            "Kernel panic - not syncing: controller lockup detected: lockup code 0x00150000\n",
            "panic: controller lockup detected: lockup code",
        ),
        ("Linux version 6.1.0\n", "running system"),
    ],
)
def test_a_title_without_a_function(log: str, title: str) -> None:
    assert judge(log).title == title


def test_a_title_names_the_inlined_function_and_no_signature_does() -> None:
    frames = (
        Frame("asm_exc_page_fault", 1),
        Frame("demo_inlined", kmod="demo", inlined=True),
        Frame("demo_read", 0x1C, kmod="demo"),
        Frame("_raw_spin_lock", 1),
        Frame("demo_write.isra.0", 1, kmod="demo"),
        Frame("vfs_write", 1),
        Frame("ksys_write", 1),
        Frame("do_syscall_64", 1),
    )
    log = OOPS + trace()
    assert judge(log, frames).title == "NULL pointer dereference in demo_inlined [demo]"
    assert values(judge(log, frames)) == values(judge(log))
    assert set(values(judge(log))) == {"title", "top 3", "top 5", "full"}


@pytest.mark.parametrize(
    ("other", "same"),
    [
        # another process, address, build
        (OOPS.replace("08", "18") + trace(comm="cat").replace("0x1c/0x40", "0x2c/0x50"),
         {"title", "top 3", "top 5", "full"}),
        # another way to the same place
        (OOPS + trace().replace("ksys_write", "io_write"), {"title", "top 3"}),
        (OOPS + trace().replace("demo_write", "demo_send"), {"title"}),
        # everybody's code between
        (OOPS + trace().replace("_raw_spin_lock", "mutex_lock"),
         {"title", "top 3", "top 5", "full"}),
        # another function, another module, another kind
        (OOPS + trace("demo_poll"), set()),
        (OOPS + trace().replace("[demo]", "[other]"), set()),
        ("divide error: 0000 [#1] SMP\n" + trace(), set()),
    ],
)  # fmt: skip
def test_what_must_be_the_same_is_a_question_of_granularity(other: str, same: set[str]) -> None:
    here, there = values(judge(OOPS + trace())), values(judge(other))
    assert {name for name, value in here.items() if there.get(name) == value} == same


@pytest.mark.parametrize(
    "log",
    [
        "sysrq: Trigger a crash\nKernel panic - not syncing: sysrq triggered crash\n" + trace(),
        "Kernel panic - not syncing: NMI: Not continuing\n" + trace(),
        "Kernel panic - not syncing: Fatal machine check\n" + trace(),
        "Kernel panic - not syncing: System is deadlocked on memory\n" + trace(),
        "BUG: kernel NULL pointer dereference, address: 0000000000000008\n",
        "Linux version 6.1.0\n",
    ],
)
def test_what_happens_everywhere_for_different_reasons_has_no_signature(log: str) -> None:
    assert judge(log).signatures == ()


@pytest.mark.parametrize(
    ("log", "is_compared"),
    [
        (OOPS + trace(), True),
        # one function alone, and a kind whose words did not count
        (OOPS + re.sub(r" (demo|vfs|ksys)_write.*\n", "", trace()), False),
        (f"BUG: KASAN: use-after-free in {AT}\n{trace()}", False),
    ],
)
def test_the_first_versions_name_is_compared_where_that_says_enough(
    log: str, is_compared: bool
) -> None:
    assert (judge(log).former is not None) == is_compared


def test_the_signature_is_the_most_telling_one() -> None:
    named = values(judge(OOPS + trace()))
    assert judge(OOPS + trace()).signature == named["top 3"]
    short = judge("Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\n")
    assert short.signature == values(short)["title"]


def test_a_panic_in_its_own_words_needs_no_function() -> None:
    here = judge("Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n")
    there = judge(
        "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(8,1)\n"
    )
    assert values(here) == values(there)
    assert set(values(here)) == {"title"}


def test_one_recursion_is_one_crash_whoever_entered_it_where_the_stack_ran_out() -> None:
    ring = [f" {name}+0x1/0x2 [demo]\n" for name in ("demo_call", "demo_event", "demo_update")]
    head = "BUG: stack guard page was hit at 00 (stack is 00..01)\nCall Trace:\n"
    here = judge(head + "".join(ring * 20) + " demo_one+0x1/0x2 [demo]\n")
    turned = [*ring[1:], ring[0]]
    there = judge(head + "".join(turned * 20) + " demo_two+0x1/0x2 [demo]\n")
    assert here.title == there.title == "stack overflow in demo_call [demo]"
    assert values(here)["top 5"] == values(there)["top 5"]


def test_a_panic_of_rust_is_its_callers() -> None:
    core = "_RNvNtCs9jEwPDbx20M_4core9panicking"
    log = (
        "kernel BUG at rust/helpers/bug.c:7!\nOops: invalid opcode: 0000 [#1] SMP\n"
        "RIP: 0010:rust_helper_BUG+0x8/0x10\nCall Trace:\n"
        " _RNvCscSpY9Juk0HT_7___rustc17rust_begin_unwind+0x15b/0x160\n"
        f" {core}9panic_fmt+0x84/0x90\n {core}11panic_const24panic_const_add_overflow+0x1/0x2\n"
        " demo_mmap+0x1/0x2 [demo]\n mmap_region+0x1/0x2\n"
    )
    assert judge(log).title == "kernel BUG in demo_mmap [demo]"


def test_a_function_of_rust_has_one_name_whoever_compiled_it() -> None:
    name = "_RNvXs1_Cs{}_11ashmem_rustNtB5_6AshmemNtNtCs{}_6kernel10miscdevice4mmap"
    here = judge(OOPS + trace(name.format("cPPBqWtAqum", "43vyB533jt3")))
    there = judge(OOPS + trace(name.format("9jEwPDbx20M", "hgDM7dBCdno")))
    assert values(here) == values(there)
    assert "_RNvXs1_C11ashmem_rustNtB5_6AshmemNtNtC6kernel10miscdevice4mmap" in here.title


def test_a_crash_of_which_the_kernel_only_guessed_the_culprit_is_the_same_as_no_other() -> None:
    guessed = "Call Trace:\n ? demo_read+0x1/0x2 [demo]\n ? demo_write+0x1/0x2 [demo]\n"
    assert values(judge(OOPS + guessed)) == {}
    named = OOPS + "RIP: 0010:demo_read+0x1/0x2 [demo]\n" + guessed
    assert set(values(judge(named))) == {"title"}


def test_a_crash_that_two_processors_printed_into_each_other_is_the_same_as_no_other() -> None:
    other = "CPU: 2 PID: 8 Comm: cp Not tainted 6.1.0 #1\n"
    mixed = judge(OOPS + other + trace())
    assert values(mixed) == {}
    assert mixed.choice.why[0] == "two processors printed at once"
    # where each line says who printed it, nothing is mixed
    lines = [f"[ 1.0][ T9] {line}" for line in (OOPS + trace()).splitlines()]
    told = "\n".join([*lines[:-3], f"[ 1.0][ T8] {other.strip()}", *lines[-3:]])
    assert values(judge(told))


def test_why_a_frame_does_not_count_is_told() -> None:
    frames = (Frame("x", inlined=True), Frame("kfree", 1), Frame("vfree", 1), Frame("demo", 1))
    assert uncounted(frames) == ("inlined", None, "memory", None)


def test_a_version_of_the_signatures_is_made_with_patterns_of_its_own() -> None:
    assert shipped_digest() == PATTERNS, (
        "the patterns below functions/ have changed, and with them signatures: raise VERSION in"
        " cas/findings/signature.py, unless no release had it, and put the new digest there"
    )


def test_a_version_gives_the_same_values_for_ever() -> None:
    assert VERSION == 3
    assert values(judge(OOPS + trace())) == {
        "title": "35eff553203fa452",
        "top 3": "edcc418201eff720",
        "top 5": "c57d9cd18df56591",
        "full": "5ba3e160765cc92f",
    }


def test_a_crash_in_everybodys_code_alone_is_the_same_as_no_other() -> None:
    lone = judge(f"{OOPS}RIP: 0010:_raw_spin_lock+0x1/0x2\nCall Trace:\n kfree+0x1/0x2\n")
    assert lone.where == "_raw_spin_lock+0x1, called from kfree+0x1"
    assert values(lone) == {}
