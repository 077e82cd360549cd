"""A few spoilt dumps through the installed command; ``python -m fuzz cas`` runs more."""

from __future__ import annotations

import pytest
from fuzz import command
from fuzz.mutants import Mutant
from fuzz.seeds import SEEDS
from fuzz.spoilt import Bench

from installed import Site


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(0, marks=pytest.mark.long, id="with crash"),
        pytest.param(1, marks=pytest.mark.long),
        2,
    ],
)
def test_spoilt_dumps_end_with_a_verdict(site_a: Site, number: int) -> None:
    (run,) = command.runs(site_a, range(number, number + 1), ("elf-x86_64", "kdump-zlib"))
    assert list(command.complaints(run)) == []


def test_cut_dump_ends_as_partial(site_a: Site) -> None:
    site_a.keep_snippets("sys", "traceback")
    size = len(SEEDS["kdump-zlib"].data) - 1
    cut = Mutant("kdump-zlib", 1, ("cut",), (), size)  # of an odd number: with drgn
    with Bench(site_a.directory / "bench").spoilt(cut) as path:
        run = command.run(site_a, cut, path)
    assert (run.verdict, list(command.complaints(run))) == ("partial", [])


def test_what_a_finished_run_must_say_is_checked() -> None:
    cut = Mutant("kdump-zlib", 0, ("cut",), (), 4096)
    lie = command.Run(cut, 0, "", {"verdict": "complete", "stage": "analysed"})
    assert len(list(command.complaints(lie))) == 1
    empty = command.Run(cut, 3, "Traceback", {"verdict": "partial", "stage": "", "reason": ""})
    assert len(list(command.complaints(empty))) == 3
