"""Tasks that could run and do not: queues of the scheduler, and real-time tasks held back."""

from __future__ import annotations

from collections.abc import Iterator

from drgn import Object

from cas.choices import Weight
from cas.detectors.case import Broken, Case, KernelTask, has_member
from cas.detectors.locks import EXPLAINED
from cas.detectors.needs import Needs
from cas.model.evidence import Evidence
from cas.units import human_span

NEEDS = Needs(symbols=("runqueues",))
LONG_S = 2.0
"""From which on a wait for a CPU is told."""
NAMED = 10
REAL_TIME = (1, 2)
"""SCHED_FIFO and SCHED_RR, include/uapi/linux/sched.h."""


def detect(case: Case) -> Iterator[Evidence]:
    """Who waits longest for a CPU; the CPUs on which real-time tasks are throttled."""
    for cpu in case.cpus:
        rt = case.run_queue(cpu).rt
        if not has_member(rt, "rt_throttled") or not rt.rt_throttled.value_():
            continue
        used, allowed = rt.rt_time.value_() / 1e9, rt.rt_runtime.value_() / 1e9
        yield Evidence(
            f"real-time tasks are throttled on CPU {cpu}: they had {human_span(used)}"
            f" where {human_span(allowed)} are allowed",
            f"runqueues of CPU {cpu}, rt.rt_throttled",
            "runq",
        )
    waits: list[tuple[float, KernelTask]] = []
    for seen in case.tasks("R"):
        seconds = _queued_s(case, seen.task)
        if seconds is not None and seconds >= LONG_S:
            waits.append((seconds, seen))
    if waits:
        waits.sort(key=lambda wait: -wait[0])
        seconds, seen = waits[0]
        cpu = case.cpu_of(seen.task)
        others = len(waits) - 1
        more = f"; {others:,} more {'waits' if others == 1 else 'wait'} long" if others else ""
        who, is_hogged = _who_runs(case, cpu, seen)
        yield Evidence(
            f"{seen.name} could run and has waited {human_span(seconds)} for CPU {cpu}{who}{more}",
            "task_struct.sched_info.last_queued",
            "runq",
            Weight.CAUSE if is_hogged and case.kind in EXPLAINED else Weight.CONTEXT,
            tuple(
                f"{each.name}: {human_span(span)}, CPU {case.cpu_of(each.task)}"
                for span, each in waits[:NAMED]
            ),
        )


def _who_runs(case: Case, cpu: int, waiting: KernelTask) -> tuple[str, bool]:
    """Who has the CPU; whether that is by a real-time priority that the one who waits has not."""
    try:
        task = case.run_queue(cpu).curr
        name, priority = case.kernel_task(task).name, int(task.rt_priority.value_())
        if task.policy.value_() not in REAL_TIME:
            return f", on which {name} runs", False
        is_hogged = waiting.task.policy.value_() not in REAL_TIME
    except Broken:
        return "", False
    return f", on which {name} runs with real-time priority {priority}", is_hogged


def _queued_s(case: Case, task: Object) -> float | None:
    """How long a task has been queued without running; ``None``: it is not, or nobody counts it."""
    try:
        queued_ns = task.sched_info.last_queued.value_()
        if not queued_ns or task.on_rq.value_() != 1:
            return None
        if case.run_queue(case.cpu_of(task)).curr.value_() == task.value_():
            return None
        seconds = (case.clock_ns - queued_ns) / 1e9
    except (*Broken, AttributeError):
        return None
    longest = case.uptime_s + 1 if case.uptime_s else float("inf")
    return float(seconds) if 0 <= seconds <= longest else None
