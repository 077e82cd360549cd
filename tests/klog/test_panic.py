"""Which line of the kernel log announces the crash."""

from __future__ import annotations

import pytest

from cas.panic import panic_message

OOPS = (
    "BUG: kernel NULL pointer dereference, address: 0000000000000018",
    "#PF: supervisor read access in kernel mode",
    "Oops: 0000 [#1] PREEMPT SMP",
    "RIP: 0010:f+0x1/0x2 [m]",
    "---[ end trace 0000000000000000 ]---",
)
PANIC = "Kernel panic - not syncing: "


def log(*lines: str) -> str:
    return "".join(f"[{at:5}.000000] {line}\n" for at, line in enumerate(lines))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((*OOPS, PANIC + "Fatal exception"), OOPS[0]),
        (OOPS, OOPS[0]),
        (("kernel BUG at fs/x.c:1!", "invalid opcode: 0000 [#1] SMP"), "kernel BUG at fs/x.c:1!"),
        (("sysrq: Trigger a crash", PANIC + "sysrq triggered crash"), "sysrq: Trigger a crash"),
        (("SysRq : Trigger a crash", *OOPS), "SysRq : Trigger a crash"),
        (
            (
                "INFO: task a:1 blocked for more than 120 seconds.",
                PANIC + "hung_task: blocked tasks",
            ),
            "INFO: task a:1 blocked for more than 120 seconds.",
        ),
        (
            (
                "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [a:1]",
                PANIC + "softlockup: hung tasks",
            ),
            "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [a:1]",
        ),
        (
            ("general protection fault, probably for non-canonical address 0x1: 0000 [#1] SMP",),
            "general protection fault, probably for non-canonical address 0x1: 0000 [#1] SMP",
        ),
        (
            ("Unable to handle kernel paging request at virtual address 1", "Internal error: Oops"),
            "Unable to handle kernel paging request at virtual address 1",
        ),
        (("divide error: 0000 [#1] SMP PTI",), "divide error: 0000 [#1] SMP PTI"),
        (
            ("WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2", PANIC + "panic_on_warn set ..."),
            "WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2",
        ),
        ((PANIC + "panic_on_warn set ...",), PANIC + "panic_on_warn set ..."),
    ],
)
def test_cause_announces_the_crash(lines: tuple[str, ...], expected: str) -> None:
    assert panic_message(log("Linux version 6.1.0", *lines, "Rebooting")) == expected


def test_panic_with_a_reason_of_its_own_announces_itself() -> None:
    reason = PANIC + "VFS: Unable to mount root fs on unknown-block(0,0)"
    assert panic_message(log(*OOPS, "hours later", reason)) == reason


def test_last_of_two_oopses_is_the_crash() -> None:
    second = "BUG: unable to handle page fault for address: ffff"
    assert panic_message(log(*OOPS, second, *OOPS[1:])) == second


def test_what_a_kernel_says_while_it_panics_is_not_the_cause() -> None:
    lines = (*OOPS, PANIC + "Fatal exception", "BUG: scheduling while atomic: a/1/0x2")
    assert panic_message(log(*lines)) == OOPS[0]


def test_kernel_that_only_warned_did_not_crash() -> None:
    assert panic_message(log("WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2")) is None


def test_stamps_with_a_caller_are_taken_off() -> None:
    assert panic_message("[    5.1][  T12] kernel BUG at a.c:1!\n") == "kernel BUG at a.c:1!"
