"""What becomes of detectors whose process ends, and of what they say."""

from __future__ import annotations

import os
import signal

import pytest

from cas.choices import DetectorStatus, Weight
from cas.engines.drgn.detected import Detections
from cas.engines.drgn.process import Worker
from cas.model.case import Case

ANSWER = {
    "detector": "locks",
    "title": "Locks",
    "status": "ok",
    "evidence": [
        {"sentence": "s", "source": "x", "command": "bt", "weight": "cause", "details": ["d"]}
    ],
    "remark": None,
    "seconds": 0.1,
}


def test_a_detection_is_taken_as_it_was_sent() -> None:
    found = Detections()
    found.take_message({"detecting": "locks", "title": "Locks"})
    found.take_message({"detection": ANSWER})
    (told,) = found.done
    assert (told.status, told.evidence[0].weight) == (DetectorStatus.OK, Weight.CAUSE)
    assert found.names == ["locks"]


def test_the_detector_that_ended_the_process_is_blamed_alone() -> None:
    found = Detections()
    found.take_message({"detecting": "cpus", "title": "CPUs"})
    found.take_message({"detection": {**ANSWER, "detector": "cpus"}})
    found.take_message({"detecting": "locks", "title": "Locks"})
    found.ended("drgn was killed by SIGSEGV")
    found.take_message({"detecting": "rcu", "title": "RCU"})
    found.ended("timed out after 5 s", is_late=True)
    assert [(each.detector, each.status.value) for each in found.done] == [
        ("cpus", "ok"),
        ("locks", "failed"),
        ("rcu", "timeout"),
    ]


def test_an_answer_that_is_none_fails_its_detector() -> None:
    found = Detections()
    found.take_message({"detecting": "locks", "title": "Locks"})
    found.take_message({"detection": {**ANSWER, "status": "excellent"}})
    (told,) = found.done
    assert (told.detector, told.status) == ("locks", DetectorStatus.FAILED)


def test_detectors_that_cannot_run_are_one_failure() -> None:
    found = Detections()
    found.take_message({"problem": "no module named drgn"})
    assert [(each.detector, each.status.value) for each in found.done] == [("detectors", "failed")]


@pytest.mark.long
def test_a_process_that_died_is_started_again_for_the_detectors(
    worker: Worker, opened: Case
) -> None:
    told = list[str]()
    worker.remark_by(told.append)
    answer = worker.answer(opened, 60)
    os.kill(worker.pid, signal.SIGSEGV)
    found = {each.detector: each for each in worker.detect(answer, "null-dereference")}
    assert found["detectors"].status is DetectorStatus.FAILED
    assert "SIGSEGV" in (found["detectors"].remark or "")
    assert told == ["CAS itself reads this dump, for drgn cannot: drgn was killed by SIGSEGV"]
    assert found["blocked"].evidence[0].sentence.startswith("cat (pid ")
    assert worker.answer(opened, 60).panic_task == answer.panic_task
