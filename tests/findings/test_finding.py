"""The verdict from a backtrace, a kernel log and what is known of the dump."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cas.choices import Cause
from cas.findings import find
from cas.klog.taint import LETTERS, describe_kmods, describe_taint
from cas.model.answer import KMODS, FirstAnswer, Kmod, Task
from cas.model.code import Frame
from cas.model.dump import Dump, Missing
from cas.model.finding import Finding
from cas.model.kernel import Kernel, Match

from installed import needs

LOG = """\
[    9.000000] BUG: kernel NULL pointer dereference, address: 0000000000000018
[    9.000001] Oops: 0000 [#1] SMP
[    9.000002] CPU: 1 PID: 23 Comm: kworker/1:1 Tainted: G           O       6.1.0 #1
[    9.000003] RIP: 0010:sum_entries+0x13/0x2a [demo]
[    9.000004] Call Trace:
[    9.000005]  audit_ledger+0x18/0x2c [demo]
[    9.000006]  audit_work+0x10/0xf0 [demo]
[    9.000007]  process_one_work+0x153/0x1e9
[    9.000008]  kthread+0xa5/0xad
[    9.000009] Modules linked in: demo(O) ext4
[    9.000010] ---[ end trace 0000000000000000 ]---
[    9.000011] Kernel panic - not syncing: Fatal exception
"""
HUNG = """\
[  200.000000] INFO: task cat:62 blocked for more than 120 seconds.
[  200.000001] Call Trace:
[  200.000002]  schedule+0x55/0xa0
[  200.000003]  audit_ledger+0x18/0x2c [demo]
[  200.000004] Kernel panic - not syncing: hung_task: blocked tasks
"""
DUMP = Dump(Path("vmcore"), "ELF", 1 << 20, "x86_64", osrelease="6.1.0", build_id="ab" * 20)
LOGGED = replace(DUMP, dmesg=LOG)
MATCH = Match(Kernel("6.1.0", "x86_64", Path("k.rpm"), "vmlinux"), "build-id", "equal")
BACKTRACE = (
    Frame("delay_tsc", 0x30),
    Frame("panic", 0x28B),
    Frame("oops_end", 0xAD),
    Frame("some_new_helper", 0x1),
    Frame("do_user_addr_fault", inlined=True),
    Frame("exc_page_fault", 0x38F),
    Frame("asm_exc_page_fault", 0x22),
    Frame("balance", kmod="demo", file="demo.c", line=62, inlined=True),
    Frame("sum_entries", 0x13, kmod="demo", file="demo.c", line=76),
    Frame("audit_ledger.constprop.0", 0x18, kmod="demo"),
    Frame("audit_work", 0x10, kmod="demo"),
    Frame("process_one_work", 0x153),
    Frame("kthread", 0xA5),
)
ANSWER = FirstAnswer(
    panic_message="Kernel panic - not syncing: Fatal exception",
    panic_task=Task(23, "kworker/1:1", cpu=1),
    backtrace=BACKTRACE,
    kmods=(Kmod("demo", taint="O"), Kmod("ext4")),
    taint="GDO",
    uptime_s=93784.5,
    crash_time=datetime(2026, 11, 21, 8, 41, 20, tzinfo=UTC),
)


def test_the_innermost_inlined_function_is_where_it_happened() -> None:
    finding = find(LOGGED, ANSWER, MATCH)
    assert finding.where == "balance [demo] at demo.c:62, inlined in sum_entries+0x13"
    assert finding.what.endswith("address: 0000000000000018 in sum_entries [demo]")


def test_where_names_the_function_and_not_what_is_inlined_where_the_processor_was() -> None:
    stuck = "[ 9.0] watchdog: BUG: soft lockup - CPU#1 stuck for 23s! [user:49]\n"

    def where(*frames: Frame) -> str | None:
        answer = FirstAnswer(
            backtrace=(
                Frame("panic", 1),
                Frame("watchdog_timer_fn", 1),
                Frame("asm_sysvec_apic_timer_interrupt", 0x16),
                *frames,
            )
        )
        return find(replace(DUMP, dmesg=stuck), answer, MATCH).where

    relax = Frame("cpu_relax", file="processor.h", line=19, inlined=True)
    assert where(
        relax,
        Frame("queued_spin_lock_slowpath", 0x5D),
        Frame("spin_lock", kmod="demo", inlined=True),
        Frame("look_up", 0xC, kmod="demo"),
    ) == ("queued_spin_lock_slowpath+0x5d, called from look_up+0xc [demo]")
    assert where(relax, Frame("poll_status", 0xB, kmod="demo")) == "poll_status+0xb [demo]"


def test_a_backtrace_that_ends_where_no_code_is_contradicts_nobody() -> None:
    log = (
        "[ 9.0] BUG: kernel NULL pointer dereference, address: 0000000000000000\n"
        "[ 9.0] Oops: 0010 [#1] SMP\n[ 9.0] RIP: 0010:0x0\n"
        "[ 9.0] Call Trace:\n[ 9.0]  settle+0x9/0xc [demo]\n"
    )
    answer = replace(ANSWER, backtrace=BACKTRACE[:7])
    choice = find(replace(DUMP, dmesg=log), answer, MATCH).choice
    assert choice
    assert choice.why == ("only the stack tells who called where no code is",)


def test_the_verdict_points_at_its_frames_and_says_no_more_of_them_than_it_knows() -> None:
    """The innermost inlined function, and what the last one is called."""

    def pointed_at(dump: Dump, answer: FirstAnswer | None) -> tuple[list[str], str]:
        culprit = find(dump, answer, MATCH).culprit
        assert culprit
        return [frame.function for frame in culprit.frames], culprit.role

    assert pointed_at(LOGGED, ANSWER) == (["balance", "sum_entries"], "at fault")
    doubtful = replace(ANSWER, backtrace=(Frame("some_other", 1), Frame("do_idle", 1)))
    assert pointed_at(LOGGED, doubtful) == (["sum_entries"], "likely at fault")
    assert pointed_at(replace(DUMP, dmesg=HUNG), None) == (["audit_ledger"], "waits here")
    asked = "[    5.000000] sysrq: Trigger a crash\n" + LOG.replace(
        "sum_entries", "sysrq_handle_crash"
    )
    assert pointed_at(replace(DUMP, dmesg=asked), None)[1] == "crashed on request"
    assert find(DUMP, None, MATCH).culprit is None


def test_a_dump_of_which_nothing_can_be_read_is_no_running_system() -> None:
    cut = replace(DUMP, missing=(Missing("cut", 1, Cause.CUT),))
    assert find(cut, None, None).title == "unreadable dump"
    silent = replace(cut, dmesg="[    1.000000] Linux version 6.1.0")
    assert find(silent, None, None).title == "damaged dump without a crash"
    assert find(replace(silent, missing=()), None, None).title == "running system"


def test_unknown_functions_of_the_exception_path_are_passed_over() -> None:
    finding = find(DUMP, ANSWER, MATCH)
    assert finding.where is not None
    assert finding.where.startswith("balance")


def test_a_page_fault_of_user_space_below_the_fault_is_not_taken_for_the_fault() -> None:
    stack = (Frame("read_folio", 1), Frame("handle_mm_fault", 1), Frame("asm_exc_page_fault", 1))
    answer = replace(ANSWER, backtrace=stack, dmesg=LOG.replace("sum_entries", "read_folio"))
    assert find(DUMP, answer, MATCH).where == "read_folio+0x1"


def test_crash_time_and_uptime_are_told_in_words() -> None:
    assert find(LOGGED, ANSWER, MATCH).when == "2026-11-21 08:41:20 UTC, 1 d 2 h after boot"


def test_without_any_time_nothing_is_said_of_it() -> None:
    assert find(DUMP, None, None).when is None


def levels(finding: Finding) -> tuple[str, str]:
    assert finding.choice
    assert finding.data
    return finding.choice.level, finding.data.level


def test_an_equal_build_id_and_one_function_in_both_sources_make_sure() -> None:
    assert find(LOGGED, ANSWER, MATCH).confidence == (
        "choice high: the kernel names sum_entries, backtrace and kernel log agree;"
        " data high: kernel by build-id, dump of full length"
    )


def test_a_backtrace_that_contradicts_the_log_lowers_confidence() -> None:
    answer = replace(ANSWER, backtrace=(Frame("some_other", 1), Frame("do_idle", 1)))
    finding = find(LOGGED, answer, MATCH)
    assert levels(finding) == ("medium", "high")
    assert "disagree (the log says sum_entries)" in finding.confidence
    # what happened is from the log, so where must be, too
    assert finding.where == "sum_entries+0x13 [demo]"


def test_the_stack_of_who_only_noticed_counts_for_nothing() -> None:
    stack = (Frame("panic", 1), Frame("watchdog", 1), Frame("audit_ledger", 9), Frame("kthread", 1))
    noticed = FirstAnswer(panic_task=Task(30, "khungtaskd", cpu=0), backtrace=stack, dmesg=HUNG)
    finding = find(DUMP, noticed, MATCH)
    assert finding.where == "audit_ledger+0x18 [demo]"
    assert finding.who == "cat, pid 62, blocked; noticed by khungtaskd, pid 30, CPU 0"


def test_a_damaged_dump_lowers_confidence_and_is_asked_for_again() -> None:
    damaged = replace(
        LOGGED, missing=(Missing("declares 8.0 GiB, data ends at 3.2 GiB", cause=Cause.CUT),)
    )
    finding = find(damaged, ANSWER, MATCH)
    assert levels(finding) == ("high", "medium")
    assert finding.next_steps[0] == "ask for the dump again: declares 8.0 GiB, data ends at 3.2 GiB"


def test_nothing_is_made_of_the_silence_of_a_damaged_dump() -> None:
    silent = replace(DUMP, dmesg="[    1.000000] hello\n")
    assert any("hypervisor" in step for step in find(silent, None, MATCH).next_steps)
    cut = replace(silent, missing=(Missing("declares 8.0 GiB", cause=Cause.CUT),))
    finding = find(cut, None, MATCH)
    assert not any("hypervisor" in step for step in finding.next_steps)
    assert "was running" not in finding.what


def test_without_a_kernel_the_package_to_get_is_named() -> None:
    finding = find(LOGGED, None, None)
    assert levels(finding) == ("high", "low")
    assert f"6.1.0 (x86_64), build-id {DUMP.build_id}" in finding.next_steps[0]


def test_a_foreign_kmod_in_the_backtrace_is_what_to_ask_about_first() -> None:
    steps = find(LOGGED, ANSWER, MATCH).next_steps
    assert "demo" in steps[0]
    assert "vendor" in steps[0]


def test_a_poisoned_address_is_read_as_freed_memory() -> None:
    log = LOG.replace(
        "BUG: kernel NULL pointer dereference, address: 0000000000000018",
        "BUG: unable to handle page fault for address: 6b6b6b6b6b6b6b83",
    )
    steps = find(replace(DUMP, dmesg=log), None, MATCH).next_steps
    assert any("slub_debug" in step for step in steps)


def test_a_message_without_a_log_still_says_what_happened() -> None:
    dump = replace(DUMP, panic_message="Kernel panic - not syncing: sysrq triggered crash")
    finding = find(dump, None, None)
    assert finding.what == "Kernel panic - not syncing: sysrq triggered crash (deliberate)"


def test_the_log_gives_the_same_signature_as_the_backtrace() -> None:
    assert find(LOGGED, ANSWER, MATCH).signature == find(LOGGED, None, None).signature


def test_another_boot_and_another_build_give_the_same_signature() -> None:
    moved = tuple(
        replace(frame, pc=0xFFFFFFFFC0000000, line=1, offset=frame.offset and frame.offset + 16)
        for frame in BACKTRACE
        if frame.function != "balance"
    )
    here, there = find(DUMP, ANSWER, MATCH), find(DUMP, replace(ANSWER, backtrace=moved), MATCH)
    assert here.signature == there.signature
    assert re.fullmatch(r"[0-9a-f]{16}", here.signature or "")


def test_another_function_gives_another_signature() -> None:
    other = tuple(
        replace(frame, function="other") if frame.function == "sum_entries" else frame
        for frame in BACKTRACE
    )
    assert (
        find(DUMP, ANSWER, MATCH).signature
        != find(DUMP, replace(ANSWER, backtrace=other), MATCH).signature
    )


def test_another_kind_of_crash_in_the_same_function_gives_another_signature() -> None:
    other = LOG.replace(
        "BUG: kernel NULL pointer dereference, address: 0000000000000018", "divide error: 0000 [#1]"
    )
    assert (
        find(LOGGED, None, None).signature != find(replace(DUMP, dmesg=other), None, None).signature
    )


def test_how_the_function_came_to_run_does_not_change_the_signature() -> None:
    other = LOG.replace("process_one_work", "rescuer_thread").replace("kthread", "ret_from_fork")
    assert (
        find(LOGGED, None, None).signature == find(replace(DUMP, dmesg=other), None, None).signature
    )


@pytest.mark.parametrize("letter", sorted(LETTERS))
def test_every_taint_letter_has_a_meaning(letter: str) -> None:
    assert describe_taint(letter) == f"{letter}: {LETTERS[letter]}"


@pytest.mark.parametrize(
    ("letters", "said"),
    [(None, "unknown"), ("", "not tainted"), ("G", "not tainted"), ("Z", "Z: Z is unknown")],
)
def test_taint_without_a_known_letter(letters: str | None, said: str) -> None:
    assert describe_taint(letters) == said


def test_kmods_from_elsewhere_are_named_and_the_others_counted() -> None:
    kmods = (Kmod("nvidia", taint="POE"), Kmod("ext4"), Kmod("demo", taint="O"))
    assert describe_kmods(kmods) == "nvidia (POE), demo (O); 3 loaded"


def test_kmods_that_cannot_be_read_are_not_said_to_be_none() -> None:
    lost = replace(ANSWER, kmods=(), problems=(f"{KMODS}: memory at 0xffff cannot be read",))
    assert find(DUMP, lost, None).kmods == "unknown"
    assert find(DUMP, replace(lost, problems=()), None).kmods == "none loaded"


def test_kmods_of_the_distribution_are_only_counted() -> None:
    assert describe_kmods((Kmod("ext4"),)).startswith("1 loaded, none of them")


def test_the_shipped_dump_is_a_null_pointer_in_cas_oops(vmcore: Path, tmp_path: Path) -> None:
    log = tmp_path / "dmesg"
    subprocess.run([needs("makedumpfile"), "--dump-dmesg", vmcore, log], check=True)
    finding = find(replace(DUMP, dmesg=log.read_text(errors="surrogateescape")), None, None)
    assert re.fullmatch(
        r"BUG: kernel NULL pointer dereference, address: 0{14}18 in cas_sum_entries \[cas_oops\]",
        finding.what,
    )
    assert finding.where is not None
    assert finding.where.startswith("cas_sum_entries+0x")
    assert finding.who is not None
    assert finding.who.startswith("kworker/1:")
    assert "cas_oops (O)" in finding.kmods
    assert finding.taint.startswith("O: ")
