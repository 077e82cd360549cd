"""Who asked for a crash by sysrq, as the stack of the task that panicked tells it."""

from __future__ import annotations

import pytest

from cas.choices import Weight
from cas.detectors import sysrq
from cas.detectors.case import Case
from cas.model.code import Frame

WRITTEN = "panic sysrq_handle_crash __handle_sysrq write_sysrq_trigger proc_reg_write vfs_write"
PRESSED = "panic sysrq_handle_crash __handle_sysrq handle_sysrq sysrq_filter input_to_handler"


def told(case: Case, functions: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    frames = tuple(map(Frame, functions.split()))
    monkeypatch.setattr(case, "backtrace", lambda _: frames)
    found = list(sysrq.detect(case))
    assert all(each.weight is Weight.CAUSE for each in found)
    return [each.sentence for each in found]


def test_who_wrote_to_the_file_asked_for_the_crash(
    own_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sentence,) = told(own_case, WRITTEN, monkeypatch)
    assert own_case.panic_task is not None
    who = own_case.kernel_task(own_case.panic_task).name
    assert sentence == f"{who} asked for the crash: it wrote to /proc/sysrq-trigger"
    (found,) = sysrq.detect(own_case)
    assert found.details[0] == f"{who} is a child of kthreadd (pid 2)"


def test_of_a_key_the_task_that_happened_to_run_is_not_called_the_one_who_asked(
    own_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sentence,) = told(own_case, PRESSED, monkeypatch)
    assert sentence == "the crash was asked for by a key of sysrq, which came through sysrq_filter"


@pytest.mark.parametrize("functions", ["panic watchdog kthread", "panic __handle_sysrq", ""])
def test_nothing_is_said_where_the_stack_does_not_tell(
    own_case: Case, monkeypatch: pytest.MonkeyPatch, functions: str
) -> None:
    assert told(own_case, functions, monkeypatch) == []
