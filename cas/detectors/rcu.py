"""RCU: a grace period that does not end, and callbacks that pile up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from drgn import Object, container_of
from drgn.helpers.linux.percpu import per_cpu
from drgn.helpers.linux.sched import task_cpu

from cas.choices import Kind, Weight
from cas.detectors.case import Broken, Case, has_member, word_mask
from cas.detectors.needs import Needs
from cas.detectors.processors import processors
from cas.model.evidence import Evidence
from cas.units import human_span

NEEDS = Needs(symbols=("rcu_state", "rcu_data", "jiffies"))
LONG_S = 5.0
"""A grace period is a matter of milliseconds; the kernel complains after 21 or 60 s."""
STALLED_S = 1.0
"""Where the kernel panicked of it: how long it waits for that can be set."""
LONGEST_S = 30 * 86_400
IN_PROGRESS = 3
"""RCU_SEQ_STATE_MASK, kernel/rcu/rcu.h."""
MANY = 10_000
"""Callbacks of a CPU from which on the kernel hurries: DEFAULT_RCU_QHIMARK, kernel/rcu/tree.c."""
MOST = 1 << 40
NAMED = 8
MAX_READERS = 100


def detect(case: Case) -> Iterator[Evidence]:
    """The grace period that goes on, and the CPUs with many callbacks."""
    state = case.prog["rcu_state"]
    if has_member(state, "gp_seq"):  # since Linux 4.19 (de30ad512a66)
        yield from _grace_period_evidence(case, state)
    else:
        case.remark("the grace period is kept otherwise in this kernel")
    counts: dict[int, int] = {}
    for cpu in case.cpus:
        with suppress(*Broken, AttributeError, TypeError):
            length = per_cpu(case.prog["rcu_data"], cpu).cblist.len
            number = int(length.counter if has_member(length, "counter") else length)
            if MANY < number <= MOST:
                counts[cpu] = number
    if counts:
        most = sorted(counts, key=lambda cpu: -counts[cpu])
        said = ", ".join(f"CPU {cpu} has {counts[cpu]:,}" for cpu in most[:NAMED])
        yield Evidence(
            f"many RCU callbacks wait: {said}", "rcu_data.cblist.len", f"p rcu_data:{most[0]}"
        )


def _grace_period_evidence(case: Case, state: Object) -> Iterator[Evidence]:
    if not state.gp_seq.value_() & IN_PROGRESS:
        return
    hz = case.hz
    if hz is None:
        case.remark("how long a jiffy is cannot be told")
        return
    jiffies = case.prog["jiffies"].value_() & word_mask(case.prog)
    seconds = (jiffies - state.gp_start.value_() & word_mask(case.prog)) / hz
    is_stall = case.kind == Kind.RCU_STALL
    if not (STALLED_S if is_stall else LONG_S) <= seconds <= LONGEST_S:
        return
    cpus = [cpu for cpu in case.cpus if _is_awaited(case, cpu)]
    readers = list(_preempted_readers(case))
    awaited = [f"CPU {_some_named(cpus)}"] * bool(cpus)
    awaited += [f"{_some_named(readers)}, preempted while reading"] * bool(readers)
    # since when the thread that ends grace periods has done nothing
    idle_s: float | None = None
    with suppress(*Broken, AttributeError):
        told_s = (jiffies - state.gp_activity.value_() & word_mask(case.prog)) / hz
        idle_s = told_s if told_s <= LONGEST_S else None
    waits = f", waiting for {' and '.join(awaited)}"
    if not awaited:
        waits = "; no CPU or task is awaited any more"
        if idle_s is not None and idle_s >= STALLED_S:
            thread = "RCU's own thread"
            with suppress(*Broken, AttributeError):
                thread = f"RCU's own thread, of CPU {int(task_cpu(state.gp_kthread))},"
            waits += f", but {thread} has not run for {human_span(idle_s)}"
    every = {each.cpu: each for each in processors(case)} if cpus else {}
    lines = [every[cpu].line for cpu in cpus if cpu in every]
    if idle_s is not None:
        lines.append(f"RCU's own thread was last active {human_span(idle_s)} before")
    yield Evidence(
        f"an RCU grace period has not ended for {human_span(seconds)}{waits}",
        "rcu_state.gp_start, rcu_node.qsmask",
        "p rcu_state.gp_start",
        Weight.CAUSE if is_stall and awaited else Weight.CONTEXT,
        tuple(lines),
    )


def _some_named(names: Sequence[object]) -> str:
    more = len(names) - NAMED
    return ", ".join(map(str, names[:NAMED])) + (f" and {more:,} more" if more > 0 else "")


def _preempted_readers(case: Case) -> Iterator[str]:
    """The tasks that were preempted while they read, and hold the grace period up."""
    try:
        nodes = {int(per_cpu(case.prog["rcu_data"], cpu).mynode) for cpu in case.cpus}
        for address in sorted(nodes):
            node = Object(case.prog, "struct rcu_node *", address)
            at, end = node.gp_tasks, int(node.blkd_tasks.address_of_())
            for _ in range(MAX_READERS):
                if not at or int(at) == end:
                    break
                task = container_of(at, "struct task_struct", "rcu_node_entry")
                seen = case.task_at(int(task))
                if seen is None:
                    break
                yield seen.name
                at = at.next
    except (*Broken, AttributeError):
        return


def _is_awaited(case: Case, cpu: int) -> bool:
    """Whether a CPU has not passed through a quiescent state in this grace period."""
    try:
        data = per_cpu(case.prog["rcu_data"], cpu)
        return bool(data.mynode.qsmask.value_() & data.grpmask.value_())
    except Broken:
        return False
