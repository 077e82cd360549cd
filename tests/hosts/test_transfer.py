"""How a file is packed on its way to a host, and how far."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cas.hosts.transfer.file import FileToCopy
from cas.hosts.transfer.packing import is_worth_compressing, pack, packed_frames

from installed import needs

MIB = 1 << 20


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
@pytest.mark.parametrize("size_bytes", [1, 1000, 128 << 10, (128 << 10) + 1, MIB])
def test_frames_unpack_as_one_stream(codec: str, size_bytes: int) -> None:
    chunks = [os.urandom(size_bytes), bytes(size_bytes)]
    stream = b"".join(pack(codec, chunk) for chunk in chunks)
    done = subprocess.run([needs(codec), "-dc"], input=stream, capture_output=True, check=True)
    assert done.stdout == b"".join(chunks)


def test_a_frame_of_noise_adds_next_to_nothing() -> None:
    assert len(pack("zstd", os.urandom(MIB))) < MIB + 64


def test_what_hardly_becomes_smaller_is_not_compressed(tmp_path: Path) -> None:
    file, noise = tmp_path / "file", os.urandom(MIB)
    worth = []
    for size_bytes in (0, MIB // 8, MIB):
        file.write_bytes((noise[:size_bytes] + b"the same line again\n" * 52429)[:MIB])
        worth.append(is_worth_compressing(file))
    assert worth == [True, True, False]


def test_frames_begin_at_an_offset(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 16384)
    with packed_frames(file, "cat", (MIB + 64, 3 * MIB + 1)) as found:
        assert b"".join(frame.data for frame in found) == file.read_bytes()[MIB + 64 : 3 * MIB + 1]


def test_only_what_is_no_hole_needs_room(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with file.open("wb") as sparse:
        sparse.write(b"x" * 4096)
        sparse.seek(8 * MIB)
        sparse.write(b"x" * 4096)
        sparse.truncate(16 * MIB)
    cargo = FileToCopy.of(file, None)
    assert [cargo.data_bytes(offset) for offset in (0, MIB, 9 * MIB)] == [8192, 4096, 0]


def test_a_changed_file_has_another_digest(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    before = FileToCopy.of(file, None).digest
    file.write_bytes(b"two")
    assert FileToCopy.of(file, None).digest != before
