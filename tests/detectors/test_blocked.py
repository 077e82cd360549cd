"""Blocked tasks by where they wait."""

from __future__ import annotations

from cas.detectors import blocked
from cas.detectors.case import Case
from cas.model import Frame


def test_the_blocked_task_of_the_shipped_dump(case: Case) -> None:
    case.begin(10)
    (found,) = blocked.detect(case)
    assert found.sentence.startswith("cat (pid ")
    assert found.sentence.endswith(" is blocked in cas_stuck_read")
    assert found.command.startswith("bt ")
    assert "vfs_read" in " ".join(found.details)


def test_the_schedulers_frames_are_no_place_to_wait() -> None:
    names = ("__switch_to", "__schedule", "schedule", "io_schedule", "read")
    assert blocked.stack_names(tuple(map(Frame, names))) == ("io_schedule", "read")
