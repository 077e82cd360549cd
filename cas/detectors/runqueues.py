"""Tasks that could run and do not: queues of the scheduler, and real-time tasks held back."""

from __future__ import annotations

from collections.abc import Iterator

from drgn import Object

from cas.detectors.case import Broken, Case, Seen, has_member
from cas.detectors.needs import Needs
from cas.model import Evidence
from cas.units import human_span

NEEDS = Needs(symbols=("runqueues",))
LONG_S = 5.0
"""From which on a wait for a CPU is told."""
NAMED = 10


def detect(case: Case) -> Iterator[Evidence]:
    """Who waits longest for a CPU; the CPUs on which real-time tasks are throttled."""
    yield from _throttled(case)
    waits: list[tuple[float, Seen]] = []
    for seen in case.tasks("R"):
        seconds = _queued_s(case, seen.task)
        if seconds is not None and seconds >= LONG_S:
            waits.append((seconds, seen))
    if waits:
        waits.sort(key=lambda wait: -wait[0])
        yield _longest(case, waits)


def _longest(case: Case, waits: list[tuple[float, Seen]]) -> Evidence:
    seconds, seen = waits[0]
    cpu = case.cpu_of(seen.task)
    more = f"; {len(waits) - 1:,} more wait long" if len(waits) > 1 else ""
    return Evidence(
        f"{seen.name} could run and has waited {human_span(seconds)} for CPU {cpu}"
        f"{_who_runs(case, cpu)}{more}",
        "task_struct.sched_info.last_queued",
        f"task {seen.pid}",
        details=tuple(
            f"{each.name}: {human_span(span)}, CPU {case.cpu_of(each.task)}"
            for span, each in waits[:NAMED]
        ),
    )


def _who_runs(case: Case, cpu: int) -> str:
    try:
        return f", on which {case.seen(case.run_queue(cpu).curr).name} runs"
    except Broken:
        return ""


def _queued_s(case: Case, task: Object) -> float | None:
    """How long a task has been queued without running; ``None``: it is not, or nobody counts it."""
    try:
        queued_ns = task.sched_info.last_queued.value_()
        if not queued_ns or task.on_rq.value_() != 1 or _is_current(case, task):
            return None
        seconds = (case.clock_ns - queued_ns) / 1e9
    except (*Broken, AttributeError):
        return None
    longest = case.uptime_s + 1 if case.uptime_s else float("inf")
    return float(seconds) if 0 <= seconds <= longest else None


def _is_current(case: Case, task: Object) -> bool:
    return bool(case.run_queue(case.cpu_of(task)).curr.value_() == task.value_())


def _throttled(case: Case) -> Iterator[Evidence]:
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
