"""Work queues that get on no more: work that is not begun, and work that does not end.

The kernel notes when a pool of workers last took up work; while there is work to take up, that time
tells how long the pool stands still. The kernel's own watchdog goes by it as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from drgn import Object, container_of
from drgn.helpers.linux.idr import idr_for_each
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.sched import cpu_curr

from cas.choices import Kind, Weight
from cas.detectors.case import Broken, Case, KernelTask, word_size
from cas.detectors.layout import looking_at, member
from cas.detectors.moment import CLOCK_SYMBOLS, Moment, long_s, moment_of
from cas.detectors.needs import Needs
from cas.detectors.waits import waited
from cas.frozen import dataclass
from cas.model.evidence import Evidence
from cas.units import human_span

NEEDS = Needs(
    symbols=("worker_pool_idr", CLOCK_SYMBOLS), types=("struct worker_pool", "struct worker")
)
STALLED_S = 10.0
"""From which on a pool that takes up no work is told; the kernel's own watchdog waits 30 s."""
BLOCKED_S = 20.0
"""From which on work that sleeps is told, without anybody who waits for it."""
MAX_POOLS = 10_000
MAX_WORKERS = 2000
MAX_WORK = 1000
LISTED = 6
TIME_SHARE = 0.7
TASKS_NAMED = 3


@dataclass(frozen=True, slots=True)
class Held:
    """Work that has not begun."""

    functions: tuple[str, ...] = ()
    waiting: tuple[KernelTask, ...] = ()
    """Tasks that wait for the end of one of them."""


@dataclass(frozen=True, slots=True)
class Busy:
    """A worker with what it does."""

    seen: KernelTask
    address: int
    """Address of its ``struct worker``."""
    function: str
    queue: str
    asleep_s: float | None
    """Since when it has not run; ``None``: it runs, or that cannot be told."""
    waiting: tuple[KernelTask, ...]
    """Tasks that wait for this work's end."""
    behind: Held
    """What of the same queue cannot begin before it ends."""

    @property
    def line(self) -> str:
        """It in a line."""
        state = "runs" if self.asleep_s is None else f"has slept for {human_span(self.asleep_s)}"
        return f"{self.seen.name} with {self.function} of {self.queue} {state}"


def detect(case: Case) -> Iterator[Evidence]:
    """The pools that stand still, and the work that others wait for."""
    moment = moment_of(case)
    told: set[int] = set()
    for number, (_, entry) in enumerate(
        islice(idr_for_each(case.prog["worker_pool_idr"].address_of_()), MAX_POOLS)
    ):
        if case.clock.is_used(TIME_SHARE):
            case.remark(f"looked at {number:,} pools of workers, of more")
            return
        pool = Object(case.prog, "struct worker_pool *", entry.value_())
        with looking_at(case, f"pool {pool.value_():#x}"):
            yield from _evidence_of_pool(case, pool, moment, told)


def _evidence_of_pool(
    case: Case, pool: Object, moment: Moment, told: set[int]
) -> Iterator[Evidence]:
    stalled_s: float | None = None
    if pool.worklist.next.value_() != pool.worklist.address_of_().value_():
        # the kernel's own watchdog goes by that time, since Linux 4.5 (82607adcf9cd)
        bits = 8 * word_size(case.prog)
        stalled_s = moment.seconds_since_tick(int(pool.watchdog_ts.value_()), bits)
    has_busy = int(pool.nr_workers.value_()) > int(pool.nr_idle.value_())
    if stalled_s is None and not has_busy:
        return
    all_workers = list_for_each_entry("struct worker", pool.workers.address_of_(), "node")
    bounded = islice(all_workers, MAX_WORKERS)
    workers = [_busy_worker(case, worker) for worker in bounded if worker.current_func]
    if stalled_s is not None and stalled_s >= long_s(case, STALLED_S):
        yield _stalled_pool(case, pool, stalled_s, workers)
    for each in workers:
        if each.address not in told and is_told(each, long_s(case, STALLED_S)):
            told.add(each.address)
            sentence = (
                f"work {each.function} of {each.queue} has slept for"
                f" {human_span(each.asleep_s or 0)} in {each.seen.name}{who_waits(each.waiting)}"
            )
            if each.behind.functions:
                more = len(each.behind.functions) - 1
                first = each.behind.functions[0] + (f" and {more:,} more" if more else "")
                waits = who_waits(each.behind.waiting, "that")
                sentence += f"; {first} of that queue cannot begin before{waits}"
            yield Evidence(
                sentence,
                f"worker {each.address:#x}",
                f"bt {each.seen.pid}",
                work_weight(case, each.waiting + each.behind.waiting),
            )


