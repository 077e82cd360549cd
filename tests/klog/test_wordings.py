"""With which words kernels announce trouble, and what each means."""

from __future__ import annotations

import pytest

from cas.choices import Kind
from cas.klog.events import events_of, read_report
from cas.klog.lines import Log
from cas.klog.wordings import Weight, reason

WORDINGS = [
    # x86
    ("BUG: kernel NULL pointer dereference, address: 0000000000000008", Kind.NULL_DEREFERENCE),
    ("BUG: unable to handle kernel NULL pointer dereference at 08", Kind.NULL_DEREFERENCE),
    ("BUG: unable to handle page fault for address: ffffdead00001000", Kind.PAGE_FAULT),
    ("BUG: unable to handle kernel paging request at ffffdead00001000", Kind.PAGE_FAULT),
    (
        "Oops: general protection fault, maybe for address 0x1: 0000 [#1]",
        Kind.PROTECTION_FAULT,
    ),
    ("kernel BUG at fs/demo/inode.c:321!", Kind.BUG_ON),
    ("divide error: 0000 [#1] SMP", Kind.DIVIDE_ERROR),
    ("traps: PANIC: double fault, error_code: 0x0", Kind.DOUBLE_FAULT),
    ("PANIC: double fault, error_code: 0x0", Kind.DOUBLE_FAULT),
    ("BUG: stack guard page was hit at 00 (stack is 00..01)", Kind.STACK_OVERFLOW),
    ("stack segment: 0000 [#1] SMP", Kind.OOPS),
    ("invalid opcode: 0000 [#1] SMP", Kind.OOPS),
    ("Oops: 0000 [1] SMP", Kind.OOPS),
    # arm, arm64
    (
        "Unable to handle kernel paging request at virtual address dead00000108",
        Kind.PAGE_FAULT,
    ),
    ("Internal error: Oops - undefined instruction: 0 [#1] SMP ARM", Kind.OOPS),
    ("Unhandled fault: imprecise external abort (0x1c06) at 0x76f0", Kind.PAGE_FAULT),
    ("Bad mode in Error handler detected on CPU0, code 0xbf000000", Kind.OOPS),
    ("Insufficient stack space to handle exception!", Kind.STACK_OVERFLOW),
    ("SError Interrupt on CPU12, code 0x00000000be000411 -- SError", Kind.MACHINE_CHECK),
    # powerpc, s390, riscv, mips, loongarch
    ("BUG: Unable to handle kernel data access on read at 0x5deadbeef0", Kind.PAGE_FAULT),
    ("BUG: Kernel NULL pointer dereference on read at 0x00000008", Kind.NULL_DEREFERENCE),
    ("Oops: Kernel access of bad area, sig: 11 [#1]", Kind.OOPS),
    ("Oops: Machine check, sig: 7 [#1]", Kind.MACHINE_CHECK),
    ("illegal operation: 0001 ilc:1 [#1] SMP", Kind.OOPS),
    ("Oops [#1]", Kind.OOPS),
    ("Kernel bug detected[#1]:", Kind.BUG_ON),
    (
        "CPU 3 Unable to handle kernel paging request at virtual address 9001deadbeef, era == 9",
        Kind.PAGE_FAULT,
    ),
    # tasks and processors that stand still
    ("INFO: task kworker/u16:2:88 blocked for more than 120 seconds.", Kind.HUNG_TASK),
    ("INFO: task udevd:5612 blocked in I/O wait for more than 143 seconds.", Kind.HUNG_TASK),
    ("INFO: task dd:21128 can't die for more than 143 seconds.", Kind.HUNG_TASK),
    ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [insmod:99]", Kind.SOFT_LOCKUP),
    ("BUG: soft lockup detected on CPU#0!", Kind.SOFT_LOCKUP),
    ("BUG: spinlock lockup suspected on CPU#1, dd/77", Kind.SOFT_LOCKUP),
    ("BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 stuck for 35s!", Kind.SOFT_LOCKUP),
    ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 3", Kind.HARD_LOCKUP),
    ("watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 3", Kind.HARD_LOCKUP),
    ("watchdog: CPU 42 self-detected hard LOCKUP @ smp_call+0x394/0x3f0", Kind.HARD_LOCKUP),
    ("watchdog: CPU 1 detected hard LOCKUP on other CPUs 3", Kind.HARD_LOCKUP),
    ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", Kind.RCU_STALL),
    ("rcu: INFO: rcu_sched self-detected stall on CPU", Kind.RCU_STALL),
    (
        "rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 1-... }",
        Kind.RCU_STALL,
    ),
    ("INFO: rcu_sched_state detected stall on CPU 0 (t=65000 jiffies)", Kind.RCU_STALL),
    # reports
    ("BUG: KASAN: slab-use-after-free in demo_poke+0x10/0x20 [demo]", Kind.MEMORY_ERROR),
    ("BUG: KASAN: double-free or invalid-free in (null)", Kind.MEMORY_ERROR),
    ("BUG: KMSAN: uninit-value in demo+0x1/0x2", Kind.MEMORY_ERROR),
    ("BUG: KCSAN: data-race in one / other", Kind.MEMORY_ERROR),
    ("BUG: KFENCE: memory corruption in demo+0x1/0x2", Kind.MEMORY_ERROR),
    ("BUG kmalloc-64 (Not tainted): Poison overwritten", Kind.MEMORY_ERROR),
    ("BUG: Bad page state in process dd  pfn:12345", Kind.MEMORY_ERROR),
    ("UBSAN: array-index-out-of-bounds in net/x.c:12:3", Kind.MEMORY_ERROR),
    ("UBSAN: Undefined behaviour in net/x.c:12:3", Kind.WARNING),
    ("WARNING: CPU: 1 PID: 9 at net/core/demo.c:12 demo_send+0x10/0x20 [demo]", Kind.WARNING),
    ("WARNING: CPU: 1 PID: 9 at demo_send+0x10/0x20 [demo]", Kind.WARNING),
    ("WARNING: at net/sched/sch_generic.c:261 dev_watchdog+0x26b/0x280()", Kind.WARNING),
    ("WARNING: net/core/dev.c:61 at demo_send+0x10/0x20, CPU#1: ping/9", Kind.WARNING),
    ("WARNING: [a == 0 && b] a/b.c:61 at f+0x10/0x20, CPU#0: swapper/0/1", Kind.WARNING),
    ("WARNING: possible circular locking dependency detected", Kind.WARNING),
    ("[ INFO: possible recursive locking detected ]", Kind.WARNING),
    ("[ BUG: dd/31761 still has locks held! ]", Kind.WARNING),
    ("WARNING: suspicious RCU usage", Kind.WARNING),
    ("INFO: trying to register non-static key.", Kind.WARNING),
    ("BUG: scheduling while atomic: dd/21395/0x00000201", Kind.WARNING),
    ("BUG: sleeping function called from invalid context at mm/slab.h:494", Kind.WARNING),
    ("BUG: using smp_processor_id() in preemptible [00000000] code: dd/12078", Kind.WARNING),
    ("BUG demo_cache: Objects remaining on kmem_cache_close()", Kind.MEMORY_ERROR),
    ("BUG: workqueue leaked atomic, lock or RCU: kworker/2:1[106]", Kind.WARNING),
    (
        "unchecked MSR access error: RDMSR from 0x10 at rIP: 0xffffffff81 (f+0x1/0x2)",
        Kind.WARNING,
    ),
    ("NMI Watchdog detected LOCKUP on CPU 3", Kind.HARD_LOCKUP),
    ("BUG: key ffff888104b20f00 has not been registered!", Kind.WARNING),
    ("kobject: kobject (00000000f3a1): tried to init an initialized object", Kind.WARNING),
]


