"""Work queues that get on no more: work that is not begun, and work that does not end.

The kernel notes when a pool of workers last took up work; while there is work to take up, that time
tells how long the pool stands still. The kernel's own watchdog goes by it as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from drgn import Object, container_of
from drgn.helpers.linux.idr import idr_for_each
from drgn.helpers.linux.list import list_for_each_entry

from cas.detectors.case import Broken, Case, Seen, word_size
from cas.detectors.layout import looking_at, member
from cas.detectors.moment import Moment, moment_of
from cas.detectors.needs import Needs
from cas.detectors.waits import waited
from cas.klog.kinds import Kind
from cas.model import Evidence, Weight
from cas.units import human_span

NEEDS = Needs(symbols=("worker_pool_idr",), types=("struct worker_pool", "struct worker"))
STALLED_S = 10.0
"""From which on a pool that takes up no work is told; the kernel's own watchdog waits 30 s."""
BLOCKED_S = 20.0
"""From which on work that sleeps is told, without anybody who waits for it."""
MAX_POOLS = 10_000
MAX_WORKERS = 2000
MAX_WORK = 1000
LISTED = 6
TIME_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Busy:
    """A worker with what it does."""

    seen: Seen
    address: int
    """Of its ``struct worker``."""
    function: str
    queue: str
    asleep_s: float | None
    """Since when it has not run; ``None``: it runs, or that cannot be told."""
    waiting: tuple[Seen, ...]
    """Tasks that wait for this work's end."""
    behind: int
    """Work of the same queue that must wait until it ends."""

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
            yield from _look(case, pool, moment, told)


def _look(case: Case, pool: Object, moment: Moment, told: set[int]) -> Iterator[Evidence]:
    stalled_s = _stalled(pool, moment)
    has_busy = int(pool.nr_workers.value_()) > int(pool.nr_idle.value_())
    if stalled_s is None and not has_busy:
        return
    workers = list(_busy(case, pool))
    if stalled_s is not None and stalled_s >= STALLED_S:
        yield _standing(case, pool, stalled_s, workers)
    for each in workers:
        if each.address not in told and is_told(each):
            told.add(each.address)
            yield _unending(case, each)


def is_told(busy: Busy) -> bool:
    """Whether work that sleeps is told: somebody waits for it, or it cannot be disturbed."""
    if busy.asleep_s is None or busy.asleep_s < STALLED_S:
        return False
    if busy.waiting or busy.behind:
        return True
    return busy.seen.state == "D" and busy.asleep_s >= BLOCKED_S


def _standing(case: Case, pool: Object, stalled_s: float, workers: list[Busy]) -> Evidence:
    pending = list(islice(_pending(pool), MAX_WORK))
    first = _function(case, pending[0]) if pending else "?"
    count = f"{len(pending):,}{' or more' if len(pending) == MAX_WORK else ''}"
    idle = int(pool.nr_idle.value_())
    where = f"of CPU {int(pool.cpu.value_())}" if int(pool.cpu.value_()) >= 0 else "of no CPU"
    spare = "no idle worker" if idle <= 0 else f"{idle:,} idle workers"
    return Evidence(
        f"worker pool {pool.id.value_()} {where} has taken up no work for {human_span(stalled_s)}:"
        f" {count} pending, first {first}; {spare}",
        f"worker_pool {pool.value_():#x}",
        f"struct worker_pool {pool.value_():x}",
        Weight.CONTEXT,
        tuple(each.line for each in workers[:LISTED]),
    )


def _unending(case: Case, busy: Busy) -> Evidence:
    parts = [f"work {busy.function} of {busy.queue} has slept for {human_span(busy.asleep_s or 0)}"]
    parts[0] += f" in {busy.seen.name}"
    if busy.waiting:
        who = ", ".join(seen.name for seen in busy.waiting[:3])
        more = len(busy.waiting) - 3
        who += f" and {more:,} more" if more > 0 else ""
        parts.append(f"{who} {'waits' if len(busy.waiting) == 1 else 'wait'} for its end")
    if busy.behind:
        parts.append(f"{busy.behind:,} more of the queue cannot begin before")
    hung = case.kind == Kind.HUNG_TASK and any(seen.state == "D" for seen in busy.waiting)
    return Evidence(
        "; ".join(parts),
        f"worker {busy.address:#x}",
        f"bt {busy.seen.pid}",
        Weight.CAUSE if hung else Weight.CONTEXT,
    )


def _stalled(pool: Object, moment: Moment) -> float | None:
    """How long a pool has taken up no work although there is some; ``None``: there is none."""
    if pool.worklist.next.value_() == pool.worklist.address_of_().value_():
        return None
    bits = 8 * word_size(pool.prog_)
    return moment.seconds_since_tick(int(pool.watchdog_ts.value_()), bits)


def _pending(pool: Object) -> Iterator[Object]:
    return list_for_each_entry("struct work_struct", pool.worklist.address_of_(), "entry")


def _busy(case: Case, pool: Object) -> Iterator[Busy]:
    workers = list_for_each_entry("struct worker", pool.workers.address_of_(), "node")
    for worker in islice(workers, MAX_WORKERS):
        if worker.current_func:
            yield _worker(case, worker)


def _worker(case: Case, worker: Object) -> Busy:
    seen = case.seen(worker.task)
    is_asleep = seen.state not in ("R", "?")
    queue, behind = "?", 0
    try:
        pwq = worker.current_pwq
        queue = f"workqueue {case.text(pwq.wq.name, 32)}"
        behind = _behind(pwq)
    except (AttributeError, *Broken):
        pass
    return Busy(
        seen,
        worker.value_(),
        _name(case, int(worker.current_func.value_())),
        queue,
        waited(case, worker.task) if is_asleep else None,
        tuple(_waiting(case, worker)),
        behind,
    )


def _behind(pwq: Object) -> int:
    """Work that may not begin: so much of its queue is active already as may be at once."""
    # renamed in 5.17 (f97a4a1a3f87)
    held = member(pwq, "inactive_works", "delayed_works")
    work = list_for_each_entry("struct work_struct", held.address_of_(), "entry")
    return sum(1 for _ in islice(work, MAX_WORK))


def _waiting(case: Case, worker: Object) -> Iterator[Seen]:
    """Tasks in flush_work() and the like: each has put a piece of work of its own behind."""
    scheduled = list_for_each_entry("struct work_struct", worker.scheduled.address_of_(), "entry")
    for work in islice(scheduled, MAX_WORK):
        if _function(case, work) == "wq_barrier_func":
            barrier = container_of(work, "struct wq_barrier", "work")
            seen = case.task_at(int(barrier.task.value_()))
            if seen is not None:
                yield seen


def _function(case: Case, work: Object) -> str:
    return _name(case, int(work.func.value_()))


def _name(case: Case, address: int) -> str:
    """A function's name, with its kernel module's."""
    symbol = case.symbol(address)
    return symbol.replace("+0x0", "") if symbol else f"{address:#x}"
