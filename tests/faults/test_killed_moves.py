"""A short slice of the sweep over moves to a store; the whole is ``tests/faults/sweep``.

What every run keeps of it is in ``tests/archive/test_moving.py``: stores that fail, and a move as a
kill leaves it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from move_trial import SERVERS, prepared, trial, undisturbed

from installed import needs

FAULTS = {
    "away": (
        ("kill", "rename", ".info.json.part", 1),
        ("kill", "unlink", "/vmcore/", 1),
        ("ENOSPC", "write", ".info.json.part", 1),
    ),
    "back": (
        ("kill", "pwrite64", ".coming", 2),
        ("kill", "rename", ".info.json.part", 2),
        ("kill", "link", "/files/", 1),
        ("ENOSPC", "pwrite64", ".coming", 1),
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("scenario", FAULTS)
def test_a_move_that_is_disturbed_loses_nothing_and_the_next_one_ends_it(
    tmp_path: Path, scenario: str
) -> None:
    needs("strace")
    with SERVERS:
        stage = prepared(tmp_path / scenario, scenario)
        reference = undisturbed(stage)
        for number, (kind, call, part, which) in enumerate(FAULTS[scenario]):
            point = next(
                point
                for point in reference.points
                if point.call.startswith(call) and part in point.name and point.number == which
            )
            outcome = trial(stage, point, kind, f"trial-{number}", reference)
            assert outcome.hit, point
            assert outcome.complaints == ()
