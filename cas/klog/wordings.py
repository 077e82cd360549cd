"""With which words a kernel announces trouble.

The texts are those of the kernel's sources, from Linux 2.6 to 7.x; each group names the files that
print them. To add one: a literal part that every such line has (it is what the log is searched
for), a pattern for the whole line, and what it means. Groups of a pattern are read by name:
``function`` and ``kmod`` (the code that the line itself blames), ``comm`` and ``pid`` (the task it
is about), ``cpu``.
"""

from __future__ import annotations

import re
from enum import IntEnum
from functools import cache
from itertools import islice
from typing import NamedTuple

from cas.choices import Kind
from cas.klog.lines import Log

ANNOUNCEMENTS_LIMIT = 20_000
"""Lines, the newest, that are looked at; a kernel that floods its log says the same."""


class Weight(IntEnum):
    """What becomes of a kernel after such a line."""

    HINT = 0
    """It says what is wrong; the assertion that follows at once says where."""
    REPORT = 1
    """The kernel reports and lives on, unless it was told to panic."""
    HEADER = 2
    """It belongs to an oops and is announced by another line, if that was printed."""
    OOPS = 3
    """The code at fault was stopped."""
    PANIC = 4
    """The kernel gives up."""


class Wording(NamedTuple):
    """One form of announcement."""

    key: str
    pattern: re.Pattern[str]
    kind: Kind
    weight: Weight


class Announcement(NamedTuple):
    """A line of the log that announces trouble."""

    line: int
    """Its number in the log."""
    kind: Kind
    weight: Weight
    text: str
    """Without who says it."""
    found: re.Match[str]

    def group(self, name: str) -> str | None:
        """A named part of the line, where its wording has it."""
        return self.found.groupdict().get(name)


_SYM = (
    r"(?P<function>[A-Za-z_.][\w.$]{0,127})(?:\+0x(?P<offset>[0-9a-f]{1,16})/0x[0-9a-f]{1,16})?"
    r"(?: \[(?P<kmod>[\w-]{1,64})\])?"
)
_TASK = r"(?P<comm>.{1,64}):(?P<pid>\d{1,10})"
_COMM_PID = r"(?P<comm>.{1,64})/(?P<pid>\d{1,10})"

_NAME = "(?P<name>[A-Za-z_][\\w.]{0,127})"
"""A function without an offset, where the kernel's words leave no doubt that it is one."""
_AT = _SYM.replace("/0x[0-9a-f]{1,16})?", "/0x[0-9a-f]{1,16})")
"""With an offset, so that it is no ordinary word."""
_LOCKDEP = (
    r"(?:\[ )?(?:WARNING|INFO|BUG): (?:possible (?:circular|recursive|irq|deadlock)"
    r"|inconsistent lock"
    r"|suspicious (?:RCU|rcu_dereference)|bad (?:unlock|contention) |held lock freed|lock held "
    r"|still has locks"
    r"|[Nn]ested lock was|.{1,60} still has locks held|trying to register non-static key"
    r"|MAX_\w{1,40} too low|[Ii]nvalid wait context|key \S{1,32} (?:not in|has not been) "
    r"|.{1,30}-safe -> .{1,30}-unsafe lock order)"
)
"""kernel/locking/lockdep.c, kernel/lockdep.c before 3.11; kernel/rcu/update.c:
lockdep_rcu_suspicious()."""

_OOPS, _REPORT = Weight.OOPS, Weight.REPORT

