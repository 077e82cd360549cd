"""What a CPU was doing when the dump was taken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from drgn import Object, StackFrame
from drgn.helpers.linux.sched import cpu_curr

from cas.detectors.case import SHARE_FOR_TASKS, Broken, Case, KernelTask
from cas.frozen import dataclass
from cas.model.code import Frame

STOPPED = re.compile(
    r"(?:native_|__)?(?:stop_this_cpu|crash_nmi_callback|crash_save_cpu|ipi_cpu_(?:crash_)?stop"
    r"|local_cpu_stop|cpu_park_loop|panic_smp_self_stop|nmi_panic_self_stop|nmi_cpu_backtrace.*"
    r"|sysvec_reboot|crash_ipi_callback|machine_crash_nonpanic_core"
    r"|n?m?i?_?panic|crash_kexec)(?:\.\w+)*"
)
"""How a CPU ends: by panic(), or stopped for another's, arch/*/kernel/{smp,crash,reboot}.c; one
that panics in an NMI waits in a function of its own since Linux 4.5 (1717f2096b54)."""
PAUSES = re.compile(r"_*(?:const_)?(?:u?delay\w*|cpu_relax|kvm_wait|hv_qlock_wait|xen_qlock_wait)")
"""Functions that pass time, for whoever called them."""
SHOWN_CALLS = 4
IDLE = re.compile(
    r"(?:\w*_)?(?:default_idle\w*|native_safe_halt|safe_halt|arch_cpu_idle\w*|cpuidle_enter\w*"
    r"|acpi_\w*idle\w*|mwait_idle\w*|intel_idle\w*|poll_idle|cpu_idle_poll|do_idle|cpu_do_idle"
    r"|cpu_startup_entry|raw_safe_halt|native_halt|call_cpuidle)(?:\.\w+)*"
)


@dataclass(frozen=True, slots=True)
class Processor:
    """One CPU."""

    cpu: int
    seen: KernelTask | None
    """Its current task; ``None`` where that cannot be read."""
    frames: tuple[Frame, ...] = ()
    """Where it was, without what stopped it; innermost first."""
    stack: tuple[StackFrame, ...] = ()
    """The same in drgn."""
    is_panicked: bool = False
    is_idle: bool = False
    doubt: str = ""
    """Why there are no frames."""

    @property
    def name(self) -> str:
        """How to call it in a sentence."""
        return f"CPU {self.cpu} ({self.seen.comm}, pid {self.seen.pid})" if self.seen else self.cpu_

    @property
    def cpu_(self) -> str:
        """Without its task."""
        return f"CPU {self.cpu}"

    @property
    def functions(self) -> tuple[str, ...]:
        """Those on its stack, without what is inlined in them."""
        plain = (
            (each.function.partition(".")[0], each.kmod) for each in self.frames if not each.inlined
        )
        return tuple(f"{name} [{kmod}]" if kmod else name for name, kmod in plain)

    @property
    def place(self) -> str:
        """The innermost function that did more than pass time; empty where none is known."""
        return next((each for each in self.functions if not PAUSES.match(each)), "")

    @property
    def way(self) -> str:
        """The innermost function with file and line, and its callers."""
        owner = next((each for each in self.frames if not each.inlined), None)
        at = f" at {owner.file}:{owner.line}" if owner and owner.file else ""
        first, *callers = self.functions[:SHOWN_CALLS] or ("?",)
        return " ← ".join((first + at, *callers))

    @property
    def line(self) -> str:
        """What it did, in a line."""
        if self.is_idle:
            return f"{self.cpu_}: idle"
        if self.seen is None:
            return f"{self.cpu_}: {self.doubt}"
        doing = f"in {self.way}" if self.frames else self.doubt
        if self.is_panicked:
            doing = f"panicked {doing}".rstrip()
        return f"{self.cpu_}: {self.seen.name} {doing}"


def processors(case: Case) -> Iterator[Processor]:
    """All CPUs that were running, as far as there is time for them."""
    kept: dict[int, Processor] = case.kept.setdefault("processors", {})
    for number, cpu in enumerate(case.cpus):
        if cpu not in kept:
            if case.clock.is_used(SHARE_FOR_TASKS):
                case.remark(f"looked at {number:,} of {len(case.cpus):,} CPUs")
                return
            kept[cpu] = _processor_of(case, cpu)
        yield kept[cpu]


def _processor_of(case: Case, cpu: int) -> Processor:
    try:
        task = cpu_curr(case.prog, cpu)
        seen = case.kernel_task(task)
        stack = case.stack(task)
        doubt = _why_not_its_frames(task, stack)
    except Broken as error:
        return Processor(cpu, None, doubt=f"what it did cannot be read: {error}")
    is_panicked = cpu == case.panic_cpu
    if doubt:
        return Processor(cpu, seen, is_panicked=is_panicked, doubt=doubt)
    frames = case.backtrace(task)
    first = before_the_stop(frames, [each.interrupted for each in stack])
    if is_panicked and not first:  # a task that called panic() itself was doing just that
        return Processor(cpu, seen, is_panicked=True)
    frames = frames[first:]
    is_idle = (
        seen.pid == 0
        and not is_panicked
        and bool(frames)
        and IDLE.fullmatch(frames[0].function) is not None
    )
    return Processor(cpu, seen, frames, tuple(stack[first:]), is_panicked, is_idle)


def before_the_stop(frames: Sequence[Frame], interrupted: Sequence[bool]) -> int:
    """Which frame is the first that does not belong to stopping this CPU.

    :param interrupted: of each frame, whether an interrupt or an exception came there
    """
    has_stopped = False
    for number, frame in enumerate(frames):
        # what is inlined, and what it is inlined in, were interrupted at once
        is_same = number == 0 or frames[number - 1].inlined
        if interrupted[number] and not is_same:
            return number if has_stopped else 0
        has_stopped = has_stopped or STOPPED.fullmatch(frame.function) is not None
    return 0


def _why_not_its_frames(task: Object, stack: Sequence[StackFrame]) -> str:
    """Why frames that drgn gives for a running task are not that task's; empty: they are."""
    if not stack:
        return "running, its registers are not in the dump"
    low = int(task.stack.value_())
    high = low + int(task.prog_["THREAD_SIZE"])
    pointers = [_register_or_zero(frame, "sp") for frame in stack]
    if any(low <= pointer < high for pointer in pointers):
        return ""
    if (
        pointers
        and 0 < _register_or_zero(stack[0], "pc") < 1 << 47
        and not stack[0].name.startswith("_")
    ):
        return "in user space"
    return "running, the dump's registers of this CPU are another task's"


def _register_or_zero(frame: StackFrame, name: str) -> int:
    try:
        return int(getattr(frame, name))
    except Broken:
        return 0