@pytest.mark.parametrize(("line", "kind"), WORDINGS)
def test_a_wording_is_known(line: str, kind: Kind) -> None:
    events = events_of(Log(f"[    1.000000] {line}"))
    assert [event.kind for event in events] == [kind]


@pytest.mark.parametrize(
    "line",
    [
        "traps: dd[77] general protection fault ip:7f sp:7f error:0 in libc.so",
        "dd[77]: segfault at 0 ip 0 sp 0 error 4",
        "WARNING: this program is not safe",
        "WARNING: at least one of the disks is old",
        "systemd[1]: kernel BUG at somewhere is what it said",
        "mce: [Hardware Error]: Machine check events logged",
        "INFO: lockdep is turned off.",
        "Oops, something went wrong",
        "BUG report: Objects of any kind",
    ],
)
def test_what_only_sounds_like_trouble_is_none(line: str) -> None:
    assert events_of(Log(f"[    1.000000] {line}")) == ()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("sysrq triggered crash", Kind.SYSRQ),
        ("hung_task: blocked tasks", Kind.HUNG_TASK),
        ("softlockup: hung tasks", Kind.SOFT_LOCKUP),
        ("Hard LOCKUP", Kind.HARD_LOCKUP),
        ("RCU Stall", Kind.RCU_STALL),
        ("System is deadlocked on memory", Kind.OUT_OF_MEMORY),
        ("Unable to continue", Kind.MACHINE_CHECK),
        ("Unrecoverable Machine Check", Kind.MACHINE_CHECK),
        ("EDAC MC0: Uncorrected Error (Branch=0)", Kind.MACHINE_CHECK),
        ("Corrupt kernel stack, can't continue.", Kind.STACK_OVERFLOW),
        ("Fatal machine check", Kind.MACHINE_CHECK),
        ("Fatal hardware error!", Kind.MACHINE_CHECK),
        ("Timeout: Not all CPUs entered broadcast exception handler", Kind.MACHINE_CHECK),
        ("EDAC MC0: UE page 0x1234, offset 0x0", Kind.MACHINE_CHECK),
        ('UE row 2, channel-a= 1 channel-b= 0 labels "DIMM_A1":', Kind.MACHINE_CHECK),
        (
            "UE memory read error on DIMM_A1 (channel:1 page:0x12 offset:0x0)",
            Kind.MACHINE_CHECK,
        ),
        ("Asynchronous SError Interrupt", Kind.MACHINE_CHECK),
        ("NMI: Not continuing", Kind.NMI),
        ("An NMI occurred. Depending on your system the reason", Kind.NMI),
        ("IPMI Watchdog pre-timeout", Kind.NMI),
        ("stack-protector: Kernel stack is corrupted in: f+0x1/0x2", Kind.STACK_PROTECTOR),
        ("corrupted stack end detected inside scheduler", Kind.STACK_OVERFLOW),
        ("kernel: panic_on_warn set ...", Kind.WARNING),
        ("Fatal exception in interrupt", Kind.OOPS),
        ("Attempted to kill init! exitcode=0x0000000b", Kind.PANIC),
        ("VFS: Unable to mount root fs on unknown-block(0,0)", Kind.PANIC),
        ("Oops: my own watchdog fired", Kind.PANIC),
    ],
)
def test_a_panic_gives_its_reason(said: str, kind: Kind) -> None:
    assert reason(f"Kernel panic - not syncing: {said}") is kind