_TABLE: tuple[tuple[str, str, Kind, Weight], ...] = (
    # kernel/panic.c: panic(); "not syncing" since 2.4
    (
        "Kernel panic",
        r"Kernel panic(?: - not syncing)?(?::|$)"
        rf"(?:.{{0,60}}stack is corrupted in: {_SYM}| BTRFS panic \(.{{1,60}}?\) in {_NAME}:)?",
        Kind.PANIC,
        Weight.PANIC,
    ),
    # arch/x86/mm/fault.c: show_fault_oops(); mm/fault.c of arm, arm64, riscv, s390, mips and
    # loongarch;
    # arch/powerpc/mm/fault.c: bad_page_fault(). x86 has its present words since Linux 5.1
    # (f28b11a2abd9)
    (
        "BUG",
        r"BUG: (?:[Kk]ernel|[Uu]nable to handle kernel) NULL pointer",
        Kind.NULL_DEREFERENCE,
        _OOPS,
    ),
    (
        "nable to handle ",
        r"(?:CPU \d{1,5} )?[Uu]nable to handle kernel NULL pointer",
        Kind.NULL_DEREFERENCE,
        _OOPS,
    ),
    ("nable to handle ", r"(?:BUG: |CPU \d+ )?[Uu]nable to handle ", Kind.PAGE_FAULT, _OOPS),
    # arch/arm/mm/fault.c: do_DataAbort(), do_PrefetchAbort(); arch/arm64/mm/fault.c before 4.18
    ("Unhandled ", r"Unhandled (?:fault|prefetch abort): ", Kind.PAGE_FAULT, _OOPS),
    # arch/x86/kernel/traps.c: exc_general_protection(), with the address since Linux 5.6
    # (59c1dcbed5b5)
    # arch/x86/mm/kasan_init_64.c: kasan_die_handler() ended its line without a newline until 4.14
    (
        "general protection fault",
        r"(?:kasan: GPF could be caused by .{1,60}access)?general protection fault\b",
        Kind.PROTECTION_FAULT,
        _OOPS,
    ),
    # lib/bug.c: __report_bug(); include/asm-generic/bug.h; arch/mips/kernel/traps.c
    ("BUG", r"[Kk]ernel BUG at ", Kind.BUG_ON, _OOPS),
    ("Kernel bug detected", r"Kernel bug detected\[#", Kind.BUG_ON, _OOPS),
    # arch/x86/kernel/traps.c, doublefault_32.c
    ("divide error", r"divide error: ", Kind.DIVIDE_ERROR, _OOPS),
    ("double fault", r"(?:PANIC: )?double fault[:,]", Kind.DOUBLE_FAULT, _OOPS),
    # arch/x86/kernel/traps.c: handle_stack_overflow(); arch/arm64/kernel/traps.c and
    # arch/riscv/kernel/traps.c: handle_bad_stack(); arch/s390/kernel/traps.c
    ("BUG", r"BUG: .{0,20}stack guard page was hit", Kind.STACK_OVERFLOW, _OOPS),
    ("tack overflow", r"[Kk]ernel stack overflow", Kind.STACK_OVERFLOW, _OOPS),
    ("Insufficient stack space", r"Insufficient stack space", Kind.STACK_OVERFLOW, _OOPS),
    # arch/arm64/kernel/traps.c: bad_mode(), arm64_serror_panic(); __show_regs() follows
    ("Bad mode in ", r"Bad mode in ", Kind.OOPS, _OOPS),
    ("SError Interrupt on CPU", r"SError Interrupt on CPU", Kind.MACHINE_CHECK, _OOPS),
    # arch/powerpc/kernel/traps.c: machine_check_exception() through die()
    ("Machine check", r"Oops: Machine check, sig: \d+ \[#", Kind.MACHINE_CHECK, _OOPS),
    # die() of every architecture: str, err [#die_counter]; without # before 2.6.27
    ("[#", r".{0,160}\[#\d+\]", Kind.OOPS, Weight.HEADER),
    ("Internal error: ", r"Internal error: ", Kind.OOPS, Weight.HEADER),
    ("Oops", r"Oops: [0-9a-f]{4} \[\d+\]", Kind.OOPS, Weight.HEADER),
    # drivers/tty/sysrq.c: __handle_sysrq(), sysrq_crash_op
    (
        "rigger a crash",
        r"(?:(?:sysrq: |SysRq : )*)Trigger a crash(?:dump)?",
        Kind.SYSRQ,
        _OOPS,
    ),
    ("rigger a crash", r"[Ss]ys[Rr]q ?: (?:SysRq : )?Trigger a crash", Kind.SYSRQ, _OOPS),
    # kernel/hung_task.c: check_hung_task(), hung_task_info(); "can't die": linux-next, 2018 to 2021
    # a task may have a newline in its name
    (
        " for more than ",
        rf"(?:INFO: task )?{_TASK} (?:blocked (?:in I/O wait )?|can't die )"
        r"for more than (?P<seconds>\d{1,9}) sec",
        Kind.HUNG_TASK,
        _REPORT,
    ),
    # kernel/watchdog.c: watchdog_timer_fn(); softlockup_tick() before 2.6.37
    (
        "BUG",
        r"BUG: soft lockup(?: - | detected on )CPU#?(?P<cpu>\d{1,5})(?:.{0,40}\[" + _TASK + r"\])?",
        Kind.SOFT_LOCKUP,
        _REPORT,
    ),
    # kernel/workqueue.c: wq_watchdog_timer_fn(), since Linux 4.5 (82607adcf9cd)
    ("BUG", r"BUG: workqueue lockup", Kind.SOFT_LOCKUP, _REPORT),
    # kernel/locking/spinlock_debug.c: spin_bug(), __spin_lock_debug(); rwlock_bug()
    (
        "BUG",
        r"BUG: (?:spin|rw|write-)lock lockup(?: suspected)? on CPU#(?P<cpu>\d{1,5}), " + _COMM_PID,
        Kind.SOFT_LOCKUP,
        _REPORT,
    ),
    # kernel/watchdog.c: watchdog_hardlockup_check(); arch/powerpc/kernel/watchdog.c
    (
        "LOCKUP",
        r"(?:CPU ?\d+: )?Watchdog detected hard LOCKUP on cpu (?P<cpu>\d{1,5})",
        Kind.HARD_LOCKUP,
        _REPORT,
    ),
    (
        "LOCKUP",
        rf"CPU (?P<cpu>\d{{1,5}}) self-detected hard LOCKUP(?: @ {_SYM})?",
        Kind.HARD_LOCKUP,
        _REPORT,
    ),
    (
        "LOCKUP",
        r"CPU \d+ (?:detected hard LOCKUP on other CPUs|Hard LOCKUP)",
        Kind.HARD_LOCKUP,
        _REPORT,
    ),
    # arch/x86/kernel/nmi.c of 2.6: die_nmi()
    ("LOCKUP", r"(?:BUG: )?NMI Watchdog detected LOCKUP", Kind.HARD_LOCKUP, _OOPS),
    # kernel/rcu/tree_stall.h: print_other_cpu_stall(), print_cpu_stall(); tree_exp.h; tasks.h;
    # kernel/rcutree.c before 5.0
    (
        "INFO: ",
        r"INFO: rcu\w{0,20} (?:self-)?detected (?:expedited )?stall",
        Kind.RCU_STALL,
        _REPORT,
    ),
    # mm/kasan/report.c: print_error_description(); mm/kmsan/report.c; kernel/kcsan/report.c;
    # mm/kfence/report.c
    (
        "BUG",
        r"BUG: K(?:ASAN|MSAN|CSAN|FENCE): "
        rf"(?:[^+]{{1,80}}? in (?:{_AT}|{_NAME} \((?:$|[\w./-]{{1,200}}:\d))| ?\S)",
        Kind.MEMORY_ERROR,
        _REPORT,
    ),
    # mm/slub.c: slab_bug(), print_track(), print_page_info(), print_trailer()
    (
        "BUG",
        r"(?:=+ ?)?BUG [\w:.-]{1,60}(?:\(\S{0,60}\))? \(.{0,40}\): ",
        Kind.MEMORY_ERROR,
        _REPORT,
    ),
    (
        "INFO: ",
        rf"INFO: (?:Allocated|Freed) in {_SYM} age=\d",
        Kind.MEMORY_ERROR,
        _REPORT,
    ),
    ("INFO: ", r"INFO: (?:Slab|Object) 0x", Kind.MEMORY_ERROR, _REPORT),
    # the same before 3.3: without taint
    (
        "BUG",
        r"(?:=+ ?)?BUG [\w:.-]{1,60}: (?:Objects remaining |Object (?:already|is on|padding) "
        r"|Poison |.{0,20}Redzone |Padding |Free(?:pointer|chain) |Invalid |Not a valid |Wrong )",
        Kind.MEMORY_ERROR,
        _REPORT,
    ),
    # mm/page_alloc.c: bad_page(); mm/memory.c: print_bad_pte(); kernel/fork.c: check_mm()
    (
        "BUG",
        r"BUG: Bad (?:page (?:state|map|cache)|rss-counter)",
        Kind.MEMORY_ERROR,
        _REPORT,
    ),
    # lib/ubsan.c: ubsan_prologue(); "Undefined behaviour in" before 5.7
    (
        "UBSAN: ",
        r"UBSAN: (?:array-index-out-of-bounds|object-size-mismatch)",
        Kind.MEMORY_ERROR,
        _REPORT,
    ),
    ("UBSAN: ", r"UBSAN: \S", Kind.WARNING, _REPORT),
    # lib/list_debug.c
    ("corruption", r"list_(?:add|del) corruption", Kind.LIST_CORRUPTION, Weight.HINT),
    # kernel/panic.c: __warn(); warn_slowpath_common() before Linux 4.6 (2553b67a1fbe);
    # "CPU#1: comm/123" since 6.19;
    # the condition in brackets with CONFIG_DEBUG_BUGVERBOSE_DETAILED
    (
        "WARNING: ",
        r"WARNING: (?:\[.{1,200}\] )?(?:CPU: (?P<cpu>\d{1,5}) PID: \d{1,10} )?"
        rf"at [^\s+:]{{1,200}}:\d{{1,7}}(?: {_SYM})?",
        Kind.WARNING,
        _REPORT,
    ),
    (
        "WARNING: ",
        rf"WARNING: (?:\[.{{1,200}}\] )?[\w./-]{{1,200}}:\d{{1,6}} at (?:{_SYM}|0x[0-9a-f]+), "
        rf"CPU#(?P<cpu>\d{{1,5}}): {_COMM_PID}",
        Kind.WARNING,
        _REPORT,
    ),
    ("WARNING: ", rf"WARNING: .{{1,80}}? at {_AT}", Kind.WARNING, _REPORT),
    *((key, _LOCKDEP, Kind.WARNING, _REPORT) for key in ("WARNING: ", "INFO: ", "BUG")),
    # arch/x86/mm/extable.c: ex_handler_msr()
    (
        "unchecked MSR",
        rf"unchecked MSR access error: .{{1,120}}? at rIP: 0x[0-9a-f]{{1,16}} \({_AT}",
        Kind.WARNING,
        _REPORT,
    ),
    # arch/x86/kernel/unwind_frame.c: unwind_next_frame()
    ("WARNING: ", r"WARNING: kernel stack (?:regs|frame pointer) at ", Kind.WARNING, _REPORT),
    # kernel/sched/core.c: __schedule_bug(), __might_resched(); lib/smp_processor_id.c;
    # kernel/workqueue.c: process_one_work(); kernel/locking/spinlock_debug.c: spin_bug()
    (
        "BUG",
        rf"BUG: scheduling while atomic: {_COMM_PID}/",
        Kind.WARNING,
        _REPORT,
    ),
    (
        "BUG",
        r"BUG: (?:sleeping function called from|using \w{1,40}\(\) in preemptible"
        r"|workqueue leaked|spinlock |rwlock |non-zero pgtables|Dentry )",
        Kind.WARNING,
        _REPORT,
    ),
    # lib/kobject.c: kobject_init()
    ("tried to init", r"kobject:? (?:kobject )?\(\w+\): tried to init", Kind.WARNING, _REPORT),
)

