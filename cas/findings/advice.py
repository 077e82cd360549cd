"""What to do next."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cas.findings.crash import Crash
from cas.findings.culprit import plain_name
from cas.findings.damage import next_step
from cas.findings.taint import suspects
from cas.klog.kinds import EXCEPTIONS, Kind
from cas.model import Dump, Match

STEPS_LIMIT = 5
_OF_KIND = {
    Kind.SYSRQ: "deliberate crash: ask who triggered it and why, then look at the tasks in D state"
    " and at the run queues; the panic itself is not the fault",
    Kind.HUNG_TASK: "see what the blocked task waits for and who holds it: stacks of all tasks in"
    " D state, inflight I/O, disks and mounts",
    Kind.SOFT_LOCKUP: "the CPU did not schedule: read the run queues and the backtraces of all CPUs"
    " for a lock holder or an endless loop",
    Kind.HARD_LOCKUP: "the CPU took no interrupts: read the backtraces of all CPUs for a spinlock"
    " held with interrupts off; rule out firmware (SMI)",
    Kind.RCU_STALL: "find the CPU that stalls RCU: backtraces of all CPUs, run queues, and whether"
    " a virtual machine was short of CPU time",
    Kind.OUT_OF_MEMORY: "memory ran out: compare the largest tasks with slab, shared memory and"
    " huge pages; the task that panics is seldom the one that ate it",
    Kind.MACHINE_CHECK: "hardware: decode the [Hardware Error] lines of the kernel log, read the"
    " machine's event log, call the hardware vendor",
    Kind.NMI: "ask whether someone sent the NMI (a management controller's button, a hypervisor);"
    " if nobody did, read the machine's event log",
    Kind.STACK_PROTECTOR: "a local variable was overrun: read the writes to arrays in the function"
    " that the message names",
    Kind.STACK_OVERFLOW: "the stack ran out: look in the backtrace for recursion and for large"
    " local variables",
    Kind.DOUBLE_FAULT: "compare the stack pointer with the stack's limits: an overflow is the usual"
    " cause; else suspect the hardware",
    Kind.BUG_ON: "read the assertion at that line of the source: it says what the kernel relied on",
    Kind.DIVIDE_ERROR: "find the divisor in the disassembly of the function at fault (dis -l)",
    Kind.NULL_DEREFERENCE: "the address is the offset of the field in a structure that was NULL:"
    " find the pointer in the disassembly of the function at fault",
    Kind.PROTECTION_FAULT: "an address that no pointer has was used: find it in the registers, and"
    " whether it is a pattern of freed memory (6b6b…, dead000000000100)",
    Kind.NONE: "ask how the dump was made: a hypervisor's dump of a hung machine shows the reason"
    " in the tasks in D state and on the run queues",
    Kind.PANIC: "read the code that calls panic() and the lines before it in the kernel log",
}
_CORRUPTION = frozenset({Kind.LIST_CORRUPTION, Kind.MEMORY_ERROR})
_POISON = re.compile(r"dead0000000001|dead4ead|(?:6b){4}|(?:5a){4}|(?:a5){4}|(?:cc){4}")
"""Freed list entries, spinlocks, and memory freed or never set (``include/linux/poison.h``)."""
_OVERWRITTEN = re.compile(
    r"use-after-free|out-of-bounds|double-free|invalid-free|invalid-access"
    r"|[Rr]edzone|[Pp]oison overwritten|memory corruption|Bad page|refcount_t: "
)
_CAUGHT = re.compile(r"BUG: K(?:ASAN|FENCE): ")
"""Reports with the stacks of who allocated and who freed the memory."""


def next_steps(crash: Crash, dump: Dump, match: Match | None) -> tuple[str, ...]:
    """What to do, the most useful first."""
    steps = (*_data_steps(crash, dump, match), *_crash_steps(crash, dump))
    return tuple(dict.fromkeys(steps))[:STEPS_LIMIT]


def _data_steps(crash: Crash, dump: Dump, match: Match | None) -> Iterator[str]:
    if match is None:
        build_id = f", build-id {dump.build_id}" if dump.build_id else ""
        release = dump.osrelease or "this kernel"
        yield f"needed: the debuginfo package of {release} ({dump.arch}){build_id}"
    if not dump.is_whole:
        yield next_step(dump)
    if count := sum(event.is_oops for event in crash.choice.earlier):
        were = "oops stands" if count == 1 else "oopses stand"
        yield f"{count} earlier {were} in the kernel log: read the first one first"
    reports = [event for event in crash.choice.earlier if not event.is_oops]
    if reports and crash.kind in (Kind.SYSRQ, Kind.NONE):
        yield f"the kernel had reported before: {reports[-1].message}"


def _crash_steps(crash: Crash, dump: Dump) -> Iterator[str]:
    yield from _kmod_steps(crash)
    # what announced the crash may just be what a damaged dump lacks
    if crash.kind in _OF_KIND and (crash.kind is not Kind.NONE or dump.is_whole):
        yield _OF_KIND[crash.kind]
    if _CAUGHT.match(crash.event.message) and _OVERWRITTEN.search(crash.event.message):
        yield (
            "the report in the kernel log says who allocated that memory, and who freed it: read"
            " those two stacks"
        )
    elif _smells_of_corruption(crash):
        yield (
            "memory was overwritten or used after it was freed: reproduce with"
            " slub_debug=FZPU, or with a KASAN kernel, to catch the writer"
        )
    if "M" in (crash.taint or "") and crash.kind is not Kind.MACHINE_CHECK:
        yield "a machine check came before: rule out the hardware first"
    if crash.owner and not crash.owner.kmod and crash.kind in EXCEPTIONS:
        yield f"look for a fix in later kernels: changes of {plain_name(crash.owner.function)}"


def _kmod_steps(crash: Crash) -> Iterator[str]:
    on_stack = {frame.kmod for frame in crash.frames if frame.kmod}
    marked = [kmod.name for kmod in suspects(crash.kmods or ())]
    guilty = [name for name in marked if name in on_stack]
    if guilty:
        names = ", ".join(guilty)
        yield f"{names} is not the distribution's and in the backtrace: ask its vendor"
        yield f"try to reproduce without {names}"
    elif marked and crash.kind in _CORRUPTION:
        yield f"try to reproduce without {', '.join(marked)}"


def _smells_of_corruption(crash: Crash) -> bool:
    said = f"{crash.event.message}\n{crash.event.detail or ''}"
    return (
        crash.kind is Kind.LIST_CORRUPTION
        or _POISON.search(said) is not None
        or _OVERWRITTEN.search(said) is not None
        or "B" in (crash.taint or "")
    )
