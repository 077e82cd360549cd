"""What happened and where, from the kernel log alone: one log for each kind of crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.findings import find
from cas.model.dump import Dump
from cas.model.finding import Finding


def stamped(text: str, second: int = 12) -> str:
    lines = enumerate(text.splitlines())
    return "".join(f"[{second:5}.{number:06}] {line}\n" for number, line in lines)


def judge(dmesg: str, arch: str = "x86_64", before: str = "") -> Finding:
    """The verdict on a log.

    :param before: stamped lines of an earlier time
    """
    log = before + stamped(dmesg)
    dump = Dump(Path("vmcore"), "ELF", 1 << 20, arch, osrelease="6.1.0", dmesg=log)
    return find(dump, None, None)


OOPS = """\
{header}
CPU: 3 PID: 4711 Comm: my task/0 Tainted: P           OE      6.1.0 #1
RIP: 0010:demo_read+0x1c/0x40 [demo]
Code: 08 48 89 <48> 8b
Call Trace:
 <TASK>
 ? __die+0x1f/0x70
 ? asm_exc_page_fault+0x22/0x30
 vfs_read+0xa0/0x300
 ksys_read+0x60/0xe0
 do_syscall_64+0x5d/0x90
 entry_SYSCALL_64_after_hwframe+0x6e/0xd8
RIP: 0033:0x47b7a0
 </TASK>