_SPEAKERS = re.compile(
    r"^(?:(?:NMI )?watchdog: |rcu: |traps: (?=PANIC)|Oops: (?=[a-zPB])|=+ ?(?=BUG ))+"
)
"""Who says it; newer kernels put it before the same line."""

_REASONS = (
    # drivers/tty/sysrq.c, kernel/hung_task.c, kernel/watchdog.c, kernel/rcu/tree_stall.h
    (r"sysrq triggered crash", Kind.SYSRQ),
    (r"hung_task:", Kind.HUNG_TASK),
    (r"softlockup:", Kind.SOFT_LOCKUP),
    (
        r"(?:NMI )?(?:Watchdog detected )?[Hh]ard (?:LOCKUP|lockup)|NMI Watchdog detected LOCKUP",
        Kind.HARD_LOCKUP,
    ),
    (r"RCU Stall", Kind.RCU_STALL),
    # mm/oom_kill.c
    (r"[Oo]ut of memory|System is deadlocked on memory", Kind.OUT_OF_MEMORY),
    # drivers/watchdog/hpwdt.c, drivers/char/ipmi/ipmi_watchdog.c, arch/x86/kernel/nmi.c
    (r".*(?:\bNMI\b|[Nn]on.?maskable|[Ww]atchdog pre-?timeout)", Kind.NMI),
    # arch/x86/kernel/cpu/mce/core.c, arch/arm64/kernel/traps.c, drivers/acpi/apei/ghes.c,
    # drivers/edac/edac_mc.c: edac_ue_error(), edac_mc_handle_ue() before 3.5
    (
        r".*(?:[Mm]achine [Cc]heck|\bMCE\b|SError|[Hh]ardware [Ee]rror"
        r"|EDAC \w+: U(?:E\b|ncorrected))"
        r"|UE (?:row \d|.{0,300}\bpage:0x)"
        r"|Unable to continue$|CPU context corrupt|Timeout: Not all CPUs entered"
        r"|Uncorrected (?:hardware )?(?:memory )?error"
        r"|Memory failure",
        Kind.MACHINE_CHECK,
    ),
    # kernel/panic.c: __stack_chk_fail(); check_panic_on_warn() since Linux 6.2 (79cc1ba7badf)
    (r"stack-protector:|stack is corrupted in", Kind.STACK_PROTECTOR),
    # mm/kasan/report.c, mm/kmsan/report.c
    (r".*(?:panic_on_warn|panic_on_kmsan|kasan\.fault=panic|kmsan\.panic)", Kind.WARNING),
    # kernel/sched/core.c: schedule_debug(); arch/s390, arch/arm64/kernel/traps.c
    (
        r"corrupted stack end|[Cc]orrupt kernel stack|[Kk]ernel stack overflow",
        Kind.STACK_OVERFLOW,
    ),
    # die(), oops_end() of every architecture
    # and arch/x86/kernel/doublefault.c: df_debug()
    (
        r"Fatal [Ee]xception|Machine halted|Oops$|Oops: Fatal|Unrecoverable"
        r"|Aiee, killing interrupt handler|.{0,60}: Fatal exception"
        r"|Attempted to kill the idle task|Fatal error$",
        Kind.OOPS,
    ),
    # kernel/exit.c: do_exit()
    (r"Attempted to kill", Kind.PANIC),
)
"""What stands behind ``Kernel panic - not syncing:``."""


