"""Block I/O in flight, and how long.

A disk that is well answers in milliseconds. What is told is a request that was given to the disk's
driver, or waits to be given, for longer than any healthy one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from drgn import Object
from drgn.helpers.linux.block import (
    _queue_for_each_hw_ctx,
    blk_rq_bytes,
    blk_rq_pos,
    for_each_disk,
    req_op,
    request_queue_busy_iter,
)

from cas.choices import Kind, Weight
from cas.detectors.blocked_io import waiting_for_io
from cas.detectors.case import Case, has_member
from cas.detectors.layout import looking_at, member
from cas.detectors.moment import CLOCK_SYMBOLS, Moment, long_s, moment_of
from cas.detectors.needs import Needs
from cas.model.evidence import Evidence
from cas.units import human_span

NEEDS = Needs(symbols=("block_class", CLOCK_SYMBOLS), types=("struct request_queue",))
OLD_S = 5.0
"""From which on a request is told."""
STUCK_S = 20.0
"""From which on it explains why tasks hang that wait for a disk."""
MAX_DISKS = 5000
MAX_HARDWARE = 8192
"""Hardware queues of a disk: not more than CPUs."""
MAX_TAGS = 64 << 10
"""BLK_MQ_MAX_DEPTH is 10,240."""
MAX_SHIFT = 6
"""A word of a bitmap has ``1 << shift`` bits, at most 64."""
MAX_REQUESTS = 2000
"""Requests of a disk that are looked at."""
LISTED = 6
TIME_SHARE = 0.7
STATES = {0: "not given to the driver", 1: "in flight", 2: "done, not ended"}
"""enum mq_rq_state, include/linux/blk-mq.h, since Linux 4.18 (12f5b9314545) without a generation in
its upper bits."""


class Request(NamedTuple):
    """One request for a disk."""

    address: int
    """Address of its ``struct request``."""
    operation: str
    sector: int
    size: int
    """In bytes."""
    state: str
    age_s: float | None
    """Since it was made; ``None``: that cannot be told."""


def detect(case: Case) -> Iterator[Evidence]:
    """The disks with old requests."""
    moment = moment_of(case)
    for number, disk in enumerate(islice(for_each_disk(case.prog), MAX_DISKS)):
        if case.clock.is_used(TIME_SHARE):
            case.remark(f"looked at {number:,} disks, of more")
            return
        name = case.text(disk.disk_name, 32)
        with looking_at(case, name):
            requests = list(islice(_busy_requests(case, disk, moment), MAX_REQUESTS))
            yield from old_requests(case, name, disk, requests)


def old_requests(
    case: Case, name: str, disk: Object, requests: list[Request]
) -> Iterator[Evidence]:
    """A disk with requests that wait for long."""
    old = [
        each for each in requests if each.age_s is not None and each.age_s >= long_s(case, OLD_S)
    ]
    if not old:
        return
    old.sort(key=lambda each: -(each.age_s or 0))
    oldest = old[0].age_s or 0
    count = f"{len(old):,} of {len(requests):,} requests" if len(requests) > 1 else "a request"
    if len(requests) == MAX_REQUESTS:
        count = f"{len(old):,} requests of more than {MAX_REQUESTS:,}"
    waits = "has waited" if len(old) == 1 else "have waited"
    span = human_span(oldest) if len(old) == 1 else f"up to {human_span(oldest)}"
    is_cause = (
        case.kind == Kind.HUNG_TASK
        and oldest >= long_s(case, STUCK_S)
        and waiting_for_io(case) is not None
    )
    yield Evidence(
        f"{name}: {count} {waits} for {span} ({old[0].operation}, {old[0].state})",
        f"request {old[0].address:#x}, gendisk {disk.value_():#x}",
        f"struct request {old[0].address:x}",
        Weight.CAUSE if is_cause else Weight.CONTEXT,
        tuple(request_line(each) for each in old[:LISTED]),
    )


def request_line(each: Request) -> str:
    """A request in a line."""
    age = f", for {human_span(each.age_s)}" if each.age_s is not None else ""
    return (
        f"{each.operation} of {each.size:,} bytes at sector {each.sector:,}, {each.state}{age}:"
        f" request {each.address:#x}"
    )


def _busy_requests(case: Case, disk: Object, moment: Moment) -> Iterator[Request]:
    queue = disk.queue
    if not queue or not hasattr(queue, "tag_set") or not queue.tag_set:
        return  # one that hands I/O on, or makes requests of no kind that this kernel still has
    if not is_plausible(queue):
        case.remark(f"the tags of {case.text(disk.disk_name, 32)} make no sense")
        return
    for rq in request_queue_busy_iter(queue):
        if not rq:
            continue
        try:
            state = STATES.get(int(rq.state.value_()), "in an unknown state")
        except AttributeError:
            state = "in flight"
        # the operation is a number apart from the flags since Linux 4.10 (ef295ecf090d)
        operation = req_op(rq).format_(type_name=False)
        yield Request(
            rq.value_(),
            case.text(operation).removeprefix("REQ_OP_").lower(),
            int(blk_rq_pos(rq)),
            int(blk_rq_bytes(rq)),
            state,
            _age_of_request(rq, moment),
        )


def is_plausible(queue: Object) -> bool:
    """Whether a queue's tags have sizes that drgn can be let loose on: it believes all it reads."""
    tag_set = queue.tag_set
    hardware = int(tag_set.nr_hw_queues.value_())
    if not 0 < hardware <= MAX_HARDWARE or int(queue.nr_hw_queues.value_()) > MAX_HARDWARE:
        return False
    every = [tag_set.tags[number] for number in range(hardware)]
    if queue.elevator:
        # all queues of a host may share their tags, in this form since Linux 5.16 (e155b0c238b2)
        if has_member(queue, "sched_shared_tags") and queue.sched_shared_tags:
            every.append(queue.sched_shared_tags)
        contexts = islice(_queue_for_each_hw_ctx(queue), MAX_HARDWARE)
        every += [context.sched_tags for context in contexts]
    for tags in filter(None, every):
        # pointers from Linux 5.10 (222a5ae03cdd) on, no longer since Linux 5.16 (ae0f1a732f4a):
        # drgn writes both the same
        maps = (tags.bitmap_tags.sb, tags.breserved_tags.sb)
        sizes = (tags.nr_tags, *(each.depth for each in maps), *(each.map_nr for each in maps))
        if any(int(size.value_()) > MAX_TAGS for size in sizes):
            return False
        if any(int(each.shift.value_()) > MAX_SHIFT for each in maps):
            return False
    return True


def _age_of_request(rq: Object, moment: Moment) -> float | None:
    """Since when a request is there, by the time that is kept for the statistics, if it is; in
    nanoseconds since Linux 4.18 (522a777566f5).

    Else by its deadline, which was set when it was given to the driver.
    """
    age = moment.seconds_since(int(rq.start_time_ns.value_()))
    if age is not None and age >= 0:
        return age
    deadline = member(rq, "deadline", "__deadline")
    timeout = int(rq.timeout.value_())
    bits = 8 * deadline.type_.size
    late = moment.seconds_since_tick(int(deadline.value_()), bits)
    if not deadline.value_() or late is None or timeout <= 0:
        return None
    age = late + timeout / moment.hz
    return age if age >= 0 else None
