"""Blocked tasks by where they wait, and for what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cas.detectors import blocked
from cas.detectors.case import Case
from cas.detectors.lock_lists import KINDS
from cas.detectors.waits import Locks, without_scheduler
from cas.model.code import Frame

FUNCTIONS = {
    "mutex": "mutex_lock __mutex_lock __mutex_lock.constprop.0 __mutex_lock_slowpath "
    "__mutex_lock_killable_slowpath mutex_lock_io_nested __ww_mutex_lock.constprop.0.isra.3",
    "rwsem": "rwsem_down_write_slowpath rwsem_down_read_failed_killable "
    "call_rwsem_down_read_failed down_write down_read_killable "
    "__down_write_common down_write_nested",
    "semaphore": "down __down ___down_common down_timeout __down_interruptible",
    "completion": "wait_for_completion wait_for_completion_io_timeout __wait_for_common "
    "do_wait_for_common wait_for_common.constprop.0 wait_for_completion_killable_timeout",
}


def test_the_blocked_task_of_the_shipped_dump(case: Case) -> None:
    case.begin(10)
    (found,) = blocked.detect(case)
    assert found.sentence.startswith("cat (pid ")
    assert " is blocked in cas_stuck_read for " in found.sentence
    assert found.sentence.endswith(", waiting for wait queue cas_queue")
    assert found.command.startswith("bt ")
    assert "vfs_read" in " ".join(found.details)


def test_what_a_task_waits_for_is_proved_by_the_list_that_it_stands_in(case: Case) -> None:
    case.begin(10)
    (seen,) = case.tasks("D")
    lock = Locks(case).wait_of(seen).lock
    assert lock is not None and lock.kind == "wait queue"
    assert lock.address == case.prog.symbol("cas_queue").address
    (other,) = (each for each in case.tasks("S") if each.comm == "kthreadd")
    assert Locks(case).wait_of(other).lock is None


@pytest.mark.parametrize(
    ("kind", "function"),
    [(kind, function) for kind, names in FUNCTIONS.items() for function in names.split()],
)
def test_functions_that_wait_for_a_lock_are_known(kind: str, function: str) -> None:
    assert [each.name for each in KINDS if each.functions.fullmatch(function)] == [kind]


@pytest.mark.parametrize("function", ["mutex_unlock", "up_write", "downgrade_write", "breakdown"])
def test_other_functions_are_not_taken_for_them(function: str) -> None:
    assert not any(each.functions.fullmatch(function) for each in KINDS)


def test_the_schedulers_frames_are_no_place_to_wait() -> None:
    names = ("__switch_to", "__schedule", "schedule", "io_schedule", "read")
    assert [each.function for each in without_scheduler(tuple(map(Frame, names)))] == ["read"]


def test_a_task_that_has_just_been_blocked_is_only_counted(case: Case) -> None:
    case.begin(10)
    (seen,) = case.tasks("D")
    locks = Locks.of(case)
    whole = locks.wait_of(seen)
    key = seen.task.value_()
    try:
        locks._waits[key] = replace(whole, waited_s=0.2)
        assert list(blocked.detect(case)) == []
    finally:
        locks._waits[key] = whole
    assert case.remarks == ["1 task blocked for less than 1 s left out"]
