"""The deep trace of a few dumps whose memory was spoilt; `fuzz glide` tries more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fuzz.gliding import opened
from fuzz.sweeps import tally
from fuzz.worker import trials

from cas.engines.drgn.child.glide.trace import Glide, Wanted

MUTATIONS = 6


@pytest.mark.long
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


def test_a_spoilt_list_of_tasks_costs_none_of_those_on_the_cpus(
    vmcore: Path, vmlinux: Path, tmp_path: Path
) -> None:
    dump = tmp_path / "vmcore"
    shutil.copyfile(vmcore, dump)
    subject = opened(dump, vmlinux)
    head = subject.target.prog["init_pid_ns"].idr.idr_rt.xa_head
    assert head.address_ is not None
    at = subject.offset_of(head.address_)
    assert at is not None
    with dump.open("r+b") as file:
        file.seek(at)
        file.write((0xDEAD000000000102).to_bytes(8, "little"))
    records = list(Glide(subject.target, Wanted("all")).records())
    (remark,) = (one["text"] for one in records if one["kind"] == "remark")
    assert remark.startswith("not all tasks can be found: ")
    assert [one["role"] for one in records if one["kind"] == "task"] == ["panic", "cpu"]
