"""Memory cgroups at their limit, in a kernel of a few structures: the shipped ones have no such."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from altered import put
from drgn import Architecture, Object, Platform, Program, Type, TypeMember

from cas.choices import Weight
from cas.detectors import memory, memory_groups
from cas.detectors.case import Case
from cas.detectors.memory_holders import Process
from cas.model.code import Frame

PAGE = 4096
GROUPS = 0xFFFF888000010000
ROOT, BATCH, JOB = (GROUPS + 0x1000 * number for number in range(3))
TASK, OTHER_TASK = GROUPS + 0x8000, GROUPS + 0x9000
CSS, USAGE, LIMIT = 0x40, 0x80, 0x90
"""Where a cgroup has what every controller has, and its own counters."""
PARENT = CSS + 8
UNLIMITED = (1 << 63) // PAGE


class Machine:
    """A kernel with cgroups of which each is below the next, and a task in one of them."""

    def __init__(self, **usage: tuple[int, int]) -> None:
        self.prog = Program(Platform(Architecture.X86_64))
        self.types = dict(self._types())
        self.prog.register_type_finder("cgroups", self._find_type, enable_index=0)
        self.prog.register_object_finder("cgroups", self._find_object, enable_index=0)
        for name, address, parent in (
            ("job", JOB, BATCH),
            ("batch", BATCH, ROOT),
            ("root", ROOT, 0),
        ):
            pages, limit = usage.get(name, (0, UNLIMITED))
            content = bytearray(0x100)
            struct.pack_into("<Q", content, PARENT, parent + CSS if parent else 0)
            struct.pack_into("<Q", content, USAGE, pages)
            struct.pack_into("<Q", content, LIMIT, limit)
            self._put(address, content)
        for place, group in ((TASK, JOB), (OTHER_TASK, ROOT)):
            # its cgroups, and behind them its css_set
            self._put(place, struct.pack("<2Q", place + 8, group + CSS))
        self.case = Case(self, lambda _: [], lambda _: Frame("?"), {})
        self.task = Object(self.prog, "struct task_struct *", TASK)

    def kmod_at(self, _: int) -> None:
        """No code is a kernel module's."""

    def _put(self, address: int, content: bytes) -> None:
        def read(_: int, size: int, offset: int, __: bool) -> bytes:
            return bytes(content[offset : offset + size])

        self.prog.add_memory_segment(address, len(content), read)

    def _types(self) -> dict[str, Type]:
        prog = self.prog
        number = prog.int_type("unsigned long", 8, False)
        atomic = prog.struct_type("atomic", 8, [TypeMember(number, "counter")])
        counters = [TypeMember(atomic, "usage"), TypeMember(number, "max", (LIMIT - USAGE) * 8)]
        counter = prog.struct_type("page_counter", 24, counters)

        cgroup = prog.struct_type("cgroup", 8, [TypeMember(prog.pointer_type(number), "kn")])

        def css() -> Type:
            members = [
                TypeMember(prog.pointer_type(cgroup), "cgroup"),
                TypeMember(lambda: prog.pointer_type(css()), "parent", 64),
            ]
            return prog.struct_type("css", 16, members)

        group = [TypeMember(css(), "css", CSS * 8), TypeMember(counter, "memory", USAGE * 8)]
        subsys = prog.array_type(prog.pointer_type(css()), 1)
        sets = prog.struct_type("css_set", 8, [TypeMember(subsys, "subsys")])
        cgroups = [TypeMember(prog.pointer_type(sets), "cgroups")]
        return {
            "mem_cgroup": prog.struct_type("mem_cgroup", 0x100, group),
            "task_struct": prog.struct_type("task_struct", 8, cgroups),
        }

    def _find_type(self, _: Program, __: object, name: str, ___: object) -> Type | None:
        return self.types.get(name)

    def _find_object(self, prog: Program, name: str, _: object, __: object) -> Object | None:
        numbers = {"PAGE_SIZE": PAGE, "memory_cgrp_id": 0}
        return (
            Object(prog, prog.int_type("int", 4, True), numbers[name]) if name in numbers else None
        )


@pytest.mark.parametrize(
    ("job", "batch", "full"),
    [
        ((10, 10), (20, UNLIMITED), JOB),
        ((10, 100), (500, 500), BATCH),
        ((440, 500), (20, UNLIMITED), JOB),  # what CPUs have charged in advance
        ((10, 100), (20, 500), None),
        ((1 << 45, 100), (20, 500), None),  # no number of pages
        ((10, 0), (20, 500), None),
    ],
)
def test_the_cgroup_at_its_limit_is_the_tasks_or_one_above(
    monkeypatch: pytest.MonkeyPatch,
    job: tuple[int, int],
    batch: tuple[int, int],
    full: int | None,
) -> None:
    machine = Machine(job=job, batch=batch)
    monkeypatch.setattr(machine.case, "panic_task", machine.task)
    found = memory_groups.full_group(machine.case)
    assert (found.value_() if found else None) == full


def test_a_task_is_in_its_cgroup_and_in_those_above() -> None:
    machine = Machine()
    for group, is_in in ((JOB, True), (BATCH, True), (ROOT, True), (GROUPS + 0x5000, False)):
        there = Object(machine.prog, "struct mem_cgroup *", group)
        assert memory_groups._is_below(machine.case, machine.task, there) is is_in


def test_only_tasks_that_are_in_the_cgroup_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    tasks = [
        Process(pid, comm, address, size << 20, 0, 0, 0, 0)
        for pid, comm, address, size in ((48, "dbus", OTHER_TASK, 9), (47, "tail", TASK, 2))
    ]
    monkeypatch.setattr(memory_groups, "largest_processes", lambda _: tasks)
    batch = Object(machine.prog, "struct mem_cgroup *", BATCH)
    told = [*memory_groups._lines_of_members(machine.case, batch)]
    assert told == ["task tail (pid 47) holds 2.0 MiB"]


def test_a_cgroup_at_its_limit_is_why_memory_ran_out(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(job=(10, 100), batch=(500, 512))
    monkeypatch.setattr(machine.case, "panic_task", machine.task)
    assert list(memory_groups.detect(machine.case)) == []  # memory of the machine ran out
    frames = (Frame("panic"), Frame("mem_cgroup_out_of_memory"))
    monkeypatch.setattr(machine.case, "backtrace", lambda _: frames)
    (found,) = memory_groups.detect(machine.case)
    assert found.sentence == (
        f"cgroup {BATCH:#x} reached its limit of 2.0 MiB (it uses 2.0 MiB)"  # it has no name here
    )
    assert found.weight is Weight.CAUSE


def test_who_has_the_machines_memory_is_no_cause_where_a_cgroup_has_none_left(
    altered: Callable[..., Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = altered("out-of-memory")
    prog = case.prog
    put(prog["vm_node_stat"][prog["NR_ANON_MAPPED"]].counter, (62 << 20) // PAGE)
    for function, number in (("__alloc_pages_may_oom", 1), ("mem_cgroup_oom.part.0", 0)):
        stack = (Frame("panic"), Frame("out_of_memory"), Frame(function))
        monkeypatch.setattr(case, "backtrace", lambda _, stack=stack: stack)
        causes = [each for each in memory.detect(case) if each.weight is Weight.CAUSE]
        assert len(causes) == number
