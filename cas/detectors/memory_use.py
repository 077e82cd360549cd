"""What the memory of a machine was used for, as its kernel counts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from itertools import islice
from typing import NamedTuple

from drgn import Object, Program
from drgn.helpers.linux.hugetlb import for_each_hstate
from drgn.helpers.linux.mm import totalram_pages
from drgn.helpers.linux.mmzone import for_each_online_pgdat

from cas.detectors.case import Broken, Case
from cas.detectors.layout import looking_at, member
from cas.frozen import dataclass

MAX_NODES = 1024
"""1 << NODES_SHIFT of the largest kernels."""
MAX_HUGE_SIZES = 16
MIN, LOW = 0, 1
"""enum zone_watermarks, include/linux/mmzone.h."""


class Zone(NamedTuple):
    """A zone of memory; sizes in bytes."""

    name: str
    managed: int
    free: int
    min: int
    low: int


@dataclass(frozen=True, slots=True)
class Use:
    """What the memory of a whole machine is used for; sizes in bytes."""

    total: int
    free: int
    available: int
    """What could be had without swapping, by the rule of ``MemAvailable`` in /proc/meminfo."""
    parts: Mapping[str, int] = field(default_factory=dict)
    """What the rest is used for, by the names of ``PARTS``."""
    zones: tuple[Zone, ...] = ()
    huge_free: int = 0
    """In huge pages that nobody uses."""

    @property
    def unaccounted(self) -> int:
        """What is in use and that none of the kernel's counters has."""
        return max(0, self.total - self.free - sum(self.parts.values()))


ANON, SHMEM, CACHE = "anonymous memory of tasks", "shared memory and tmpfs", "page cache"
SLAB, KEPT_SLAB = "reclaimable slab", "unreclaimable slab"
TABLES, STACKS, VMALLOC = "page tables", "kernel stacks", "vmalloc"
PERCPU, HUGE, MISC = "per-CPU memory", "huge pages", "kernel memory that shrinks on demand"


def memory_use(case: Case) -> Use:
    """What the memory was used for.

    :raises LookupError: the kernel's counters cannot be found
    :raises FaultError: they are not in the dump
    """
    prog = case.prog
    page = int(prog["PAGE_SIZE"])
    total = totalram_pages(prog) * page
    counters = Counters(prog)
    free = counters["NR_FREE_PAGES"] * page
    parts = dict(_used_parts(case, counters, page))
    zones = tuple(_zones(case, page))
    huge_free = 0
    if 0 <= (case.number("hugetlb_max_hstate") or 0) <= MAX_HUGE_SIZES:
        with looking_at(case, "huge pages"):
            all_huge = all_free = 0
            for state in islice(for_each_hstate(prog), MAX_HUGE_SIZES):
                size = page << min(state.order.value_(), 32)
                all_huge += state.nr_huge_pages.value_() * size
                all_free += state.free_huge_pages.value_() * size
            parts[HUGE], huge_free = all_huge, all_free
    wrong = [what for what, size in parts.items() if not 0 <= size <= total]
    for what in wrong:
        case.remark(f"the kernel's count of {what} makes no sense")
        del parts[what]
    # as si_mem_available() counts it, mm/page_alloc.c; since Linux 3.14 (34e431b0ae39)
    low = sum(zone.low for zone in zones)
    cache = (counters["NR_ACTIVE_FILE"] + counters["NR_INACTIVE_FILE"]) * page
    slab = counters["NR_SLAB_RECLAIMABLE_B"] or counters["NR_SLAB_RECLAIMABLE"]
    slab = (slab + counters["NR_KERNEL_MISC_RECLAIMABLE"]) * page
    reserve = 0
    with suppress(*Broken):
        reserve = int(prog["totalreserve_pages"].value_()) * page
    available = free + cache - min(cache // 2, low) + slab - min(slab // 2, low) - reserve
    return Use(total, min(free, total), max(0, min(available, total)), parts, zones, huge_free)


class Counters:
    """The kernel's counters of pages; which are a zone's and which a node's differs by release.

    Nodes have counters since Linux 4.8 (75ef71840539).
    """

    def __init__(self, prog: Program) -> None:
        self._found: dict[str, Object] = {}
        for kind, name in (("node", "vm_node_stat"), ("zone", "vm_zone_stat")):
            array = prog[name]
            for item in prog.type(f"enum {kind}_stat_item").enumerators or ():
                if item.value < (array.type_.length or 0):
                    self._found.setdefault(item.name, array[item.value])

    def __getitem__(self, name: str) -> int:
        """Value of a counter; 0 where this kernel has none of the name."""
        found = self._found.get(name)
        return 0 if found is None else max(0, int(found.counter.value_()))


def _used_parts(case: Case, counters: Counters, page: int) -> Iterator[tuple[str, int]]:
    # bytes, and named so, since Linux 5.9 (d42f3245c7e2)
    slab = counters["NR_SLAB_RECLAIMABLE_B"] or counters["NR_SLAB_RECLAIMABLE"]
    kept = counters["NR_SLAB_UNRECLAIMABLE_B"] or counters["NR_SLAB_UNRECLAIMABLE"]
    shmem = counters["NR_SHMEM"]
    stacks = counters["NR_KERNEL_STACK_KB"] << 10
    yield ANON, counters["NR_ANON_MAPPED"] * page
    yield SHMEM, shmem * page
    yield CACHE, max(0, counters["NR_FILE_PAGES"] - shmem) * page
    yield SLAB, slab * page
    yield KEPT_SLAB, kept * page
    # the second are those of guests, counted since Linux 6.1 (ebc97a52b5d6)
    yield TABLES, (counters["NR_PAGETABLE"] + counters["NR_SECONDARY_PAGETABLE"]) * page
    yield STACKS, stacks
    yield MISC, counters["NR_KERNEL_MISC_RECLAIMABLE"] * page
    with looking_at(case, "vmalloc"):
        # counted since Linux 5.3 (97105f0ab7b8)
        if "nr_vmalloc_pages" in case.prog:
            pages = int(case.prog["nr_vmalloc_pages"].counter.value_())
            # stacks are taken from there where they have guard pages (CONFIG_VMAP_STACK)
            yield VMALLOC, max(0, pages * page - stacks)
    with looking_at(case, "per-CPU memory"):
        if "pcpu_nr_populated" in case.prog:
            populated = int(case.prog["pcpu_nr_populated"].value_())
            yield PERCPU, populated * int(case.prog["pcpu_nr_units"].value_()) * page


def _zones(case: Case, page: int) -> Iterator[Zone]:
    for node in islice(for_each_online_pgdat(case.prog), MAX_NODES):
        with looking_at(case, "zones"):
            for zone in node.node_zones:
                managed = member(zone, "managed_pages")
                # an atomic since Linux 5.0 (9705bea5f833)
                if hasattr(managed, "counter"):
                    managed = managed.counter
                if not managed.value_():
                    continue
                # renamed in Linux 5.0 (a921444382b4)
                marks = member(zone, "_watermark", "watermark")
                free = zone.vm_stat[case.prog["NR_FREE_PAGES"]].counter.value_()
                sizes = (managed.value_(), max(0, free), marks[MIN].value_(), marks[LOW].value_())
                name = f"{case.text(zone.name)} of node {node.node_id.value_()}"
                yield Zone(name, *(int(size) * page for size in sizes))
