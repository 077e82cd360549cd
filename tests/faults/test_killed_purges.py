"""A short slice of what ``purge_trial.py`` does with every call: kills of a purge that matter."""

from __future__ import annotations

import pytest
from purge_trial import LESSER, UPLOADED, Reference, Stage, prepared, trial, undisturbed

from installed import few_of, needs


@pytest.fixture(scope="module")
def purging(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stage, Reference]:
    needs("strace")
    stage = prepared(tmp_path_factory.mktemp("purges"))
    return stage, undisturbed(stage)


KILLS = {
    "the record of the last job's crash": ("rename", "/.info.json.part", 2),
    "a dump in the archive": ("unlink", "/files/", 1),
    "the job's own name": ("rename", "/JOB", 2),
    "a lesser file": ("unlink", f"/{LESSER}/files/", 1),
}


@pytest.mark.parametrize("what", few_of(KILLS, {"a dump in the archive"}))
def test_a_purge_that_is_killed_loses_nothing_and_the_next_one_ends_it(
    purging: tuple[Stage, Reference], what: str
) -> None:
    stage, reference = purging
    call, part, number = KILLS[what]
    of_call = [each for each in reference.points if each.call == call and part in each.path]
    of_call += [each for each in reference.points if each.call == call and part in each.name]
    is_hit, complaints = trial(stage, [*dict.fromkeys(of_call)][number - 1], reference)
    assert is_hit
    assert complaints == []


@pytest.fixture(scope="module")
def emptying(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stage, Reference]:
    """The same of a purge of dumps by rules."""
    needs("strace")
    stage = prepared(tmp_path_factory.mktemp("emptied"), "archive")
    return stage, undisturbed(stage)


DISTURBED = {
    "a kill before the record of a job": ("kill", "rename", "/.job.json.part", 1),
    "a kill before the record of the jobs' crash": ("kill", "rename", "/.info.json.part", 2),
    "a kill at a name in a job": ("kill", "unlink", "/vmcore/vmcore", 2),
    "no room for the record of a job": ("ENOSPC", "write", "/.job.json.part", 2),
    "an error once the record of a crash is there": ("ENOSPC", "fsync", f"/{UPLOADED}", 2),
    "no room for the record of a crash": ("ENOSPC", "write", "/.info.json.part", 1),
}


@pytest.mark.parametrize("what", few_of(DISTURBED, {"a kill at a name in a job"}))
def test_a_purge_by_rules_that_is_disturbed_loses_nothing(
    emptying: tuple[Stage, Reference], what: str
) -> None:
    stage, reference = emptying
    kind, call, part, number = DISTURBED[what]
    found = [each for each in reference.points if each.call == call and part in each.path]
    is_hit, complaints = trial(stage, found[number - 1], reference, kind)
    assert is_hit
    assert complaints == []
