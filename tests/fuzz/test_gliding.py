"""The deep trace of a few dumps whose memory was spoilt; `fuzz glide` tries more."""

from __future__ import annotations

import shutil
from pathlib import Path

from fuzz.gliding import opened
from fuzz.sweeps import tally
from fuzz.worker import trials

MUTATIONS = 6


def test_spoilt_memory_neither_stops_nor_escapes_the_trace(
    vmcore: Path, vmlinux: Path, tmp_path: Path
) -> None:
    dump = tmp_path / "vmcore"
    shutil.copyfile(vmcore, dump)
    before = dump.read_bytes()
    subject = opened(dump, vmlinux)
    numbers = range(MUTATIONS)
    found = tally(zip(numbers, trials(numbers, subject.trial), strict=True), "mutation")
    assert found.defects == []
    assert sum(found.verdicts.values()) == MUTATIONS
    assert dump.read_bytes() == before
