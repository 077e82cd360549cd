"""How detectors are found, bounded and ended, on the shipped dump."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cas.choices import DetectorStatus
from cas.detectors.case import MAX_TASKS, Case, bounded_string, looked_at
from cas.detectors.needs import Needs, unmet
from cas.detectors.registry import Detector, detectors_of
from cas.detectors.running import LINE_LIMIT, MAX_EVIDENCE, run_detector
from cas.model.evidence import Evidence

Detect = Callable[[Case], Iterator[Evidence]]


def run(detect: Detect, case: Case, **how: object):  # type: ignore[no-untyped-def]
    return run_detector(Detector("mine", "My detector", detect, **how), case)  # type: ignore[arg-type]


def test_every_detector_has_a_title_and_a_bounded_time() -> None:
    for each in detectors_of():
        assert each.title and "\n" not in each.title
        assert 0 < each.limit_s <= 1


def test_a_new_module_is_found_and_a_broken_one_fails_alone(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "more_detectors"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "shared.py").write_text("X = 1\n")
    (package / "broken.py").write_text("import nothing_of_this_name\n")
    (package / "fine.py").write_text('"""Fine."""\ndef detect(case):\n    yield from ()\n')
    monkeypatch.syspath_prepend(tmp_path)
    import more_detectors  # type: ignore[import-not-found]

    found = {each.name: run_detector(each, case) for each in detectors_of(more_detectors)}
    assert {name: each.status for name, each in found.items()} == {"broken": "failed", "fine": "ok"}
    assert "nothing_of_this_name" in (found["broken"].remark or "")


def test_what_was_found_before_an_error_is_kept(case: Case) -> None:
    def detect(case: Case) -> Iterator[Evidence]:
        yield Evidence("one", "x", "bt")
        case.prog.read(0xDEAD000000000000, 8)

    found = run(detect, case)
    assert (found.status, [each.sentence for each in found.evidence]) == ("failed", ["one"])
    assert "address is not mapped" in (found.remark or "")


def test_an_endless_detector_ends_at_its_limit(case: Case) -> None:
    def detect(_: Case) -> Iterator[Evidence]:
        yield Evidence("one", "x", "bt")
        while True:
            try:
                sum(range(1000))
            except Exception:  # noqa: S112  as a careless detector may do
                continue

    begun = time.process_time()
    found = run(detect, case, limit_s=0.05)
    assert time.process_time() - begun < 0.5
    assert (found.status, len(found.evidence)) == (DetectorStatus.TIMEOUT, 1)


def test_evidence_without_end_is_cut_and_printable(case: Case) -> None:
    def detect(_: Case) -> Iterator[Evidence]:
        while True:
            yield Evidence("a\x1b[31m" + "b" * 9999, "x\ny", "bt", details=("\u202e",) * 99)

    found = run(detect, case)
    assert (found.status, len(found.evidence)) == ("ok", MAX_EVIDENCE)
    first = found.evidence[0]
    assert first.sentence.startswith("a\\x1b[31m") and len(first.sentence) < LINE_LIMIT + 60
    assert (first.source, first.details[0], first.details[-1]) == ("x y", "\\u202e", "and 59 more")


@pytest.mark.parametrize(
    ("needs", "lack"),
    [
        (Needs(archs=("s390x",)), "it is for s390x"),
        (Needs(kinds=("out-of-memory",)), "another kind"),
        (Needs(kmods=("nfs|nfsv4",)), "nfs|nfsv4 is not loaded"),
        (Needs(symbols=("no_such_thing",)), "no no_such_thing"),
        (Needs(types=("struct no_such",)), "no struct no_such"),
        (
            Needs(("x86_64",), (), ("cas_stuck",), ("x|nr_threads", "panic"), ("struct mutex",)),
            None,
        ),
    ],
)
def test_needs_are_looked_up(case: Case, needs: Needs, lack: str | None) -> None:
    said = unmet(needs, case)
    assert said is None if lack is None else lack in (said or "")


def test_many_tasks_are_bounded_and_that_is_said(case: Case) -> None:
    case.begin(10)
    assert len(list(case.tasks(limit=5))) == 5
    total = case.number("nr_threads")
    assert case.remarks == [f"looked at 5 of {total} tasks"]


def test_no_more_tasks_are_given_when_the_time_is_used(case: Case) -> None:
    case.begin(0.0)
    assert list(case.tasks()) == []
    assert case.remarks == [f"looked at 0 of {case.number('nr_threads')} tasks"]


@pytest.mark.parametrize(
    ("number", "total", "words"),
    [(3000, 20000, "3,000 of 20,000"), (3000, None, "3,000 of more"), (3000, 7, "3,000 of more")],
)
def test_what_the_kernel_counts_is_believed_only_if_it_can_be(
    number: int, total: int | None, words: str
) -> None:
    assert looked_at(number, total) == f"looked at {words} tasks"


def test_an_owner_is_a_task_only_if_the_kernel_has_it(case: Case) -> None:
    case.begin(10)
    task = next(case.tasks()).task
    seen = case.task_at(task.value_())
    assert seen is not None and seen.task.value_() == task.value_()
    assert case.task_at(task.value_() + 64) is None
    assert case.task_at(0) is None
    assert case.task_at((1 << 64) - 1) is None


def test_a_string_that_ends_where_memory_ends_is_read(case: Case) -> None:
    banner = case.prog["linux_banner"]
    assert bounded_string(banner, 13) == b"Linux version"
    assert case.text(banner, 5) == "Linux"


def test_twenty_thousand_tasks_cost_no_more_than_the_limits(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.begin(10)
    tasks = [seen.task for seen in case.tasks()]
    many = case_like(case)
    monkeypatch.setattr(many, "_rest", itertools.islice(itertools.cycle(tasks), 20_000))
    many.__dict__["number_of_tasks"] = 20_000
    for detector in detectors_of():
        found = run_detector(detector, many)
        assert found.status in ("ok", "skipped")
        assert found.seconds < 2
        if detector.name == "blocked":
            assert re.fullmatch(r"looked at \d,?\d+ of 20,000 tasks", found.remark or "")
            assert len(found.evidence) == 1
    assert len(many._seen) <= MAX_TASKS + 1


def case_like(case: Case) -> Case:
    """The same dump, of which nothing is remembered."""
    return Case(case._opened, case._unwind, case._frame, {"arch": case.arch})