def test_what_old_kernels_print_behind_the_message_is_no_part_of_it() -> None:
    event = events_of(Log("Unable to handle kernel NULL pointer dereference at 08 RIP: \n"))[0]
    assert event.message == "Unable to handle kernel NULL pointer dereference at 08"


@pytest.mark.parametrize(
    "said", ["era == ffff800002012345, ra == ffff800002012300", "epc == 82a1c0d8, ra == 82a1c0c0"]
)
def test_registers_on_the_line_of_a_fault_are_no_part_of_it(said: str) -> None:
    line = "CPU 3 Unable to handle kernel paging request at virtual address 0000000000000130"
    event = events_of(Log(f"{line}, {said}\n"))[0]
    assert event.kind is Kind.NULL_DEREFERENCE
    assert event.message == line.removeprefix("CPU 3 ")


def test_the_function_of_a_headline_is_read() -> None:
    event = events_of(Log("BUG: KASAN: use-after-free in f_x.part.0+0x10/0x20 [my-mod] at 0"))[0]
    assert event.named is not None
    assert (event.named.function, event.named.offset) == ("f_x.part.0", 0x10)
    assert event.named.kmod == "my_mod"


def test_an_oops_that_is_announced_twice_is_one_event() -> None:
    log = "BUG: unable to handle page fault for address: ffff\n#PF: x\nOops: 0002 [#1] SMP\n"
    events = events_of(Log(log))
    assert [(event.weight, event.index) for event in events] == [(Weight.OOPS, 0)]


def test_a_sanitizers_headlines_for_inlined_functions_are_one_event() -> None:
    lines = (
        "BUG: KASAN: use-after-free in inner include/x.h:33 [inline]\n"
        "BUG: KASAN: use-after-free in outer+0x865/0x8a0 net/x.c:245\n"
        "Read of size 8 at addr ffff88804de5c008 by task dd/9\n"
    )
    (event,) = events_of(Log(lines))
    assert event.named is not None
    assert event.named.function == "outer"


def test_the_work_item_that_leaked_a_lock_is_named() -> None:
    log = Log(
        "BUG: workqueue leaked atomic, lock or RCU: kworker/2:1[106]\n"
        "     preempt=0x00000000 lock=0->0 RCU=0->1 workfn=demo_work\n"
    )
    blamed = read_report(log, events_of(log)[0]).blamed
    assert blamed is not None
    assert blamed.function == "demo_work"
