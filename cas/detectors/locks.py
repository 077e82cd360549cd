"""Who waits for which lock, who has it, and whether they wait for one another."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from cas.choices import Kind, Weight
from cas.detectors.case import Case
from cas.detectors.lock_lists import is_on_stack
from cas.detectors.owners import OWNERLESS
from cas.detectors.waits import Lock, Locks, Wait, frame_line, without_scheduler
from cas.model.evidence import Evidence
from cas.units import human_span

NAMED = 10
"""Waiters of a lock that are named."""
SHOWN_FRAMES = 6
ORDERED = frozenset({Kind.NMI, Kind.SYSRQ, Kind.NONE})
"""Kinds of dumps that somebody wanted, perhaps of a machine that hung."""
PATIENCE_S = 20.0
NEARLY = 0.8
"""The scheduler's clock and khungtaskd's do not begin at once."""
EXPLAINED = frozenset(
    {
        Kind.HUNG_TASK,
        Kind.SOFT_LOCKUP,
        Kind.HARD_LOCKUP,
        Kind.RCU_STALL,
        Kind.NMI,
        Kind.SYSRQ,
        Kind.NONE,
        Kind.PANIC,
    }
)
"""Kinds of crashes that tasks which wait for one another explain; an oops is none of them."""
_REPORTED = re.compile(r"INFO: task .{1,64}:(\d{1,10}) (?:<\S{1,40}> )?(?:is )?blocked ")
"""``kernel/hung_task.c``: check_hung_task()."""
STRUCTURES = {
    "mutex": "mutex",
    "rwsem": "rw_semaphore",
    "semaphore": "semaphore",
    "completion": "completion",
    "rt_mutex": "rt_mutex_base",
}


def detect(case: Case) -> Iterator[Evidence]:
    """Circles first, then each lock with who waits for it, those with most waiters first."""
    locks = Locks.of(case)
    waits = list(locks.blocked())
    by_task = {wait.seen.task.value_(): wait for wait in waits}
    told: set[int] = set()
    for circle in circles(by_task):
        told.update(wait.seen.task.value_() for wait in circle)
        yield _evidence_of_deadlock(case, circle)
    groups: dict[int, list[Wait]] = defaultdict(list)
    for wait in waits:
        if wait.lock and wait.lock.kind in STRUCTURES:  # a wait queue is no lock
            groups[wait.lock.address].append(wait)
    for group in sorted(groups.values(), key=lambda group: -len(group)):
        if all(wait.seen.task.value_() in told for wait in group):
            continue  # the circle says it
        if all(wait.is_brief for wait in group):
            continue
        yield _evidence_of_queue(case, group, by_task)


def circles(waits: Mapping[int, Wait]) -> Iterator[tuple[Wait, ...]]:
    """Tasks each of which waits for a lock that the next one has for sure, and the last the first.

    :param waits: by the addresses of the tasks
    """
    done: set[int] = set()
    for start in waits:
        path: dict[int, Wait] = {}
        at: int | None = start
        while at is not None and at in waits and at not in path and at not in done:
            path[at] = waits[at]
            at = _owner_address(waits[at].lock)
        if at in path:
            order = list(path)
            yield tuple(path[each] for each in order[order.index(at) :])
        done.update(path)


def _owner_address(lock: Lock | None) -> int | None:
    if lock is None or lock.owner.seen is None:
        return None
    return int(lock.owner.seen.task.value_())


def _evidence_of_deadlock(case: Case, circle: Sequence[Wait]) -> Evidence:
    weight = Weight.CAUSE if case.kind in EXPLAINED else Weight.CONTEXT
    names = [wait.seen.comm for wait in circle]
    known = len(set(names)) == len(names)
    said = []
    for wait in circle:
        assert wait.lock is not None  # noqa: S101  a circle is made of locks
        who = wait.seen.comm if known else wait.seen.name
        said.append(f"{who} waits for {wait.lock.name}")
    sentence = f"DEADLOCK: {' → '.join(said)}"
    if len(circle) == 1:
        sentence += ", which it has itself"
    return Evidence(
        sentence,
        ", ".join(wait.lock.source for wait in circle if wait.lock),
        f"bt {circle[0].seen.pid}",
        weight,
        tuple(line for wait in circle for line in _wait_lines(wait)),
    )


def _wait_lines(wait: Wait) -> Iterator[str]:
    span = f", for {human_span(wait.waited_s)}" if wait.waited_s is not None else ""
    lock = f" for {wait.lock.name}" if wait.lock else ""
    yield f"{wait.seen.name} waits{lock} in {wait.place or '?'}{span}"
    yield from (f"  called from {frame_line(each)}" for each in wait.frames[1:SHOWN_FRAMES])


def _evidence_of_queue(case: Case, group: Sequence[Wait], by_task: Mapping[int, Wait]) -> Evidence:
    """One lock and who waits for it."""
    lock = group[0].lock
    assert lock is not None  # noqa: S101  groups are made by their locks
    who = group[0].seen.name if len(group) == 1 else f"{len(group):,} tasks"
    verb = "waits" if len(group) == 1 else "wait"
    longest_s = max((wait.waited_s for wait in group if wait.waited_s is not None), default=None)
    if lock.kind in OWNERLESS and longest_s is not None:
        up_to = "up to " if len(group) > 1 else ""
        verb = f"{'has' if len(group) == 1 else 'have'} waited {up_to}{human_span(longest_s)}"
    had_by = f"; {lock.owner.note}" if lock.owner.note else ""
    if lock.owner.seen is not None:
        had_by = f", which {lock.owner.seen.name} has"
        if (wait := by_task.get(lock.owner.seen.task.value_())) is not None:
            where = f" in {wait.at.function}" if wait.at else ""
            had_by += f"; that one is blocked{where}{wait.purpose}"
    sentence = f"{who} {verb} for {lock.title}{had_by}"
    details = [line for wait in group[:NAMED] for line in _wait_lines(wait)][: NAMED * 2]
    if len(group) > NAMED:
        details.append(f"and {len(group) - NAMED:,} more")
    owner = lock.owner.seen or lock.owner.last
    if owner and owner.task.value_() not in by_task:  # it waits for no lock itself
        role = "which has it" if lock.owner.seen else "its last reader"
        details.append(f"{owner.name}, {role}, is in state {owner.state}")
        frames = case.backtrace(owner.task)
        if owner.state != "R":
            frames = without_scheduler(frames)
        details += (f"  in {frame_line(each)}" for each in frames[:SHOWN_FRAMES])
    weight = Weight.CAUSE if _explains_crash(case, group, by_task) else Weight.CONTEXT
    command = f"struct {STRUCTURES[lock.kind]} {lock.address:#x}"
    return Evidence(sentence, lock.source, command, weight, tuple(details))


def _explains_crash(case: Case, group: Sequence[Wait], by_task: Mapping[int, Wait]) -> bool:
    """Whether the lock's owner is why a task hangs, and so why the kernel crashed or was made to.

    That one has it, or was the last of the readers that have it, waits for no lock that somebody
    has, and somebody waits for as long as makes the kernel, or a person, say so.
    """
    lock = group[0].lock
    limit_s: float | None = None
    if case.kind in ORDERED:
        limit_s = PATIENCE_S
    elif case.kind == Kind.HUNG_TASK and (told_s := case.number("sysctl_hung_task_timeout_secs")):
        limit_s = NEARLY * told_s
    if limit_s is None or lock is None:
        return False
    if lock.kind in OWNERLESS:
        return _is_all_that_hangs(case, group, limit_s)
    owner = lock.owner.seen or lock.owner.last
    if owner is None:
        return False
    wait = by_task.get(owner.task.value_())
    is_last = wait is None or _owner_address(wait.lock) is None
    return is_last and max(each.waited_s or 0 for each in group) >= limit_s


def _is_all_that_hangs(case: Case, group: Sequence[Wait], limit_s: float) -> bool:
    """Whether the kernel reported no hung task but those that wait for a lock without an owner.

    A completion on the waiter's own stack, and input or output, are for something that has a name
    of its own: a work item, a request, a grace period. Then that is what explains the hang.
    """
    lock = group[0].lock
    if case.kind != Kind.HUNG_TASK or lock is None or lock.owner.left != 0:
        return False
    if any(wait.does_io or wait.asks_server for wait in group):
        return False
    if any(is_on_stack(case, wait.seen.task, lock.address) for wait in group):
        return False
    lines = (case.log[number].text for number in case.log.having("INFO: task "))
    reported = {int(found[1]) for text in lines if (found := _REPORTED.match(text))}
    here = {wait.seen.pid for wait in group if (wait.waited_s or 0) >= limit_s}
    return bool(reported) and reported <= here
