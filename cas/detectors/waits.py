"""What a sleeping task waits for: the lock in whose list of waiters it stands, and who has that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field

from drgn import Object

from cas.detectors.case import Broken, Case, KernelTask
from cas.detectors.lock_lists import KINDS, WAIT_QUEUE, Kind, Rings, candidates
from cas.detectors.owners import NOBODY, Owner, lock_name, owner_of
from cas.frozen import dataclass
from cas.model.code import Frame

RPC_DEPTH = 4
SHARE_FOR_STACKS = 0.8
"""Share of a detector's time after which no more stacks are unwound."""
BRIEF_S = 1.0
LONGEST_WAIT_S = 10 * 365 * 86_400

SCHEDULING = frozenset(
    [
        "__switch_to",
        "context_switch",
        "__schedule",
        "__schedule_loop",
        "schedule",
        "schedule_preempt_disabled",
        "schedule_timeout",
        "io_schedule",
        "io_schedule_timeout",
        "schedule_timeout_uninterruptible",
        "schedule_hrtimeout_range",
        "schedule_hrtimeout_range_clock",
        "schedule_hrtimeout",
        "schedule_timeout_interruptible",
        "schedule_timeout_killable",
        "rwsem_schedule",
        "rt_mutex_schedule",
    ]
)
"""What a sleeping task has on top of its stack."""
IN_IO = frozenset({"io_schedule", "io_schedule_timeout"})
WAITING = re.compile(
    r"bit_wait(?:_io|_timeout|_io_timeout)?|_*(?:out_of_line_)?wait_on_bit\w*|_*wait_on_buffer"
    r"|_*s?bread\w*|_*folio_(?:wait|lock|put_wait)\w*|_*(?:wait_on|lock)_page\w*|_*sync_dirty_buffer"
    r"|blk_(?:wait_io|io_schedule)|wait_woken|__lock_buffer|_*submit_bio_wait"
    r"|_*percpu_(?:rwsem_wait|down_read|down_write)|_*sb_start_write|_*mnt_want_write\w*"
    r"|inode_lock\w*|mmap_(?:read|write)_lock\w*|i_mmap_lock_\w+|filemap_invalidate_lock\w*"
)
"""Functions that wait for a bit, a page, a block or a freeze to end, for whoever called them."""
RPC = frozenset({"rpc_wait_bit_killable", "rpc_wait_for_completion_task"})
"""net/sunrpc/sched.c: NFS and its like wait for their server there."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that somebody waits for."""

    kind: str
    address: int
    name: str
    """``mb``, or ``mutex at 0x…`` and in what."""
    source: str
    """Its symbol with the kernel module, or its address."""
    owner: Owner = NOBODY

    @property
    def title(self) -> str:
        """Its kind and name: ``mutex mb``."""
        return self.name if self.name.startswith(self.kind) else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Wait:
    """A task that waits."""

    seen: KernelTask
    kind: str | None
    """``mutex``, …; ``None``: for something else."""
    frames: tuple[Frame, ...] = ()
    """From what called the lock's functions, or the scheduler's, outwards."""
    lock: Lock | None = None
    """``None``: which it is cannot be proved."""
    waited_s: float | None = None
    """How long ago it last ran."""
    does_io: bool = False
    """It waits for input or output, as the kernel itself counts it."""
    asks_server: bool = False
    """It waits for the answer to a remote procedure call."""

    @property
    def is_brief(self) -> bool:
        """Whether it waits for as long only as tasks do that find what they wait for."""
        return self.waited_s is not None and self.waited_s < BRIEF_S

    @property
    def at(self) -> Frame | None:
        """Where it waits: what called the functions that only wait; ``None``: it is unknown."""
        known = (each for each in self.frames if not WAITING.fullmatch(each.function))
        return next(known, self.frames[0] if self.frames else None)

    @property
    def purpose(self) -> str:
        """What it waits for: ``, waiting for mutex ma of x (pid 48)``; empty: it is unknown."""
        lock = self.lock
        is_queue = lock is not None and lock.kind == WAIT_QUEUE.name
        if lock is not None and not (is_queue and (self.asks_server or self.does_io)):
            had = f" of {lock.owner.seen.name}" if lock.owner.seen else ""
            return f", waiting for {lock.title}{had}"
        if self.kind not in (None, WAIT_QUEUE.name):
            return f", waiting for a {self.kind}; which cannot be told"
        if self.asks_server:
            return ", waiting for the answer of a server (RPC)"
        return ", waiting for input or output" if self.does_io else ""

    @property
    def place(self) -> str:
        """The same with file and line; empty: it is unknown."""
        return frame_line(self.at) if self.at else ""