def is_told(busy: Busy, long: float) -> bool:
    """Whether work that sleeps is told: somebody waits for it, or it cannot be disturbed.

    :param long: from how many seconds on
    """
    if busy.asleep_s is None or busy.asleep_s < long:
        return False
    if busy.waiting or busy.behind.functions:
        return True
    return busy.seen.state == "D" and busy.asleep_s >= BLOCKED_S


def _stalled_pool(case: Case, pool: Object, stalled_s: float, workers: list[Busy]) -> Evidence:
    pending = pending_work(case, pool.worklist)
    first = pending.functions[0] if pending.functions else "?"
    count = f"{len(pending.functions):,}{' or more' if len(pending.functions) >= MAX_WORK else ''}"
    idle = int(pool.nr_idle.value_())
    cpu, number = int(pool.cpu.value_()), int(pool.id.value_())
    name = f"worker pool {number} of CPU {cpu}" if cpu >= 0 else f"unbound worker pool {number}"
    spare = "no idle worker"
    if idle > 0:
        spare = f"{idle:,} idle workers"
        if cpu >= 0 and (seen := case.kernel_task(cpu_curr(case.prog, cpu))).pid > 0:
            spare += f", but the CPU runs {seen.name}"
    return Evidence(
        f"{name} has taken up no work for {human_span(stalled_s)}:"
        f" {count} pending, first {first}; {spare}"
        f"{who_waits(pending.waiting)}",
        f"worker_pool {pool.value_():#x}",
        f"struct worker_pool {pool.value_():x}",
        work_weight(case, pending.waiting),
        tuple(each.line for each in workers[:LISTED]),
    )


def who_waits(tasks: Sequence[KernelTask], what: str = "it") -> str:
    """Who waits for the end of work, ``, for which …``; empty: nobody."""
    if not tasks:
        return ""
    more = len(tasks) - TASKS_NAMED
    who = ", ".join(seen.name for seen in tasks[:TASKS_NAMED])
    who += f" and {more:,} more" if more > 0 else ""
    return f", and {who} {'waits' if len(tasks) == 1 else 'wait'} for {what}"


def work_weight(case: Case, waiting: Sequence[KernelTask]) -> Weight:
    """What work that does not end means for the crash, by who waits for it."""
    is_hung = case.kind == Kind.HUNG_TASK and any(seen.state == "D" for seen in waiting)
    return Weight.CAUSE if is_hung else Weight.CONTEXT


def _busy_worker(case: Case, worker: Object) -> Busy:
    seen = case.kernel_task(worker.task)
    is_asleep = seen.state not in ("R", "?")
    queue, behind = "?", Held()
    try:
        pwq = worker.current_pwq
        queue = f"workqueue {case.text(pwq.wq.name, 32)}"
        # renamed in Linux 5.15 (f97a4a1a3f87)
        behind = pending_work(case, member(pwq, "inactive_works", "delayed_works"))
    except (AttributeError, *Broken):
        pass
    return Busy(
        seen,
        worker.value_(),
        _function_with_kmod(case, int(worker.current_func.value_())),
        queue,
        waited(case, worker.task) if is_asleep else None,
        pending_work(case, worker.scheduled).waiting,
        behind,
    )


def pending_work(case: Case, head: Object) -> Held:
    """The work of a list, and who waits for it.

    Tasks in flush_work() and the like have put a piece of work of their own behind.
    """
    functions: list[str] = []
    waiting: list[KernelTask] = []
    works = list_for_each_entry("struct work_struct", head.address_of_(), "entry")
    for work in islice(works, MAX_WORK):
        function = _function_with_kmod(case, int(work.func.value_()))
        if function != "wq_barrier_func":
            functions.append(function)
            continue
        barrier = container_of(work, "struct wq_barrier", "work")
        seen = case.task_at(int(barrier.task.value_()))
        waiting += [seen] if seen else []
    return Held(tuple(functions), tuple(waiting))


def _function_with_kmod(case: Case, address: int) -> str:
    """A function's name, with its kernel module's."""
    symbol = case.symbol(address)
    return symbol.replace("+0x0", "") if symbol else f"{address:#x}"
