"""Who has the memory: by what share, and what is said of a machine that is well."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from altered import put
from drgn import Object

from cas.choices import Weight
from cas.detectors import memory
from cas.detectors.case import Case
from cas.detectors.memory import Holder, eaters, shmem_holders, shortage, task_holders
from cas.detectors.memory_holders import Caller, Process, Tmpfs, largest_caches, largest_processes
from cas.detectors.memory_use import ANON, KEPT_SLAB, SHMEM, Use, Zone, memory_use

MIB = 1 << 20
LOW_ZONE = Zone("DMA32 of node 0", 250 * MIB, 2 * MIB, 4 * MIB, 5 * MIB)


def use(**parts: int) -> Use:
    return Use(250 * MIB, 2 * MIB, 1 * MIB, {k: v * MIB for k, v in parts.items()}, (LOW_ZONE,))


def process(pid: int, comm: str, anon: int) -> Process:
    return Process(pid, comm, 0xFFFF888000000000 + pid, anon * MIB, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("holders", "told"),
    [
        ([("slab kmalloc-1k", 152, True)], ["slab kmalloc-1k holds 152.0 MiB of 250.0 MiB, 61 %"]),
        ([("task a (pid 7)", 190, False), ("slab x", 5, True)], ["task a (pid 7) holds 190.0 MiB"]),
        # a quarter is much for the kernel's own, but not for a task
        ([("task a (pid 7)", 70, False), ("slab x", 70, True)], ["slab x holds 70.0 MiB"]),
        ([("slab x", 70, True), ("task a (pid 7)", 90, False)], ["task a", "slab x"]),
        ([("task a (pid 7)", 60, False), ("slab x", 50, True)], []),
        ([], []),
    ],
)
def test_who_holds_much_is_the_cause(holders: list[tuple[str, int, bool]], told: list[str]) -> None:
    given = [Holder(what, mib * MIB, "s", "c", kernel) for what, mib, kernel in holders]
    found = list(eaters(given, use()))
    assert all(each.weight is Weight.CAUSE for each in found)
    assert len(found) == len(told)
    assert all(each.sentence.startswith(words) for each, words in zip(found, told, strict=True))


def test_many_small_tasks_of_one_name_count_together() -> None:
    tasks = [process(n, "worker", 10) for n in range(100, 112)] + [process(1, "init", 1)]
    holders = {each.what: each.size for each in task_holders(tasks, 250 * MIB)}
    assert holders["the 12 tasks named worker together"] == 120 * MIB
    # more than there is: pages that they share
    tasks = [process(n, "worker", 60) for n in range(100, 112)]
    assert not any("together" in each.what for each in task_holders(tasks, 250 * MIB))


@pytest.mark.parametrize(
    ("tmpfs_mib", "what"),
    [(180, "the tmpfs at /mnt"), (20, SHMEM), (300, SHMEM)],
)
def test_shared_memory_is_a_tmpfs_if_that_has_most_of_it(tmpfs_mib: int, what: str) -> None:
    mounted = [Tmpfs("/mnt", 1, tmpfs_mib * MIB)]
    (holder,) = shmem_holders(use(**{SHMEM: 200}), mounted)
    assert holder.what == what


@pytest.mark.parametrize(
    ("free", "available", "is_short"), [(2, 1, True), (2, 20, False), (20, 1, False)]
)
def test_short_of_memory_is_only_what_cannot_get_any(
    free: int, available: int, is_short: bool
) -> None:
    given = Use(250 * MIB, free * MIB, available * MIB, {}, (LOW_ZONE,))
    assert bool(list(shortage(given))) is is_short


def test_what_no_counter_has_is_told_as_such() -> None:
    found = {each.what: each.size for each in memory.kernel_holders(use(**{ANON: 40}))}
    assert found[next(what for what in found if "none of the kernel's" in what)] == 208 * MIB


@pytest.mark.parametrize(
    ("callers", "what", "mib"),
    [
        ([Caller("cas_keep [cas]", 90 * MIB, 400), Caller("f", 5 * MIB, 2)], "cas_keep [cas]", 90),
        ([Caller("f", 30 * MIB, 4), Caller("g", 30 * MIB, 4)], "vmalloc", 100),
        ([], "vmalloc", 100),
        ([Caller("f", 900 * MIB, 4)], "vmalloc", 100),  # more than there is
    ],
)
def test_who_asked_for_most_of_vmalloc_is_named(callers: list[Caller], what: str, mib: int) -> None:
    given = use(vmalloc=100)
    (found,) = (each for each in memory.kernel_holders(given, callers) if "vmalloc" in each.what)
    assert found.what.startswith(what) and found.size == mib * MIB
    assert len(found.details) == len(callers)


def test_a_dump_adds_up(case: Case) -> None:
    case.begin(10)
    found = memory_use(case)
    assert 64 * MIB < found.total < 128 * MIB
    assert found.free + sum(found.parts.values()) + found.unaccounted == found.total
    assert found.unaccounted < found.total / 10
    caches = largest_caches(case, found.total)
    kept = found.parts[KEPT_SLAB]
    assert kept / 2 < sum(each.size for each in caches) < 2 * kept
    tasks = largest_processes(case)
    assert {"init", "sh"} & {each.comm for each in tasks}
    assert sum(each.anon for each in tasks[:8]) < 2 * found.parts[ANON]
    assert not case.remarks


def test_nothing_is_said_of_a_machine_with_memory(case: Case) -> None:
    case.begin(10)
    assert list(memory.detect(case)) == []


def test_an_eaten_machine_names_the_eater(altered: Callable[..., Case]) -> None:
    case = altered("out-of-memory")
    prog = case.prog
    page = int(prog["PAGE_SIZE"])
    mm = next(each for each in largest_processes(case))
    task = next(seen.task for seen in case.tasks() if seen.pid == mm.pid)
    put(task.mm.rss_stat.count[1].counter, 60 * MIB // page)
    put(prog["vm_node_stat"][prog["NR_ANON_MAPPED"]].counter, 62 * MIB // page)
    put(prog["vm_zone_stat"][prog["NR_FREE_PAGES"]].counter, 1 * MIB // page)
    found = list(memory.detect(case))
    assert found[0].weight is Weight.CAUSE
    assert found[0].sentence.startswith(f"task {mm.comm} (pid {mm.pid}) holds 60.")
    assert found[-1].sentence.startswith("of 81.6 MiB 1.0 MiB are free")


def test_a_slab_that_grew_explains_no_other_crash(altered: Callable[..., Case]) -> None:
    case = altered("null-dereference")
    prog = case.prog
    pages = 50 * MIB // int(prog["PAGE_SIZE"])
    put(prog["vm_node_stat"][prog["NR_SLAB_UNRECLAIMABLE_B"]].counter, pages)
    largest = largest_caches(case, 1 << 30)[0].name
    (found,) = memory.detect(case)
    assert found.sentence.startswith(f"slab {largest} holds ")
    assert found.weight is Weight.CONTEXT


def test_counters_that_make_no_sense_are_not_believed(altered: Callable[..., Case]) -> None:
    case = altered("out-of-memory")
    prog = case.prog
    put(prog["vm_node_stat"][prog["NR_SHMEM"]].counter, 1 << 50)
    cache = largest_caches(case, 1 << 30)[0]
    node = Object(prog, "struct kmem_cache *", cache.address).node[0]
    put(node.nr_slabs.counter, 1 << 40)
    found = list(memory.detect(case))
    assert not any("PiB" in each.sentence or cache.name in each.sentence for each in found)
    assert f"the count of slab {cache.name} makes no sense" in case.remarks
    assert f"the kernel's count of {SHMEM} makes no sense" in case.remarks
