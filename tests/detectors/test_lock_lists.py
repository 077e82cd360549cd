"""Locks proved by their lists of waiters: structures of waiters put onto stacks of the dump."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from altered import put
from detectors.conftest import open_case
from drgn import Object, offsetof

from cas.detectors.case import Case, KernelTask
from cas.detectors.lock_lists import KINDS, Kind, Rings, stack_words

KIND = {each.name: each for each in KINDS if each.name in ("mutex", "completion")}
"""Of each layout one."""
PLACES = iter(range(0xFFFF800000100000, 0xFFFF800000200000, 0x1000))
"""Where this dump has no memory."""


class Waiters:
    """A list of waiters, each on its task's stack, and the lock that begins it."""

    def __init__(self, case: Case, kind: Kind) -> None:
        self.case, self.kind, self.lock = case, kind, next(PLACES)
        prog = case.prog
        self.link = offsetof(prog.type(kind.waiter), kind.link)
        self.task = offsetof(prog.type(kind.waiter), kind.task)
        self.head = self.lock + offsetof(prog.type(kind.lock), kind.head)

    def queue(self, *seen: KernelTask, head: bool = True) -> None:
        """Link these tasks into the list, in their order."""
        nodes = [self.head] * head
        for each in seen:
            low, _ = stack_words(self.case, each.task)
            self.word(low + 64 + self.task, each.task.value_())
            nodes.append(low + 64 + self.link)
        for node, after in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
            self.word(node, after)
            self.word(after + 8, node)

    def word(self, address: int, value: int) -> None:
        put(Object(self.case.prog, "unsigned long", address=address), value)

    def found(self, seen: KernelTask) -> int | None:
        return Rings(self.case).lock_of(seen, self.kind)


@pytest.fixture(scope="module")
def crowd(vmcore: Path, vmlinux: Path) -> tuple[Case, Iterator[KernelTask]]:
    """A case of this module's own, and sleeping tasks of which each test takes others."""
    case = open_case(vmcore, vmlinux, "x86_64")
    case.begin(100)
    return case, (each for each in list(case.tasks("SI")) if case.stack(each.task))


@pytest.fixture(params=list(KIND))
def waiters(crowd: tuple[Case, Iterator[KernelTask]], request: pytest.FixtureRequest) -> Waiters:
    return Waiters(crowd[0], KIND[request.param])


@pytest.fixture
def tasks(crowd: tuple[Case, Iterator[KernelTask]]) -> list[KernelTask]:
    found = list(islice(crowd[1], 3))
    assert len(found) == 3
    return found


def test_a_lock_is_found_by_each_of_its_waiters(waiters: Waiters, tasks: list[KernelTask]) -> None:
    waiters.queue(*tasks)
    assert [waiters.found(each) for each in tasks] == [waiters.lock] * 3


def test_a_list_that_does_not_point_back_proves_nothing(
    waiters: Waiters, tasks: list[KernelTask]
) -> None:
    first, second, _ = tasks
    waiters.queue(first, second)
    waiters.word(waiters.head + 8, waiters.head)
    assert (waiters.found(first), waiters.found(second)) == (None, None)


def test_a_ring_of_waiters_alone_has_no_lock(waiters: Waiters, tasks: list[KernelTask]) -> None:
    waiters.queue(*tasks, head=False)
    assert waiters.found(tasks[0]) is None


def test_a_task_that_stands_in_no_list_waits_for_no_lock(
    waiters: Waiters, tasks: list[KernelTask]
) -> None:
    first, second, other = tasks
    waiters.queue(first, second)
    assert waiters.found(other) is None


def test_a_structure_that_names_another_task_is_no_proof(
    waiters: Waiters, tasks: list[KernelTask]
) -> None:
    first, second, _ = tasks
    waiters.queue(first)
    low, _ = stack_words(waiters.case, first.task)
    waiters.word(low + 64 + waiters.task, second.task.value_())
    assert waiters.found(first) is None
