"""Which of several events was the crash."""

from __future__ import annotations

import time

import pytest

from cas.choices import Kind
from cas.klog.choice import choose
from cas.klog.events import events_of, read_report
from cas.klog.lines import Log
from cas.klog.wordings import ANNOUNCEMENTS_LIMIT, announcements

OOPS = (
    "BUG: kernel NULL pointer dereference, address: 0000000000000018",
    "Oops: 0000 [#1] PREEMPT SMP",
    "CPU: 1 PID: {pid} Comm: x Not tainted 6.1.0 #1",
    "RIP: 0010:f+0x1/0x2 [m]",
)
WARNING = "WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2"
PANIC = "Kernel panic - not syncing: "


def log(*parts: tuple[float, str]) -> Log:
    """Lines with stamps: each part begins at a second, and takes a millisecond a line."""
    text = ""
    for second, lines in parts:
        for number, line in enumerate(lines.split("\n")):
            text += f"[{second + number / 1000:12.6f}] {line}\n"
    return Log(text)


def oops(pid: int = 7) -> str:
    return "\n".join(OOPS).format(pid=pid)


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        # a panic with a reason of its own, long after an oops and at once behind a report
        (((1, oops()), (7200, PANIC + "VFS: Unable to mount root fs")), Kind.PANIC),
        (((1, WARNING), (1.1, PANIC + "controller lockup detected")), Kind.PANIC),
        # second-hand panics, with and without their report
        (((1, oops()), (1.1, PANIC + "Fatal exception")), Kind.NULL_DEREFERENCE),
        (((1, oops()), (7200, PANIC + "Fatal exception")), Kind.OOPS),
        (((1, WARNING), (1.1, PANIC + "panic_on_warn set ...")), Kind.WARNING),
        (((1, oops()), (7200, PANIC + "panic_on_warn set ...")), Kind.WARNING),
        (((1, "BUG: scheduling while atomic: a/1/0x2"), (1.1, PANIC + "scheduling while atomic")),
         Kind.WARNING),
        # init
        (((1, oops(pid=1)), (1.1, PANIC + "Attempted to kill init! exitcode=0x0000000b")),
         Kind.NULL_DEREFERENCE),
        (((1, oops(pid=7)), (1.1, PANIC + "Attempted to kill init! exitcode=0x00000009")),
         Kind.PANIC),
        # cascades
        (((1, "BUG: KASAN: use-after-free in f+0x1/0x2"), (1.5, oops())), Kind.MEMORY_ERROR),
        (((1, "BUG: KASAN: use-after-free in f+0x1/0x2"), (9, oops())), Kind.NULL_DEREFERENCE),
        (((1, "INFO: task a:1 blocked for more than 120 seconds."), (1.1, oops())),
         Kind.NULL_DEREFERENCE),
        (((1, "watchdog: BUG: soft lockup - CPU#2 stuck for 23s! [a:1]"),
          (90, "sysrq: Trigger a crash"), (90.1, PANIC + "sysrq triggered crash")), Kind.SYSRQ),
        # without a panic
        (((1, oops()), (9, "Rebooting")), Kind.NULL_DEREFERENCE),
        (((1, WARNING), (9, "systemd: Started Cleanup")), Kind.WARNING),
        (((1, WARNING), (7200, "systemd: Started Cleanup")), Kind.NONE),
        # what a kernel says while it panics
        (((1, PANIC + "x: y"), (2, oops())), Kind.PANIC),
    ],
)  # fmt: skip
def test_the_crash_is_chosen(parts: tuple[tuple[float, str], ...], kind: Kind) -> None:
    assert choose(log(*parts)).crash.kind is kind


def test_what_was_survived_is_kept() -> None:
    chosen = choose(log((1, oops()), (50, WARNING), (7200, PANIC + "VFS: no root")))
    assert [event.kind for event in chosen.earlier] == [
        Kind.NULL_DEREFERENCE,
        Kind.WARNING,
    ]


def test_of_hung_tasks_the_longest_is_the_crash_and_the_others_are_counted() -> None:
    hung = "INFO: task {}:{} blocked for more than {} seconds.\nCall Trace:\n f+0x1/0x2"
    tasks = ("a", 1, 120), ("b", 2, 241), ("b", 2, 120), ("c", 3, 120)
    chosen = choose(
        log((1, "\n".join(hung.format(*task) for task in tasks)), (1.5, PANIC + "hung_task: x"))
    )
    assert chosen.crash.about is not None
    assert chosen.crash.about.comm == "b"
    assert [event.about and event.about.comm for event in chosen.same] == ["a", "c"]


