"""Who has the memory.

Where memory ran out, the largest holders are the cause: tasks by their anonymous memory (of shared
memory it cannot be said whose it is), slab caches, tmpfs, and what the kernel counts of itself.
After other crashes it is told only that the machine was short of memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from cas.choices import Kind, Weight
from cas.detectors.case import Case
from cas.detectors.layout import looking_at
from cas.detectors.memory_groups import is_of_group
from cas.detectors.memory_holders import (
    Cache,
    Caller,
    Process,
    Tmpfs,
    largest_caches,
    largest_callers,
    largest_processes,
    largest_tmpfs,
)
from cas.detectors.memory_use import (
    ANON,
    CACHE,
    HUGE,
    KEPT_SLAB,
    PERCPU,
    SHMEM,
    SLAB,
    TABLES,
    VMALLOC,
    Use,
    memory_use,
)
from cas.detectors.needs import Needs
from cas.frozen import dataclass
from cas.klog.oom_report import KERNEL_SHARE, TASK_SHARE, UNCOUNTED, holding_sentence
from cas.model.evidence import Evidence
from cas.text import count
from cas.units import human_size

NEEDS = Needs(symbols=("vm_zone_stat", "vm_node_stat"))
GROWN_SHARE = 1 / 2
"""Share of all memory from which on unreclaimable slab is told after any crash."""
LOW_SHARE = 0.03
"""Available of all, below which a machine is short of memory."""
TOLD = 3
LISTED = 5


@dataclass(frozen=True, slots=True)
class Holder:
    """Something that holds memory."""

    what: str
    size: int
    """In bytes."""
    source: str
    command: str
    is_kernel: bool = True
    """The kernel itself uses it, not tasks."""
    details: tuple[str, ...] = ()

    def is_large(self, total: int) -> bool:
        """Whether it has so much that it explains why there is none left."""
        return self.size >= total * (KERNEL_SHARE if self.is_kernel else TASK_SHARE)


def detect(case: Case) -> Iterator[Evidence]:
    """Who ate it, after an out of memory; else whether the machine was short of it."""
    use = memory_use(case)
    if use.total <= 0:
        case.remark("the kernel's count of its memory makes no sense")
        return
    if case.kind == Kind.OUT_OF_MEMORY and not is_of_group(case):
        callers = largest_callers(case) if use.parts.get(VMALLOC, 0) >= use.total / 10 else []
        holders = list(kernel_holders(use, callers))
        caches = largest_caches(case, use.total)
        holders += slab_holders(caches)
        with looking_at(case, "processes"):
            holders += task_holders(largest_processes(case), use.total)
        holders += shmem_holders(use, largest_tmpfs(case))
        holders += without_owner(use, holders)
        yield from eaters(holders, use)
        yield Evidence(
            f"of {human_size(use.total)} {human_size(use.free)} are free and"
            f" {human_size(use.available)} available",
            "vm_node_stat, vm_zone_stat",
            "kmem -i",
            details=tuple(breakdown(use)),
        )
        return
    yield from shortage(use)
    if use.parts.get(KEPT_SLAB, 0) >= use.total * GROWN_SHARE:
        caches = largest_caches(case, use.total)
        for holder in slab_holders(caches[:1]):
            yield holder_evidence(holder, use.total, Weight.CONTEXT)


def eaters(holders: Iterable[Holder], use: Use) -> Iterator[Evidence]:
    """The holders that explain why there is no memory left, largest first."""
    ranked = sorted(holders, key=lambda holder: -holder.size)
    large = [holder for holder in ranked if holder.is_large(use.total)]
    for holder in large[:TOLD]:
        yield holder_evidence(holder, use.total, Weight.CAUSE)


def without_owner(use: Use, holders: Sequence[Holder]) -> Iterator[Holder]:
    """What tasks and slab caches have together, where none of them has much."""
    for part, source, command, is_kernel in (
        (ANON, "NR_ANON_MAPPED", "ps -G", False),
        (KEPT_SLAB, "NR_SLAB_UNRECLAIMABLE", "kmem -s", True),
    ):
        whole = Holder(part, use.parts.get(part, 0), source, command, is_kernel)
        kind = "task" if part == ANON else "slab "
        if not any(kind in each.what and each.is_large(use.total) for each in holders):
            yield whole


def holder_evidence(holder: Holder, total: int, weight: Weight) -> Evidence:
    """A holder in a sentence."""
    return Evidence(
        holding_sentence(holder.what, holder.size, total),
        holder.source,
        holder.command,
        weight,
        holder.details,
    )


def kernel_holders(use: Use, callers: Sequence[Caller] = ()) -> Iterator[Holder]:
    """What the kernel uses, of which no owner is known.

    :param callers: who asked for vmalloc's
    """
    for part, source, command in (
        (TABLES, "NR_PAGETABLE", "kmem -V"),
        (VMALLOC, "nr_vmalloc_pages", "kmem -v"),
        (PERCPU, "pcpu_nr_populated", "p pcpu_nr_populated"),
        (HUGE, "hstates", "kmem -h"),
    ):
        details: tuple[str, ...] = ()
        if part == HUGE and use.huge_free:
            details = (f"{human_size(use.huge_free)} of them are in no use",)
        what, size = part, use.parts.get(part, 0)
        if part == VMALLOC:
            details = tuple(
                f"{each.function} has {human_size(each.size)} in {count(each.areas, 'area')}"
                for each in callers[:LISTED]
            )
            if callers and size / 2 < callers[0].size <= size:
                what, size = f"{callers[0].function} by vmalloc", callers[0].size
        yield Holder(what, size, source, command, details=details)
    yield Holder(
        UNCOUNTED,
        use.unaccounted,
        "totalram_pages, vm_node_stat",
        "kmem -i",
    )


def slab_holders(caches: Sequence[Cache]) -> Iterator[Holder]:
    """The slab caches."""
    for cache in caches[:LISTED]:
        size = f"{cache.objects:,} objects of {cache.object_size:,} bytes have room in it"
        yield Holder(
            f"slab {cache.name}",
            cache.size,
            f"kmem_cache {cache.address:#x}",
            f"kmem -s {cache.name}",
            details=(size,),
        )


def task_holders(processes: Sequence[Process], total: int) -> Iterator[Holder]:
    """The processes, and those of one name together where none of them alone has much."""
    for each in processes[:LISTED]:
        yield Holder(
            f"task {each.comm} (pid {each.pid})",
            each.anon,
            f"task {each.address:#x}",
            f"ps {each.pid}",
            is_kernel=False,
            details=(process_line(each),),
        )
    if not processes or processes[0].anon >= total * TASK_SHARE:
        return
    groups: dict[str, list[Process]] = defaultdict(list)
    for each in processes:
        groups[each.comm].append(each)
    comm, members = max(groups.items(), key=lambda group: sum(each.anon for each in group[1]))
    size = sum(each.anon for each in members)
    if len(members) > 1 and size <= total:
        yield Holder(
            f"the {len(members):,} tasks named {comm} together",
            size,
            f"task {members[0].address:#x}",
            f"ps {members[0].pid}",
            is_kernel=False,
            details=("a page that several of them share is counted for each",),
        )


def process_line(each: Process) -> str:
    """A process's memory in a line."""
    adj = "" if each.oom_score_adj is None else f", oom_score_adj {each.oom_score_adj}"
    return (
        f"{each.comm} (pid {each.pid}): anonymous {human_size(each.anon)}, files"
        f" {human_size(each.file)}, shared {human_size(each.shmem)}, swapped"
        f" {human_size(each.swap)}{adj}"
    )


