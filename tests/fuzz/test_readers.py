"""The short slices of the sweeps in `README.md`, and every defect that they found."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from fuzz import intact, sweeps
from fuzz.hostile import HOSTILE
from fuzz.seeds import SEEDS
from fuzz.sweeps import tally
from fuzz.trial import judged, tried
from fuzz.worker import trials

from installed import few_of

DEFECTS = sorted((Path(__file__).parent / "defects").glob("*.xz"))
SMALL = [name for name, seed in SEEDS.items() if not seed.is_large]
MUTATIONS = 6
CUTS = 12


@pytest.mark.parametrize("name", few_of(SMALL, SMALL[::2]))
def test_spoilt_dump_gives_facts_or_one_sentence(name: str, tmp_path: Path) -> None:
    tasks = sweeps.mutations(MUTATIONS, [name])
    assert tally(sweeps.spoil(tasks, tmp_path), "mutation").defects == []


@pytest.mark.parametrize("name", few_of(SMALL, SMALL[1::2]))
def test_cut_dump_is_never_complete(name: str, tmp_path: Path) -> None:
    sizes = sweeps.cuts(name)
    chosen = [*sizes[:3], *sizes[3 :: len(sizes) // CUTS], *sizes[-2:]]
    found = tally(sweeps.cut(name, chosen, tmp_path), "cut to")
    assert (found.defects, found.verdicts["complete"]) == ([], 0)


@pytest.mark.parametrize("path", DEFECTS, ids=[path.stem for path in DEFECTS])
def test_defect_stays_cured(path: Path, tmp_path: Path) -> None:
    vmcore = tmp_path / "vmcore"
    vmcore.write_bytes(lzma.decompress(path.read_bytes()))
    (result,) = trials([vmcore], lambda file: tried(file).complaints)
    assert result.complaints == ()


@pytest.mark.parametrize("name", few_of(HOSTILE, [*HOSTILE][::2]))
def test_costly_dump_stays_within_the_limits(name: str, tmp_path: Path) -> None:
    vmcore = tmp_path / "vmcore"
    HOSTILE[name](vmcore)
    (result,) = trials([vmcore], lambda file: judged(file).complaints)
    assert result.complaints == ()


def test_synthetic_dumps_are_never_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    for name, data in intact.synthetic():
        path.write_bytes(data)
        assert (name, intact.alarms(path)) == (name, [])


def test_shipped_dumps_are_never_called_damaged(vmcore: Path, tmp_path: Path) -> None:
    for name in intact.converted(vmcore, tmp_path / "target", levels=(16,)):
        assert (name, intact.alarms(tmp_path / "target")) == (name, [])


def test_part_of_a_split_set_is_never_complete(tmp_path: Path) -> None:
    parts = [name for name, seed in SEEDS.items() if seed.is_part]
    for name in parts:
        path = tmp_path / name
        path.write_bytes(SEEDS[name].data)
        assert intact.alarms(path)


def test_spoilt_page_is_a_page_or_refused() -> None:
    tasks = range(500)
    found = tally(zip(tasks, trials(tasks, sweeps.page_trial), strict=True), "page")
    assert found.defects == []


def test_spoilt_elf_gives_facts_or_one_sentence() -> None:
    tasks = range(200)
    trial = sweeps.elf_trial(SEEDS["elf-qemu"].data)
    assert tally(zip(tasks, trials(tasks, trial), strict=True), "ELF file").defects == []