@cache
def _wordings() -> dict[str, tuple[Wording, ...]]:
    """By their literal part; compiled on first use, as a process may never need them."""
    found: dict[str, list[Wording]] = {}
    for key, pattern, kind, weight in _TABLE:
        found.setdefault(key, []).append(Wording(key, re.compile(pattern), kind, weight))
    return {key: tuple(wordings) for key, wordings in found.items()}


@cache
def _compiled_reasons() -> tuple[tuple[re.Pattern[str], Kind], ...]:
    return tuple((re.compile(pattern), kind) for pattern, kind in _REASONS)


def announcements(log: Log) -> list[Announcement]:
    """Every line of a log that announces trouble, in the order of the log."""
    keys: dict[int, list[str]] = {}
    for key in _wordings():
        # no more of one than of all: who floods its log must not make us read it all
        for index in islice(log.having(key), ANNOUNCEMENTS_LIMIT):
            keys.setdefault(index, []).append(key)
    newest = sorted(keys)[-ANNOUNCEMENTS_LIMIT:]
    found = (_announcement(index, log[index].text, keys[index]) for index in newest)
    return [announcement for announcement in found if announcement]


def _announcement(index: int, text: str, keys: list[str]) -> Announcement | None:
    text = _SPEAKERS.sub("", text.lstrip(), count=1)
    for key in keys:
        for wording in _wordings()[key]:
            if found := wording.pattern.match(text):
                return Announcement(index, wording.kind, wording.weight, text, found)
    return None


def reason(panic: str) -> Kind:
    """What kind of panic it is, by its own words."""
    said = panic.partition("not syncing")[2].lstrip(": ")
    said = said.removeprefix("kernel: ")
    return next((kind for pattern, kind in _compiled_reasons() if pattern.match(said)), Kind.PANIC)