def test_without_stamps_neighbours_are_one_disaster_and_others_are_not() -> None:
    between = "usb 1-1: new device\n" * 100
    assert choose(Log(f"BUG: KASAN: x in f+0x1/0x2\n{oops()}")).crash.kind is Kind.MEMORY_ERROR
    assert choose(Log(f"{WARNING}\n{between}{oops()}")).crash.kind is Kind.NULL_DEREFERENCE


def test_reports_that_two_tasks_print_at_once_are_taken_apart_by_their_callers() -> None:
    text = ""
    for number, line in enumerate(oops().split("\n")):
        text += f"[    1.{number:06}][   T7] {line}\n[    1.{number:06}][   T8] {line}\n"
    assert [event.caller for event in events_of(Log(text))] == ["T7", "T8"]


@pytest.mark.parametrize(
    "line",
    [
        "[    1.000000] usb 1-1: a line of a kernel log that is as long as most of them are",
        "[    1.000000] BUG: unable to handle kernel [#1] WARNING: INFO: general protection fault",
        "[    1.000000] Kernel panic - not syncing: x",
        "[    1.000000] INFO: task " + "x:" * 30 + "1 blocked for more than 120 seconds.",
    ],
)
def test_a_long_log_is_read_in_a_moment(line: str) -> None:
    log = Log(f"{line}\n" * ((1 << 20) // len(line)))
    begun = time.process_time()
    choose(log)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "line", ["BUG: soft lockup - CPU#3 stuck for 22s! [x:1]", "Oops: 0000 [#1]"]
)
def test_of_a_flood_only_the_newest_lines_are_read(line: str) -> None:
    log = Log(f"{line}\n" * 300_000)
    begun = time.process_time()
    assert len(announcements(log)) == ANNOUNCEMENTS_LIMIT
    assert time.process_time() - begun < 1


def test_an_oops_whose_lines_another_processors_oops_cuts_off_is_still_the_first() -> None:
    lines = f"{OOPS[0]}\nOops: 0000 [#1] SMP\nPANIC: double fault, error_code: 0x0\n"
    assert choose(Log(lines)).crash.kind is Kind.NULL_DEREFERENCE


def test_two_faults_that_are_announced_at_once_are_not_one_oops_of_the_second() -> None:
    other = "BUG: unable to handle page fault for address: ffff8880deadbeef"
    log = Log("\n".join((OOPS[0], other, *OOPS[1:])))
    first, second = events_of(log)
    assert (first.kind, second.kind) == (Kind.NULL_DEREFERENCE, Kind.PAGE_FAULT)
    assert (read_report(log, first).traces, len(read_report(log, second).traces)) == ((), 1)


def test_a_task_with_a_newline_in_its_name_is_hung_too() -> None:
    lines = "[ 1.000001] INFO: task a\n[ 1.000001] b:7 blocked for more than 143 seconds.\n"
    about = choose(Log(lines)).crash.about
    assert about is not None
    assert about.pid == 7


def test_of_a_hung_task_whose_last_trace_is_cut_an_earlier_one_is_read() -> None:
    told = "[{0}.0] INFO: task dd:9 blocked for more than {1} seconds.\n"
    log = Log(f"{told.format(200, 120)}[200.0] demo_wait+0x1/0x2\n{told.format(320, 240)}")
    crash = choose(log).crash
    assert (crash.seconds, crash.uptime_s) == (120, 200.0)


def test_a_headline_without_a_trace_has_that_of_the_warning_behind_it() -> None:
    log = Log(
        "[1.0] BUG: Dentry 00000{i=78,n=/}  still in use (2) [unmount of demo demo]\n"
        "[1.0] WARNING: CPU: 1 PID: 9 at fs/dcache.c:1536 umount_check+0xc8/0xf0\n"
        "[1.0] Call Trace:\n[1.0]  demo_umount+0x1/0x2\n"
    )
    crash = choose(log).crash
    assert crash.message.startswith("BUG: Dentry")
    assert crash.named is not None
    assert crash.end == len(log)


def test_a_stack_that_was_written_to_is_told_by_who_wrote() -> None:
    report = "[1.0] BUG: KASAN: out-of-bounds in demo_write+0x1/0x2\n"
    for said in ("corrupted stack end detected inside scheduler", "stack-protector: Kernel stack"):
        log = Log(f"{report}[1.1] Kernel panic - not syncing: {said}\n")
        assert choose(log).crash.kind is Kind.MEMORY_ERROR