@dataclass(slots=True)
class Locks:
    """The waits of a dump; each lock is looked at once."""

    case: Case
    _locks: dict[tuple[str, int], Lock] = field(default_factory=dict)
    _waits: dict[int, Wait] = field(default_factory=dict)
    _rings: Rings = field(init=False)

    def __post_init__(self) -> None:
        self._rings = Rings(self.case)

    @staticmethod
    def of(case: Case) -> Locks:
        """Those of a case, the same for all detectors."""
        locks: Locks = case.kept.setdefault("locks", Locks(case))
        return locks

    def blocked(self) -> Iterator[Wait]:
        """Those of the tasks in uninterruptible sleep, as far as there is time for their stacks."""
        tasks = list(self.case.tasks("D"))
        for number, seen in enumerate(tasks):
            if self.case.clock.is_used(SHARE_FOR_STACKS):
                self.case.remark(f"looked at {number:,} of {len(tasks):,} stacks of blocked tasks")
                return
            yield self.wait_of(seen)

    def wait_of(self, seen: KernelTask) -> Wait:
        """What a sleeping task waits for, as far as that can be proved."""
        key = seen.task.value_()
        if key in self._waits:
            return self._waits[key]
        frames = self.case.backtrace(seen.task)
        rest = without_scheduler(frames)
        does_io = any(each.function in IN_IO for each in frames[: len(frames) - len(rest)])
        waited_s = waited(self.case, seen.task)
        kind = next((kind for kind in KINDS if rest and _is_in(kind, rest[0])), None)
        if kind is not None:
            # beyond the lock's own functions
            callers = (n for n, each in enumerate(rest) if not _is_in(kind, each))
            rest = rest[next(callers, 0) :]
        lock = self._lock(seen, kind, rest)
        name = lock.kind if lock else kind.name if kind else None
        asks_server = any(each.function in RPC for each in rest[:RPC_DEPTH])
        wait = Wait(seen, name, rest, lock, waited_s, does_io, asks_server)
        self._waits[key] = wait
        return wait

    def _lock(self, seen: KernelTask, kind: Kind | None, rest: tuple[Frame, ...]) -> Lock | None:
        try:
            rt = self._rt_lock(seen)
            if rt is not None:
                return rt
            for each in candidates(kind):
                address = self._rings.lock_of(seen, each)
                if address is not None:
                    return self._described(each.name, address, seen)
        except Broken:
            pass
        return None

    def _described(self, kind: str, address: int, seen: KernelTask) -> Lock:
        key = (kind, address)
        if key not in self._locks:
            name, source = lock_name(self.case, kind, address, seen.task)
            owner = owner_of(self.case, kind, address)
            self._locks[key] = Lock(kind, address, name, source, owner)
        return self._locks[key]

    def _rt_lock(self, seen: KernelTask) -> Lock | None:
        """The lock with priority inheritance, kernel/locking/rtmutex.c, that a task waits for."""
        try:
            waiter = seen.task.pi_blocked_on
            if not waiter or waiter.task.value_() != seen.task.value_():
                return None
        except (*Broken, AttributeError):
            return None
        return self._described("rt_mutex", waiter.lock.value_(), seen)


def without_scheduler(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """A sleeping task's frames from the one on that went to sleep."""
    first = next((n for n, each in enumerate(frames) if each.function not in SCHEDULING), 0)
    return frames[first:]


def frame_line(frame: Frame) -> str:
    """A frame in a line: function, kernel module, file and line."""
    kmod = f" [{frame.kmod}]" if frame.kmod else ""
    at = f" at {frame.file}:{frame.line}" if frame.file else ""
    return f"{frame.function}{kmod}{at}"


def waited(case: Case, task: Object) -> float | None:
    """How many seconds ago a sleeping task last ran; ``None``: that makes no sense.

    The scheduler notes the time when it takes a task off its CPU, by that CPU's clock of tasks,
    which stands still while the CPU is idle.
    """
    try:
        rq = case.run_queue(case.cpu_of(task))
        slept = case.clock_ns - rq.clock.value_() + rq.clock_task.value_()
        seconds = (slept - task.se.exec_start.value_()) / 1e9
    except Broken:
        return None
    longest = case.uptime_s + 1 if case.uptime_s else LONGEST_WAIT_S
    return float(seconds) if 0 <= seconds <= longest else None


def _is_in(kind: Kind, frame: Frame) -> bool:
    return kind.functions.fullmatch(frame.function) is not None