Modules linked in: demo(POE) ext4 [last unloaded: other]
---[ end trace 0000000000000000 ]---
RIP: 0010:demo_read+0x1c/0x40 [demo]
Kernel panic - not syncing: Fatal exception
---[ end Kernel panic - not syncing: Fatal exception ]---
"""

HEADERS = [
    (
        "BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
        "#PF: supervisor read access in kernel mode\nOops: 0000 [#1] PREEMPT SMP PTI",
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    ),
    (
        "BUG: unable to handle kernel NULL pointer dereference at 0000000000000008\n"
        "IP: demo_read+0x1c/0x40 [demo]\nOops: 0000 [#1] SMP",
        "BUG: unable to handle kernel NULL pointer dereference at 0000000000000008",
    ),
    (
        "BUG: unable to handle page fault for address: ffffdead00001000\nOops: 0002 [#2] SMP",
        "BUG: unable to handle page fault for address: ffffdead00001000",
    ),
    (
        "general protection fault, probably for non-canonical address 0xdead000000000122:"
        " 0000 [#1] SMP PTI",
        "general protection fault, probably for non-canonical address 0xdead000000000122",
    ),
    (
        "Oops: general protection fault, maybe for address 0x1234: 0000 [#1] PREEMPT SMP",
        "general protection fault, maybe for address 0x1234",
    ),
    (
        "------------[ cut here ]------------\nkernel BUG at fs/demo/inode.c:321!\n"
        "invalid opcode: 0000 [#1] SMP",
        "kernel BUG at fs/demo/inode.c:321!",
    ),
    (
        "list_add corruption. prev->next should be next (ffff1), but was ffff2. (prev=ffff3).\n"
        "------------[ cut here ]------------\nkernel BUG at lib/list_debug.c:28!\n"
        "invalid opcode: 0000 [#1] SMP",
        "list_add corruption. prev->next should be next (ffff1), but was ffff2. (prev=ffff3)",
    ),
    ("divide error: 0000 [#1] SMP PTI", "divide error"),
    ("double fault: 0000 [#1] SMP PTI", "double fault"),
    (
        "BUG: TASK stack guard page was hit at 00000000f2 (stack is 00000000a1..00000000b2)\n"
        "stack guard page: 0000 [#1] SMP",
        "BUG: TASK stack guard page was hit at 00000000f2 (stack is 00000000a1..00000000b2)",
    ),
    ("invalid opcode: 0000 [#1] SMP", "invalid opcode"),
]


@pytest.mark.parametrize(("header", "what"), HEADERS)
def test_an_oops_is_named_by_its_first_line_and_its_function(header: str, what: str) -> None:
    finding = judge(OOPS.format(header=header))
    assert finding.what == f"{what} in demo_read [demo]"
    assert finding.where == "demo_read+0x1c [demo]"
    assert finding.who == "my task/0, pid 4711, CPU 3"


def test_an_oops_that_went_straight_to_kdump_needs_no_panic_line() -> None:
    log = OOPS.format(header="divide error: 0000 [#1] SMP").partition("Kernel panic")[0]
    assert judge(log).what == "divide error in demo_read [demo]"


def test_the_oops_counts_and_not_the_hung_task_before_it() -> None:
    hung = "INFO: task sync:7 blocked for more than 120 seconds.\nCall Trace:\n schedule+0x1/0x2\n"
    assert judge(hung + OOPS.format(header="divide error: 0000 [#1]")).what.startswith("divide")


def test_of_two_oopses_at_once_the_first_is_the_crash() -> None:
    first = OOPS.format(header="divide error: 0000 [#1]").partition("Kernel panic")[0]
    finding = judge(first + OOPS.format(header="general protection fault: 0000 [#2]"))
    assert finding.what.startswith("divide error")
    assert not any("earlier oops" in step for step in finding.next_steps)


def test_an_oops_that_was_survived_is_mentioned() -> None:
    old = OOPS.format(header="divide error: 0000 [#1]").partition("Kernel panic")[0]
    new = OOPS.format(header="general protection fault: 0000 [#2]")
    finding = judge(new, before=stamped(old, second=3))
    assert finding.what.startswith("general protection fault")
    assert any("earlier oops" in step for step in finding.next_steps)


PANICS = [
    (
        "x86_64",
        "sysrq: Trigger a crash\nKernel panic - not syncing: sysrq triggered crash\n"
        "CPU: 1 PID: 231 Comm: sh Not tainted 6.1.0 #1\nCall Trace:\n dump_stack_lvl+0x44/0x5c\n"
        " panic+0x118/0x2f4\n ? _printk+0x68/0x83\n sysrq_handle_crash+0x16/0x20\n"
        " __handle_sysrq.cold+0x44/0x11c",
        "SysRq: Trigger a crash (deliberate)",
        "sysrq_handle_crash+0x16",
    ),
    (
        "x86_64",
        "SysRq : Trigger a crash\n"
        "BUG: unable to handle kernel NULL pointer dereference at           (null)\n"
        "IP: [<ffffffff814>] sysrq_handle_crash+0x16/0x20\nOops: 0002 [#1] SMP\n"
        "RIP: 0010:[<ffffffff814>]  [<ffffffff814>] sysrq_handle_crash+0x16/0x20\n"
        "Call Trace:\n [<ffffffff815>] ? down+0x12/0x40\n"
        " [<ffffffff814>] __handle_sysrq+0xa2/0x170",
        "SysRq: Trigger a crash (deliberate)",
        "sysrq_handle_crash+0x16",
    ),
    (
        "x86_64",
        "INFO: task cat:62 blocked for more than 120 seconds.\n"
        "      Tainted: G           O       6.1.0 #1\n"
        "task:cat             state:D stack:0     pid:62    ppid:1      flags:0x00004000\n"
        "Call Trace:\n <TASK>\n __schedule+0x2b0/0x6a0\n schedule+0x55/0xa0\n"
        " wait_for_completion+0x80/0x130\n demo_wait+0x12/0x20 [demo]\n vfs_read+0xa0/0x300\n"
        " </TASK>\nKernel panic - not syncing: hung_task: blocked tasks\n"
        "CPU: 0 PID: 20 Comm: khungtaskd Tainted: G           O       6.1.0 #1\nCall Trace:\n"
        " panic+0x118/0x2f4\n watchdog+0x30/0x40\n kthread+0xe0/0x100",
        "task cat:62 blocked for more than 120 seconds in demo_wait [demo]",
        "demo_wait+0x12 [demo]",
    ),
    (
        "x86_64",
        "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [insmod:99]\n"
        "Modules linked in: demo(O+)\nCPU: 1 PID: 99 Comm: insmod Tainted: G           O\n"
        "RIP: 0010:demo_spin+0x5/0x10 [demo]\nCall Trace:\n <TASK>\n demo_init+0x9/0x20 [demo]\n"
        " do_one_initcall+0x50/0x1f0\n </TASK>\n"
        "Kernel panic - not syncing: softlockup: hung tasks\nCall Trace:\n <IRQ>\n panic+0x1/0x2\n",
        "BUG: soft lockup - CPU#1 stuck for 22s! [insmod:99] in demo_spin [demo]",
        "demo_spin+0x5 [demo]",
    ),
    (
        "x86_64",
        "NMI watchdog: Watchdog detected hard LOCKUP on cpu 2\nModules linked in:\n"
        "CPU: 2 PID: 0 Comm: swapper/2 Not tainted 6.1.0 #1\n"
        "RIP: 0010:native_queued_spin_lock_slowpath+0x60/0x2b0\nCall Trace:\n"
        " _raw_spin_lock+0x30/0x40\n demo_irq+0x10/0x20 [demo]\n"
        "Kernel panic - not syncing: Hard LOCKUP\n",
        "Watchdog detected hard LOCKUP on cpu 2 in demo_irq [demo]",
        "native_queued_spin_lock_slowpath+0x60, called from demo_irq+0x10 [demo]",
    ),
    (
        "x86_64",
        "rcu: INFO: rcu_sched self-detected stall on CPU\n"
        "rcu: \t0-....: (20999 ticks this GP) idle=2d4/1/0x4000000000000000\n"
        "CPU: 0 PID: 50 Comm: looper Not tainted 6.1.0 #1\nRIP: 0010:demo_loop+0x9/0x10\n"
        "Call Trace:\n kthread+0xe0/0x100\nKernel panic - not syncing: RCU Stall\n",
        "rcu_sched self-detected stall on CPU in demo_loop",
        "demo_loop+0x9",
    ),
    (
        "x86_64",
        "Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled\n"
        "CPU: 0 PID: 50 Comm: eater Not tainted 6.1.0 #1\nCall Trace:\n panic+0x1/0x2\n"
        " out_of_memory.cold+0x1/0x2\n",
        "Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled",
        None,
    ),
    (
        "x86_64",
        "mce: [Hardware Error]: CPU 1: Machine Check Exception: 5 Bank 4: b200000000070f0f\n"
        "Kernel panic - not syncing: Fatal local machine check\n",
        "Kernel panic - not syncing: Fatal local machine check",
        None,
    ),
    (
        "x86_64",
        "Uhhuh. NMI received for unknown reason 21 on CPU 0.\n"
        "Kernel panic - not syncing: NMI: Not continuing\n",
        "Kernel panic - not syncing: NMI: Not continuing",
        None,
    ),
    (
        "x86_64",
        "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in:"
        " demo_copy+0x90/0x90 [demo]\nCall Trace:\n dump_stack+0x1/0x2\n panic+0x1/0x2\n"
        " __stack_chk_fail+0x10/0x10\n demo_copy+0x90/0x90 [demo]\n",
        "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in:"
        " demo_copy+0x90/0x90 [demo]",
        "demo_copy+0x90 [demo]",
    ),
    (
        "x86_64",
        "WARNING: CPU: 1 PID: 9 at net/core/demo.c:12 demo_send+0x10/0x20 [demo]\n"
        "CPU: 1 PID: 9 Comm: ping Not tainted 6.1.0 #1\nRIP: 0010:demo_send+0x10/0x20 [demo]\n"
        "Kernel panic - not syncing: kernel: panic_on_warn set ...\n",
        "WARNING: CPU: 1 PID: 9 at net/core/demo.c:12 demo_send+0x10/0x20 [demo]",
        "demo_send+0x10 [demo]",
    ),
    (
        "x86_64",
        "BUG: KASAN: slab-use-after-free in demo_poke+0x10/0x20 [demo]\n"
        "CPU: 1 PID: 9 Comm: sh Not tainted 6.1.0 #1\nCall Trace:\n dump_stack_lvl+0x1/0x2\n"
        " print_report+0x1/0x2\n kasan_report+0x1/0x2\n __asan_load8+0x1/0x2\n"
        " demo_poke+0x10/0x20 [demo]\nKernel panic - not syncing: KASAN: panic_on_warn set ...\n",
        "BUG: KASAN: slab-use-after-free in demo_poke+0x10/0x20 [demo]",
        "demo_poke+0x10 [demo]",
    ),
    (
        "x86_64",
        "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n"
        "CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0 #1\nCall Trace:\n panic+0x1/0x2\n"
        " mount_block_root+0x1a0/0x240\n",
        "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"
        " in mount_block_root",
        "mount_block_root+0x1a0",
    ),
    (
        "aarch64",
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000018\n"
        "Mem abort info:\n  ESR = 0x0000000096000004\n"
        "  EC = 0x25: DABT (current EL), IL = 32 bits\n"
        "Internal error: Oops: 0000000096000004 [#1] SMP\nModules linked in: demo(O)\n"
        "CPU: 1 PID: 23 Comm: kworker/1:1 Tainted: G           O       6.1.0 #1\n"
        "pstate: 60000005 (nZCv daif -PAN -UAO)\npc : demo_read+0x1c/0x40 [demo]\n"
        "lr : vfs_read+0xa0/0x300\nCall trace:\n demo_read+0x1c/0x40 [demo]\n"
        " vfs_read+0xa0/0x300\n el0_svc+0x10/0x20\nCode: f9400000 (f9400c21)\n"
        "---[ end trace 0000000000000000 ]---\nKernel panic - not syncing: Oops: Fatal exception\n",
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000018"
        " in demo_read [demo]",
        "demo_read+0x1c [demo]",
    ),
    (
        "ppc64le",
        "BUG: Kernel NULL pointer dereference on read at 0x00000008\n"
        "Faulting instruction address: 0xc008000000f50028\n"
        "Oops: Kernel access of bad area, sig: 11 [#1]\n"
        "LE PAGE_SIZE=64K MMU=Radix SMP NR_CPUS=2048\n"
        "CPU: 5 PID: 77 Comm: cat Tainted: G           O       6.1.0 #1\n"
        "NIP:  c008000000f50028 LR: c0000000004d8a20 CTR: c008000000f50000\n"
        "NIP [c008000000f50028] demo_read+0x28/0x60 [demo]\n"
        "LR [c0000000004d8a20] vfs_read+0xe0/0x390\nCall Trace:\n"
        "[c00000000b7efc30] [c0000000004d8a20] vfs_read+0xe0/0x390\n"
        "[c00000000b7efd40] [c0000000004d9c10] ksys_read+0x80/0x150 (unreliable)\n"
        "---[ end trace 0000000000000000 ]---\nKernel panic - not syncing: Fatal exception\n",
        "BUG: Kernel NULL pointer dereference on read at 0x00000008 in demo_read [demo]",
        "demo_read+0x28 [demo]",
    ),
    (
        "s390x",
        "Unable to handle kernel pointer dereference in virtual kernel address space\n"
        "Failing address: 0000000000000000 TEID: 0000000000000483\n"
        "Fault in home space mode while using kernel ASCE.\nOops: 0004 ilc:2 [#1] SMP\n"
        "CPU: 0 PID: 77 Comm: cat Tainted: G           O       6.1.0 #1\n"
        "Krnl PSW : 0704c00180000000 000003ff80012345 (demo_read+0x16/0x40 [demo])\n"
        "Call Trace:\n [<000003ff80012345>] demo_read+0x16/0x40 [demo]\n"
        "([<000003ff80012341>] demo_read+0x12/0x40 [demo])\n"
        " [<00000000001234ab>] vfs_read+0x9a/0x1b0\n"
        "Kernel panic - not syncing: Fatal exception: panic_on_oops\n",
        "Unable to handle kernel pointer dereference in virtual kernel address space,"
        " address: 0000000000000000 in demo_read [demo]",
        "demo_read+0x16 [demo]",
    ),
]


@pytest.mark.parametrize(("arch", "log", "what", "where"), PANICS)
def test_a_panic_is_named_by_its_cause(arch: str, log: str, what: str, where: str | None) -> None:
    finding = judge(log, arch)
    assert (finding.what, finding.where) == (what, where)


def test_the_blocked_task_is_named_and_who_noticed_it() -> None:
    log = (
        "INFO: task my app:62 blocked for more than 120 seconds.\nCall Trace:\n"
        " schedule+0x1/0x2\n demo_wait+0x1/0x2\n"
        "Kernel panic - not syncing: hung_task: blocked tasks\n"
    )
    assert judge(log).who == "my app, pid 62, blocked"


def test_a_dump_of_a_running_system_is_said_to_be_one() -> None:
    finding = judge("Linux version 6.1.0\nrandom: crng init done")
    assert "running" in finding.what
    assert finding.signature is None
    assert finding.choice is not None
    assert finding.choice.why == ("no crash message",)


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "\n" * 1000,
        "Kernel panic - not syncing: " + "A" * 100_000,
        "BUG: unable to handle page fault for address: " + "f" * 10_000,
        "CPU: 1 PID: 1 Comm: " + " " * 5000,
        "RIP: " + "(" * 4000 + "\nModules linked in: " + "a(" * 2000,
        "Kernel panic - not syncing: Fatal exception\x1b]0;owned\x07\udcff\u202e",
        "Oops: 0000 [#1]\nCall Trace:\n" + " a+0x1/0x2\n" * 5000,
        "INFO: task " + "x:" * 40 + "99999999999 blocked for more than 9 seconds.",
    ],
)
def test_a_hostile_log_gives_a_finding(hostile: str) -> None:
    dump = Dump(Path("vmcore"), "ELF", 0, "x86_64", dmesg=hostile, panic_message=hostile)
    assert find(dump, None, None).what


CALLS = [
    (
        "BUG: kernel NULL pointer dereference, address: 0000000000000000\n"
        "Oops: 0010 [#1] PREEMPT SMP\nRIP: 0010:0x0\nCode: Unable to access opcode bytes.\n"
        "Call Trace:\n <TASK>\n demo_read+0x5/0x10 [demo]\n vfs_read+0x5/0x10\n",
        "demo_read+0x5 [demo], which called 0x0, where no code is",
    ),
    (
        "BUG: unable to handle kernel NULL pointer dereference at           (null)\n"
        "IP: [<          (null)>]           (null)\nOops: 0010 [#1] SMP\n"
        "RIP: 0010:[<0000000000000000>]  [<          (null)>]           (null)\nCall Trace:\n"
        " [<ffffffffa12>] ? demo_guess+0x5/0x10\n [<ffffffffa12>] demo_read+0x5/0x10 [demo]\n",
        "demo_read+0x5 [demo], which called 0x0, where no code is",
    ),
    (
        "BUG: unable to handle kernel NULL pointer dereference at 0000000000000000\n"
        "Oops: 0010 [#1] SMP\nRIP: 0010:          (null)\nCode: Bad RIP value.\n"
        "Call Trace:\n demo_read+0x5/0x10 [demo]\n vfs_read+0x5/0x10\n",
        "demo_read+0x5 [demo], which called 0x0, where no code is",
    ),
    (
        "BUG: unable to handle page fault for address: ffffffffc0b45010\nOops: 0010 [#1] SMP\n"
        "RIP: 0010:0xffffffffc0b45010\nCall Trace:\n demo_read+0x5/0x10 [demo]\n",
        "demo_read+0x5 [demo], which called 0xffffffffc0b45010, where no code is",
    ),
    (
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000\n"
        "Internal error: Oops: 0000000086000004 [#1] SMP\npc : 0x0\n"
        "lr : demo_read+0x20/0x30 [demo]\nCall trace:\n 0x0\n vfs_read+0xc8/0x2a0\n",
        "demo_read+0x20 [demo], which called 0x0, where no code is",
    ),
    (
        "Unable to handle kernel pointer dereference in virtual kernel address space\n"
        "Failing address: 0000000000000000 TEID: 0000000000000483\nOops: 0004 ilc:2 [#1] SMP\n"
        "Krnl PSW : 0704c00180000000 0000000000000000 (0x0)\nCall Trace:\n"
        " [<0000000000000000>] 0x0\n([<000003ff80012341>] demo_read+0x12/0x40 [demo])\n",
        "demo_read+0x12 [demo], which called 0x0, where no code is",
    ),
    (
        "BUG: unable to handle kernel NULL pointer dereference at 0000000000000286\n"
        "Oops: 0010 [#1] SMP\nRIP: 0010:0x286\nCall Trace:\n process_one_work+0x5/0x10\n"
        " worker_thread+0x5/0x10\n",
        "process_one_work+0x5, which called 0x286, where no code is",
    ),
]


@pytest.mark.parametrize(("log", "where"), CALLS)
def test_of_a_call_that_leads_nowhere_the_caller_is_named(log: str, where: str) -> None:
    assert judge(log).where == where


def test_a_return_address_at_a_first_byte_is_not_the_neighbours() -> None:
    log = OOPS.format(header="divide error: 0000 [#1]").replace(
        "RIP: 0010:demo_read+0x1c/0x40", "RIP: 0010:kfree+0x1c/0x40"
    )
    log = log.replace(" vfs_read+0xa0", " neighbour+0x0/0x40\n vfs_read+0xa0")
    assert judge(log).where == "kfree+0x1c [demo], called from vfs_read+0xa0"


def test_of_a_stack_that_overflowed_the_recursion_is_named() -> None:
    round_trip = " bond_event+0x1/0x2\n dev_features+0x1/0x2\n"
    log = (
        "BUG: stack guard page was hit at 00 (stack is 00..01)\n"
        "RIP: 0010:innermost+0x1/0x2\nCall Trace:\n"
        f"{round_trip * 40} rtnl_newlink+0x1/0x2\n do_syscall_64+0x1/0x2\n"
    )
    where = "bond_event+0x1, which recurses, entered from rtnl_newlink+0x1"
    assert judge(log).where == where


def test_the_trace_that_the_verdict_goes_by_is_kept() -> None:
    log = (
        "INFO: task cat:62 blocked for more than 120 seconds.\nCall Trace:\n"
        " schedule+0x1/0x2\n demo_wait+0x1/0x2\n"
        "Kernel panic - not syncing: hung_task: blocked tasks\n"
    )
    assert [frame.function for frame in judge(log).trace] == ["schedule", "demo_wait"]


def test_of_a_data_race_the_access_of_the_reporting_task_counts() -> None:
    log = (
        "BUG: KCSAN: data-race in one / other\n\n"
        "write to 0xffff8880b588efb2 of 2 bytes by task 7 on cpu 0:\n one+0x1/0x2\n\n"
        "write to 0xffff8880b588efb2 of 2 bytes by task 8 on cpu 1:\n other+0x1/0x2\n\n"
        "Reported by Kernel Concurrency Sanitizer on:\n"
        "CPU: 1 PID: 8 Comm: dd Not tainted 5.4.0 #0\n"
    )
    finding = judge(log)
    assert (finding.where, finding.who) == ("other+0x1", "dd, pid 8, CPU 1")


def test_a_protection_fault_is_no_overwrite_unless_its_address_says_so() -> None:
    fault = "general protection fault, probably for non-canonical address 0x{}: 0000 [#1] SMP"
    plain = judge(OOPS.format(header=fault.format("1234567812345678")))
    freed = judge(OOPS.format(header=fault.format("6b6b6b6b6b6b6b73")))
    assert not any("overwritten" in step for step in plain.next_steps)
    assert any("overwritten" in step for step in freed.next_steps)


def test_a_report_of_kasan_is_not_asked_for_again() -> None:
    steps = judge("BUG: KASAN: slab-use-after-free in demo_poke+0x10/0x20 [demo]\n").next_steps
    assert not any("reproduce with" in step for step in steps)
    assert any("who freed it" in step for step in steps)


def test_without_a_log_it_is_not_said_to_be_read_from_the_log() -> None:
    dump = Dump(Path("vmcore"), "ELF", 0, "x86_64", panic_message="kernel BUG at a.c:1!")
    confidence = find(dump, None, None).confidence
    assert "no kernel log" in confidence
    assert "read from the kernel log" not in confidence


STALL = """\
rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
rcu: \t2-....: (1 GPs behind) idle=9f9/1/0x4000000000000002 softirq=2116/2117 fqs=0
rcu: \t(detected by 0, t=10502 jiffies, g=275385, q=3760 ncpus=2)
CPU: 0 PID: 7 Comm: innocent Not tainted 6.1.0 #1
Call Trace:
 innocent_work+0x1/0x2
