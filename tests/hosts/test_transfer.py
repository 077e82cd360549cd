"""How a file is packed on its way to a host, and how far."""

from __future__ import annotations

import os
import subprocess
from itertools import islice
from pathlib import Path

import pytest

from cas.hosts.transfer.file import Cargo
from cas.hosts.transfer.frames import CHUNK_BYTES, frames
from cas.hosts.transfer.pace import HOLD, TRIAL, Pace
from cas.hosts.transfer.packing import Packing, measure, pack

from installed import needs

MIB = 1 << 20
QUICK = Packing(0.3, 100 * MIB)
ONE, OTHER = {False: 0.02, True: 0.01}, {False: 0.01, True: 0.02}
"""Seconds for a chunk where compression pays, and where it does not."""


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
@pytest.mark.parametrize("size_bytes", [1, 1000, 128 << 10, (128 << 10) + 1, MIB])
def test_packed_and_plain_frames_unpack_as_one_stream(codec: str, size_bytes: int) -> None:
    chunk = os.urandom(size_bytes)
    stream = b"".join(pack(codec, chunk, is_packed=way) for way in (False, True, True, False))
    done = subprocess.run([needs(codec), "-dc"], input=stream, capture_output=True, check=True)
    assert done.stdout == chunk * 4


def test_a_plain_frame_adds_next_to_nothing() -> None:
    assert len(pack("zstd", bytes(MIB), is_packed=False)) < MIB + 64


def test_what_cannot_be_compressed_is_not(tmp_path: Path) -> None:
    noise, text = tmp_path / "noise", tmp_path / "text"
    noise.write_bytes(os.urandom(MIB))
    text.write_bytes(b"the same line again\n" * 1000)
    found = measure(text, "zstd")
    assert found and found.ratio < 0.1
    assert (measure(noise, "zstd"), measure(text, "cat")) == (None, None)


def sent(pace: Pace, chunks: int, seconds: dict[bool, float], wire_s: float) -> str:
    """Which of so many chunks were packed; on the wire a plain one takes so long."""
    ways = ""
    for _ in range(chunks):
        way = pace.is_next_packed()
        ratio = QUICK.ratio if way else 1.0
        pace.link_took(int(ratio * CHUNK_BYTES), ratio * wire_s)
        pace.took(way, CHUNK_BYTES, seconds[way])
        ways += "z" if way else "-"
    return ways


def test_compression_that_costs_more_than_it_saves_is_given_up() -> None:
    ways = sent(Pace(QUICK), 2 * TRIAL + HOLD, OTHER, 0.01)
    assert ways == "z" * TRIAL + "-" * (TRIAL + HOLD)


def test_compression_that_pays_is_kept() -> None:
    ways = sent(Pace(QUICK), 2 * TRIAL + HOLD, ONE, 0.02)
    assert ways == "z" * TRIAL + "-" * TRIAL + "z" * HOLD


def test_nothing_is_tried_plain_on_a_link_that_is_clearly_slower() -> None:
    assert sent(Pace(QUICK), 600, {False: 1.0, True: 0.3}, 1.0) == "z" * 600


def test_a_file_that_all_but_vanishes_is_compressed_on_any_link() -> None:
    assert sent(Pace(Packing(0.01, 1.0)), 600, OTHER, 0.01) == "z" * 600


def test_a_slow_trial_is_cut_short() -> None:
    ways = sent(Pace(Packing(0.3, MIB)), 100, {False: 1.5, True: 0.5}, 0.1)
    assert (ways.count("-"), ways[-80:]) == (2, "z" * 80)


def test_a_judgement_does_not_hold_for_ever() -> None:
    pace = Pace(QUICK)
    sent(pace, 2 * TRIAL + HOLD, OTHER, 0.01)
    assert sent(pace, 4 * HOLD, ONE, 0.02)[-HOLD:].count("-") <= TRIAL


def test_a_small_file_is_compressed_before_anything_is_known() -> None:
    assert sent(Pace(QUICK), 7, OTHER, 0.01) == "z" * 7


def test_zeros_are_never_sent_plain(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(CHUNK_BYTES) + os.urandom(CHUNK_BYTES))
    with frames(file, "zstd", (0, 2 * CHUNK_BYTES), Pace(None)) as found:
        assert [len(frame.data) // 1024 for frame in islice(found, 2)] == [0, 1024]


def test_frames_begin_at_an_offset(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 16384)
    with frames(file, "cat", (MIB + 64, 3 * MIB + 1), Pace(None)) as found:
        assert b"".join(frame.data for frame in found) == file.read_bytes()[MIB + 64 : 3 * MIB + 1]


def test_only_what_is_no_hole_needs_room(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with file.open("wb") as sparse:
        sparse.write(b"x" * 4096)
        sparse.seek(8 * MIB)
        sparse.write(b"x" * 4096)
        sparse.truncate(16 * MIB)
    cargo = Cargo.of(file, None)
    assert [cargo.data_bytes(offset) for offset in (0, MIB, 9 * MIB)] == [8192, 4096, 0]


def test_a_changed_file_has_another_digest(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    before = Cargo.of(file, None).digest
    file.write_bytes(b"two")
    assert Cargo.of(file, None).digest != before