def shmem_holders(use: Use, mounted: Sequence[Tmpfs]) -> Iterator[Holder]:
    """The largest tmpfs, else all shared memory."""
    shmem = use.parts.get(SHMEM, 0)
    if mounted and shmem / 2 < mounted[0].size <= use.total:
        largest = mounted[0]
        yield Holder(
            f"the tmpfs at {largest.mount_point}",
            largest.size,
            f"super_block {largest.address:#x}",
            "mount",
            is_kernel=False,
        )
    else:
        yield Holder(SHMEM, shmem, "NR_SHMEM", "kmem -i", is_kernel=False)


def shortage(use: Use) -> Iterator[Evidence]:
    """Whether the machine was short of memory: little is left and nothing that could be had."""
    low = sum(zone.low for zone in use.zones)
    if use.available < use.total * LOW_SHARE and use.free <= low:
        yield Evidence(
            f"the machine was short of memory: {human_size(use.free)} of {human_size(use.total)}"
            f" are free, {human_size(use.available)} available",
            "vm_zone_stat",
            "kmem -i",
            details=tuple(breakdown(use)),
        )


def breakdown(use: Use) -> Iterator[str]:
    """What the memory is used for, and the zones, a line each."""
    parts = {**use.parts, "in none of these": use.unaccounted}
    for part, size in sorted(parts.items(), key=lambda part: -part[1]):
        if size >= use.total / 200 or part in (ANON, SLAB, KEPT_SLAB, SHMEM, CACHE):
            yield f"{part}: {human_size(size)}"
    for zone in use.zones:
        if zone.free < zone.min:
            yield (
                f"zone {zone.name}: {human_size(zone.free)} of {human_size(zone.managed)} are free,"
                f" below its minimum of {human_size(zone.min)}"
            )
