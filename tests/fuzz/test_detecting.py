"""The detectors on a few dumps that were spoilt where they read; `fuzz detect` tries more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fuzz.detecting import opened
from fuzz.sweeps import tally
from fuzz.worker import trials

MUTATIONS = 15


@pytest.mark.long
def test_spoilt_memory_neither_stops_nor_escapes_the_detectors(
    vmcore: Path, vmlinux: Path, tmp_path: Path
) -> None:
    dump = tmp_path / "vmcore"
    shutil.copyfile(vmcore, dump)
    before = dump.read_bytes()
    subject = opened(dump, vmlinux)
    numbers = range(MUTATIONS)
    assert any(subject.edits(number) for number in numbers)
    found = tally(zip(numbers, trials(numbers, subject.trial), strict=True), "mutation")
    assert found.defects == []
    assert found.verdicts["ok"] > MUTATIONS
    assert dump.read_bytes() == before
