"""A short slice of the sweep: a run disturbed at calls that matter, and the run after it.

The whole is ``tests/faults/sweep``; see README.md here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_points import Point, nameless, points
from fault_trial import Reference, Stage, prepared, trial, undisturbed

from installed import needs


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    needs("strace")
    return prepared(tmp_path_factory.mktemp("faults") / "waiting", "waiting")


@pytest.fixture(scope="module")
def reference(stage: Stage) -> Reference:
    return undisturbed(stage)


@pytest.fixture(scope="module")
def taking(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stage, Reference]:
    """The same of a job that takes its dump."""
    needs("strace")
    stage = prepared(tmp_path_factory.mktemp("faults") / "take", "take")
    return stage, undisturbed(stage)


def the_point(reference: Reference, call: str, name: str, number: int) -> Point:
    return next(
        point
        for point in reference.points
        if point.call == call and point.name.endswith(name) and point.number == number
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "where"),
    [
        pytest.param("kill", ("rename", "/.new-*", 1), marks=pytest.mark.long),
        pytest.param("kill", ("copy_file_range", "/vmcore.elf", 1), marks=pytest.mark.long),
        ("kill", ("rename", "/.result.json.part", 1)),
        pytest.param("ENOSPC", ("write", "/.report.txt.part", 1), marks=pytest.mark.long),
        pytest.param("ENOSPC", ("pwrite64", "/cas.db-wal", 2), marks=pytest.mark.long),
        pytest.param("EIO", ("fsync", "/.job.json.part", 3), marks=pytest.mark.long),
    ],
)
def test_a_run_that_is_disturbed_loses_nothing_and_is_gone_on_with(
    stage: Stage, reference: Reference, kind: str, where: tuple[str, str, int]
) -> None:
    outcome = trial(stage, the_point(reference, *where), kind, where[0], reference)
    assert outcome.hit
    assert outcome.complaints == ()


def test_calls_of_other_threads_are_told_from_those_of_the_main_one(tmp_path: Path) -> None:
    job = "/w/T-1/2026.11.21.15.06.34"
    lines = [
        '7 openat(AT_FDCWD</w>, "/usr/lib/x", O_RDONLY|O_CLOEXEC) = 3</usr/lib/x>',
        f'7 openat(AT_FDCWD</w>, "{job}/log", O_WRONLY|O_CREAT, 0666) = 3<{job}/log>',
        f'8 write(3<{job}/log>, "\\"/no/path\\"", 9) = 9',
        '8 write(1<pipe:[1]>, "x", 1) = 1',
    ]
    found = [(point.call, point.name, point.in_main, point.index) for point in points(lines)]
    assert found == [("openat", "/w/T-1/JOB/log", True, 2), ("write", "/w/T-1/JOB/log", False, 1)]
    assert nameless("/c/.partial-abcd_123") == "/c/.partial-*"


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("kill", ("linkat", "/given/vmcore.elf", 1)),
        ("kill", ("unlink", "/given/vmcore.elf", 1)),
        ("kill", ("fsync", "/given", 1)),
        ("EIO", ("unlink", "/given/vmcore.elf", 1)),
    ],
)
def test_a_dump_that_is_moved_into_its_job_is_never_without_a_name(
    taking: tuple[Stage, Reference], kind: str, where: tuple[str, str, int]
) -> None:
    stage, reference = taking
    outcome = trial(stage, the_point(reference, *where), kind, where[0], reference)
    assert outcome.hit
    assert outcome.complaints == ()
