"""Who holds memory: tasks, slab caches and tmpfs file systems."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from drgn import Object, offsetof
from drgn.helpers.linux.mm import for_each_vmap_area, task_rss
from drgn.helpers.linux.percpu import percpu_counter_sum
from drgn.helpers.linux.slab import (
    for_each_slab_cache,
    slab_cache_objects_per_slab,
    slab_cache_pages_per_slab,
)

from cas.detectors.case import Broken, Case, word_mask
from cas.detectors.layout import looking_at
from cas.detectors.mounts import mount_points, super_blocks

MAX_PROCESSES = 30_000
MAX_CACHES = 5000
MAX_NODES = 1024
TIME_SHARE = 0.4
"""Share of a detector's time for the processes."""
EXACT = 8
"""Processes, the largest, whose counters are read on every CPU; so does the kernel itself in
/proc since Linux 6.16 (82241a83cd15)."""
MAX_COUNT = 1 << 40
MAX_AREAS = 50_000
MAX_AREA_NODES = 1024
"""mm/vmalloc.c has at most 128; areas are in several nodes since Linux 6.9 (d093602919ad)."""
MAX_CALLERS = 50
AREAS_TIME_SHARE = 0.8


class Process(NamedTuple):
    """The memory of a process; sizes in bytes."""

    pid: int
    comm: str
    address: int
    """Address of its ``struct task_struct``."""
    anon: int
    file: int
    shmem: int
    swap: int
    oom_score_adj: int | None


class Cache(NamedTuple):
    """A slab cache."""

    name: str
    address: int
    """Address of its ``struct kmem_cache``."""
    size: int
    """All of its slabs, in bytes."""
    objects: int
    """That have room in them, in use or not."""
    object_size: int
    """In bytes."""


def largest_processes(case: Case) -> list[Process]:
    """The processes with the most anonymous memory, largest first; all of them, roughly counted.

    Of the largest the counters are exact.
    """
    page = int(case.prog["PAGE_SIZE"])
    rough = sorted(_roughly_counted(case), key=lambda each: -each[0])
    found: list[Process] = []
    for _, task in rough[:EXACT]:
        with suppress(AttributeError, *Broken):
            rss, adj = task_rss(task), int(task.signal.oom_score_adj.value_())
            counts = (rss.anon, rss.file, rss.shmem, rss.swap)
            anon, file, shmem, swap = (max(0, pages) * page for pages in counts)
            pid, comm = task.pid.value_(), case.comm(task)
            found.append(Process(pid, comm, task.value_(), anon, file, shmem, swap, adj))
    found += [
        Process(task.pid.value_(), case.comm(task), task.value_(), pages * page, 0, 0, 0, None)
        for pages, task in rough[EXACT : EXACT + 1000]
        if pages > 0
    ]
    return sorted(found, key=lambda each: -each.anon)


def _roughly_counted(case: Case) -> Iterator[tuple[int, Object]]:
    """Anonymous pages of every process, without what CPUs have not added up yet.

    By addresses: drgn's objects take several times as long, and there may be ten thousands.
    """
    prog = case.prog
    task_type, mm_type = prog.type("struct task_struct"), prog.type("struct mm_struct")
    next_at, mm_at = offsetof(task_type, "tasks.next"), offsetof(task_type, "mm")
    anon = int(prog.constant("MM_ANONPAGES"))
    try:
        # an array of per-CPU counters since Linux 6.2 (f1a7941243c1)
        pages_at = offsetof(mm_type, f"rss_stat[{anon}].count")
    except (LookupError, TypeError):
        pages_at = offsetof(mm_type, f"rss_stat.count[{anon}].counter")
    first = prog["init_task"].address_of_().value_()
    task, seen = first, set[int]()
    try:
        while task not in seen:
            if len(seen) >= MAX_PROCESSES or case.clock.is_used(TIME_SHARE):
                case.remark(f"looked at the memory of {len(seen):,} processes, of more")
                return
            seen.add(task)
            mm = prog.read_word(task + mm_at)
            pages = prog.read_word(mm + pages_at) if mm else 0
            if 0 < pages < MAX_COUNT:
                yield pages, Object(prog, "struct task_struct *", task)
            task = (prog.read_word(task + next_at) - next_at) & word_mask(prog)
    except Broken:
        case.remark(f"the list of processes breaks off after {len(seen):,}")
        return
    if task != first:
        case.remark("the list of processes is a circle")