"""


def test_of_a_stall_the_stalled_processor_is_told_and_never_the_one_that_noticed() -> None:
    stalled = (
        "NMI backtrace for cpu 2\nCPU: 2 PID: 8 Comm: stuck Not tainted 6.1.0 #1\n"
        "RIP: 0010:demo_spin+0x5/0x10\nCall Trace:\n demo_work+0x1/0x2\n"
    )
    assert judge(STALL + stalled).where == "demo_spin+0x5"
    assert judge(STALL + stalled).who == "stuck, pid 8, CPU 2"
    assert judge(STALL).where is None


SLAB = (
    "BUG kmalloc-64 (Not tainted): {}\n"
    "INFO: 0xffff8881-0xffff8882. First byte 0x6a instead of 0x6b\n"
    "INFO: Allocated in demo_open+0x20/0x40 [demo] age=5 cpu=1 pid=9\n"
    "\tkmem_cache_alloc+0x1/0x2\n\tdemo_open+0x20/0x40 [demo]\n"
    "INFO: Freed in kfree_sensitive+0x1/0x2 age=3 cpu=0 pid=7\n"
    "\tkfree_sensitive+0x1/0x2\n\tdemo_close+0x8/0x40 [demo]\n"
    "INFO: Slab 0xffffea0004 objects=21 used=21\nINFO: Object 0xffff8881 @offset=64\n"
    "CPU: 1 PID: 9 Comm: dd Tainted: G    B  6.1.0 #1\nCall Trace:\n dump_stack+0x1/0x2\n"
    " check_bytes_and_report+0x1/0x2\n ___slab_alloc+0x1/0x2\n finder+0x5/0x10\n"
)


@pytest.mark.parametrize(
    ("said", "what", "where"),
    [
        # who wrote to freed memory is likely who had it before; who wrote behind it, who has it
        ("Poison overwritten", "freed by demo_close [demo]", "demo_close+0x8 [demo] freed"),
        ("Redzone overwritten", "allocated by demo_open [demo]", "demo_open+0x20 [demo] allocated"),
        ("Right Redzone overwritten", "allocated by demo_open [demo]",
         "demo_open+0x20 [demo] allocated"),
    ],
)  # fmt: skip
def test_of_overwritten_memory_who_had_it_is_told_and_not_who_found_it(
    said: str, what: str, where: str
) -> None:
    finding = judge(SLAB.format(said))
    assert finding.what == f"BUG kmalloc-64 (Not tainted): {said}, memory {what}"
    assert finding.where == f"{where} the memory; who wrote to it is not known"
    assert finding.title == f"slab kmalloc-64: {said}, {what.replace('memory ', '')}"
    assert finding.who == "dd, pid 9, CPU 1"
    assert finding.choice.level == "low"


def test_nobody_is_blamed_for_overwritten_memory_that_no_owner_is_told_of() -> None:
    log = "".join(line for line in SLAB.format("Poison overwritten").splitlines(keepends=True)
                  if not line.startswith(("INFO: A", "INFO: F", "\t")))  # fmt: skip
    assert judge(log).where is None
    # a double free is found where it happens
    assert judge(log.replace("Poison overwritten", "Object already free")).where == (
        "___slab_alloc+0x1, called from finder+0x5"
    )


def test_where_says_what_a_function_is_that_no_crash_is_the_fault_of() -> None:
    nmi = "Kernel panic - not syncing: NMI: Not continuing\nCall Trace:\n <NMI>\n panic+0x1/0x2\n"
    finding = judge(f"{nmi} nmi+0x1/0x2\n </NMI>\n demo_read+0x5/0x10 [demo]\n")
    assert finding.where == "demo_read+0x5 [demo] (what the machine was doing)"
    assert finding.title == "NMI while in demo_read [demo]"
    oom = "Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled\n"
    finding = judge(f"{oom}Call Trace:\n panic+0x1/0x2\n demo_read+0x5/0x10 [demo]\n")
    assert finding.where == "demo_read+0x5 [demo] (who asked for memory, not who has it)"
    assert finding.title == "out of memory"


def test_a_cut_announcement_has_no_error_code() -> None:
    assert judge("general protection fault: 0000\n").what == "general protection fault"


def test_where_the_processor_was_stopped_is_told_also_if_that_only_carries_others() -> None:
    finding = judge(
        "BUG: kernel NULL pointer dereference, address: 0000000000000008\nOops: 0000 [#1] SMP\n"
        "RIP: 0010:process_one_work+0xba/0x31a\nCall Trace:\n worker_thread+0x1/0x2\n"
    )
    assert finding.where == "process_one_work+0xba"
    assert finding.choice.level == "low"
    assert finding.signatures == ()
