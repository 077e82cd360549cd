"""Memory cgroups at their limit.

Where memory ran out in a cgroup, the cause is the cgroup, and what its tasks hold, however much the
machine has left.
"""

from __future__ import annotations

from collections.abc import Iterator

from drgn import Object, cast, container_of
from drgn.helpers.linux.cgroup import cgroup_path

from cas.choices import Kind, Weight
from cas.detectors.case import Broken, Case
from cas.detectors.layout import looking_at, member
from cas.detectors.memory_holders import largest_processes
from cas.detectors.needs import Needs
from cas.model.evidence import Evidence
from cas.units import human_size

NEEDS = Needs(
    kinds=(Kind.OUT_OF_MEMORY,),
    symbols=("root_mem_cgroup",),
    types=("struct mem_cgroup", "struct page_counter"),
)
MAX_DEPTH = 64
BATCH_PAGES = 64
"""MEMCG_CHARGE_BATCH, include/linux/memcontrol.h: what a CPU charges in advance, half of it before
Linux 6.1 (1813e51eece0)."""
OUT_OF_GROUP = frozenset(
    {"mem_cgroup_out_of_memory", "mem_cgroup_oom", "mem_cgroup_oom_synchronize"}
)
"""Functions in which memory runs out in a cgroup, mm/memcontrol.c."""
LISTED = 5


def detect(case: Case) -> Iterator[Evidence]:
    """The cgroup whose limit made the kernel run out of memory."""
    if not is_of_group(case):
        return
    page = int(case.prog["PAGE_SIZE"])
    group = full_group(case)
    if group is None:
        case.remark("the panic task is in no memory cgroup at its limit")
        return
    usage, limit = sizes(group)
    path = group_path(case, group)
    details = tuple(_lines_of_members(case, group))
    yield Evidence(
        f"cgroup {path} reached its limit of {human_size(limit * page)}"
        f" (it uses {human_size(usage * page)})",
        f"mem_cgroup {group.value_():#x}",
        f"struct mem_cgroup.memory {group.value_():#x}",
        Weight.CAUSE,
        details,
    )


def is_of_group(case: Case) -> bool:
    """Whether memory ran out in a cgroup, not in the machine: by the stack of the panic task."""
    task = case.panic_task
    if task is None:
        return False
    return any(frame.function.partition(".")[0] in OUT_OF_GROUP for frame in case.backtrace(task))


def full_group(case: Case) -> Object | None:
    """The memory cgroup at its limit, ``struct mem_cgroup *``: the panic task's or one above."""
    group = group_of(case, case.panic_task) if case.panic_task is not None else None
    for _ in range(MAX_DEPTH):
        if not group:
            return None
        usage, limit = sizes(group)
        if 0 < limit <= usage + BATCH_PAGES and usage < 1 << 40:
            return group
        parent = group.css.parent.read_()
        group = _group_with(parent) if parent else None
    return None


def group_of(case: Case, task: Object) -> Object:
    """A task's memory cgroup, ``struct mem_cgroup *``."""
    number = case.prog["memory_cgrp_id"].value_()
    css = task.cgroups.subsys[number].read_()
    return _group_with(css) if css else cast("struct mem_cgroup *", css)


def _group_with(css: Object) -> Object:
    return container_of(css, "struct mem_cgroup", "css")


def sizes(group: Object) -> tuple[int, int]:
    """What a cgroup uses and may use, in pages; in bytes before Linux 3.19 (3e32cb2e0a12)."""
    counter = group.memory
    # the limit was renamed in Linux 4.18 (bbec2e15170a)
    return int(counter.usage.counter.value_()), int(member(counter, "max", "limit").value_())


def group_path(case: Case, group: Object) -> str:
    """Where a cgroup is in its hierarchy, e.g. ``/app.slice/x``."""
    try:
        return case.text(cgroup_path(group.css.cgroup)) or "/"
    except Broken:
        return f"{group.value_():#x}"


def _lines_of_members(case: Case, group: Object) -> Iterator[str]:
    """The largest tasks in it or below."""
    with looking_at(case, "the cgroup's tasks"):
        number = 0
        for each in largest_processes(case):
            task = Object(case.prog, "struct task_struct *", each.address)
            if not _is_below(case, task, group):
                continue
            yield f"task {each.comm} (pid {each.pid}) holds {human_size(each.anon)}"
            number += 1
            if number == LISTED:
                return


def _is_below(case: Case, task: Object, group: Object) -> bool:
    each = group_of(case, task)
    for _ in range(MAX_DEPTH):
        if not each:
            return False
        if each.value_() == group.value_():
            return True
        parent = each.css.parent.read_()
        each = _group_with(parent) if parent else None
    return False
