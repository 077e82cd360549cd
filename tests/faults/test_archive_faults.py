"""A short slice of the sweep over what comes into the archive; the whole is ``tests/faults/sweep``.

What every run keeps of it is in ``tests/archive/test_uploads.py``: uploads as a kill leaves them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from archive_trial import Reference, Stage, prepared, trial, undisturbed

from installed import needs

Play = tuple[Stage, Reference]

UPLOAD, ANOTHER, INDEX = "upload", "another", "index"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Play]:
    needs("strace")
    known = dict[str, Play]()

    def play(scenario: str) -> Play:
        if scenario not in known:
            directory: Path = tmp_path_factory.mktemp("faults") / scenario
            stage = prepared(directory, scenario)
            known[scenario] = stage, undisturbed(stage)
        return known[scenario]

    return play


@pytest.mark.long
@pytest.mark.parametrize(
    ("scenario", "kind", "where"),
    [
        (UPLOAD, "kill", ("rename", "incoming/.new-*", 1)),
        (UPLOAD, "kill", ("copy_file_range", "vmcore/full.elf", 1)),
        (UPLOAD, "kill", ("rename", ".result.json.part", 1)),
        (UPLOAD, "kill", ("link", "/vmcore/", 1)),
        (UPLOAD, "kill", ("rename", ".info.json.part", 1)),
        (UPLOAD, "kill", ("rename", "incoming/JOB", 1)),
        (UPLOAD, "ENOSPC", ("write", ".report.txt.part", 1)),
        (UPLOAD, "ENOSPC", ("write", ".info.json.part", 1)),
        (ANOTHER, "kill", ("rename", ".info.json.part", 2)),
        (ANOTHER, "EIO", ("fsync", "files", 1)),
        (INDEX, "kill", ("rename", ".info.json.part", 2)),
        (INDEX, "kill", ("link", "/vmcore/", 1)),
    ],
)
def test_what_is_disturbed_on_its_way_into_the_archive_loses_nothing(
    played: Callable[[str], Play], scenario: str, kind: str, where: tuple[str, str, int]
) -> None:
    (stage, reference), (call, part, number) = played(scenario), where
    point = next(
        point
        for point in reference.points
        if point.call.startswith(call) and part in point.name and point.number == number
    )
    outcome = trial(stage, point, kind, f"{kind}-{call}", reference)
    assert outcome.hit
    assert outcome.complaints == ()