def largest_caches(case: Case, total: int) -> list[Cache]:
    """The slab caches, largest first; those of memory cgroups are added to their root's.

    :param total: bytes of memory, of which no cache can have more
    """
    page = int(case.prog["PAGE_SIZE"])
    nodes = min(case.number("nr_node_ids") or 1, MAX_NODES)
    found: dict[str, Cache] = {}
    with looking_at(case, "slab caches"):
        for cache in islice(for_each_slab_cache(case.prog), MAX_CACHES):
            slabs = 0
            for node in filter(None, islice(cache.node, nodes)):
                # SLAB's number is gone since Linux 6.8 (16a1d968358a)
                is_slub = hasattr(node, "nr_slabs")
                slabs += int((node.nr_slabs.counter if is_slub else node.total_slabs).value_())
            # before Linux 5.9 (9855609bde03) each memory cgroup had caches: kmalloc-1k(33:x.slice)
            each = Cache(
                case.text(cache.name).partition("(")[0] or "?",
                cache.value_(),
                slabs * slab_cache_pages_per_slab(cache) * page,
                slabs * slab_cache_objects_per_slab(cache),
                int(cache.object_size.value_()),
            )
            if not 0 <= each.size <= total:
                case.remark(f"the count of slab {each.name} makes no sense")
                continue
            before = found.get(each.name)
            if before:
                size, objects = before.size + each.size, before.objects + each.objects
                each = before._replace(size=size, objects=objects)
            found[each.name] = each
    return sorted(found.values(), key=lambda each: -each.size)


class Tmpfs(NamedTuple):
    """A file system in memory."""

    mount_point: str
    address: int
    """Address of its ``struct super_block``."""
    size: int
    """Bytes of what is in it."""


def largest_tmpfs(case: Case) -> list[Tmpfs]:
    """The mounted tmpfs file systems that have a limit, as is usual, largest first."""
    page = int(case.prog["PAGE_SIZE"])
    found: list[Tmpfs] = []
    with looking_at(case, "tmpfs file systems"):
        for sb in super_blocks(case, {"tmpfs", "devtmpfs", "rootfs"}):
            info = Object(case.prog, "struct shmem_sb_info *", sb.s_fs_info.value_())
            points = mount_points(case, sb)
            if not points or not info or not int(info.max_blocks.value_()):
                continue
            size = percpu_counter_sum(info.used_blocks.address_of_()) * page
            found.append(Tmpfs(points[0], sb.value_(), max(0, size)))
    return sorted(found, key=lambda each: -each.size)


class Caller(NamedTuple):
    """Who asked for memory of vmalloc's."""

    function: str
    size: int
    """Bytes of all that it asked for."""
    areas: int


def largest_callers(case: Case) -> list[Caller]:
    """By the functions that asked for it, what vmalloc has given, largest first."""
    page = int(case.prog["PAGE_SIZE"])
    pages: Counter[int] = Counter()
    areas: Counter[int] = Counter()
    if (case.number("nr_vmap_nodes") or 1) > MAX_AREA_NODES:
        return []
    with looking_at(case, "vmalloc areas"):
        for number, area in enumerate(islice(for_each_vmap_area(case.prog), MAX_AREAS)):
            if case.clock.is_used(AREAS_TIME_SHARE):
                case.remark(f"looked at {number:,} areas of vmalloc, of more")
                break
            memory = area.vm.read_()
            if memory and 0 < int(memory.nr_pages.value_()) < MAX_COUNT:
                caller = int(memory.caller.value_())
                pages[caller] += int(memory.nr_pages.value_())
                areas[caller] += 1
    found: dict[str, Caller] = {}
    for address, count in pages.most_common(MAX_CALLERS):
        symbol = case.symbol(address)
        name = re.sub(r"\+0x[0-9a-f]+", "", symbol) if symbol else f"{address:#x}"
        before = found.get(name, Caller(name, 0, 0))
        size = before.size + count * page
        found[name] = Caller(name, size, before.areas + areas[address])
    return sorted(found.values(), key=lambda each: -each.size)
