"""Packed files that are read at any place, against their content."""

from __future__ import annotations

import io
import lzma
import random
import struct
import subprocess
import zlib
from collections.abc import Callable

import pytest
import zstandard

from cas.streams.flow import Damaged
from cas.streams.random_access import Unpacked, unpacked_at_random

CONTENT = random.Random(7).randbytes(300_000) + bytes(200_000) + b"the end"  # noqa: S311
PIECE_BYTES = 1 << 16


class InMemory:
    """Bytes, and how many of them were read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.asked_bytes = data, len(data), 0

    def read(self, offset: int, size: int) -> bytes:
        self.asked_bytes += size
        return self.data[offset : offset + size] if offset >= 0 else b""


def xz_blocks(data: bytes) -> bytes:
    argv = ["xz", "-T2", "-c", "-0", f"--block-size={PIECE_BYTES}"]
    return subprocess.run(argv, input=data, capture_output=True, check=True).stdout


def seekable_zstd(data: bytes, *, has_checksums: bool = False) -> bytes:
    frames, table = b"", b""
    for piece in pieces(data):
        frame = zstandard.ZstdCompressor(write_checksum=True).compress(piece)
        frames += frame
        table += struct.pack("<II", len(frame), len(piece)) + bytes(4 * has_checksums)
    count = len(table) // (12 if has_checksums else 8)
    table += struct.pack("<IBI", count, 0x80 * has_checksums, 0x8F92EAB1)
    return frames + struct.pack("<II", 0x184D2A5E, len(table)) + table


def bgzf(data: bytes) -> bytes:
    written = b""
    for piece in [*pieces(data, 60_000), b""]:
        raw = zlib.compressobj(wbits=-15)
        packed = raw.compress(piece) + raw.flush()
        head = b"\x1f\x8b\x08\4" + bytes(6) + b"\6\0BC\2\0"
        tail = struct.pack("<II", zlib.crc32(piece), len(piece))
        written += head + struct.pack("<H", len(head) + 2 + len(packed) + 8 - 1) + packed + tail
    return written


def pieces(data: bytes, size: int = PIECE_BYTES) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "xz": xz_blocks,
    "two xz streams": lambda data: xz_blocks(data[:90_000]) + xz_blocks(data[90_000:]),
    "zstd": seekable_zstd,
    "zstd with checksums": lambda data: seekable_zstd(data, has_checksums=True),
    "bgzf": bgzf,
}


def opened(packed: bytes) -> Unpacked | None:
    return unpacked_at_random(InMemory(packed), io.BytesIO(), 1 << 30)


@pytest.mark.parametrize("packer", PACKERS)
def test_any_range_is_what_was_packed(packer: str) -> None:
    packed = InMemory(PACKERS[packer](CONTENT))
    found = unpacked_at_random(packed, io.BytesIO(), 1 << 30)
    assert found
    assert found.size == len(CONTENT)
    look_up = packed.asked_bytes
    assert found.read(len(CONTENT) - 7, 100) == b"the end"
    assert found.unpacked_bytes <= PIECE_BYTES
    assert packed.asked_bytes - look_up < len(packed.data) / 4
    chance = random.Random(1)  # noqa: S311
    for _ in range(50):
        offset, size = chance.randrange(len(CONTENT)), chance.randrange(200_000)
        assert found.read(offset, size) == CONTENT[offset : offset + size]
    assert found.unpacked_bytes <= len(CONTENT)  # each piece once
    assert found.read(len(CONTENT), 1) == b""


@pytest.mark.parametrize("packer", PACKERS)
def test_a_piece_that_is_not_what_the_table_says_is_damage(packer: str) -> None:
    packed = bytearray(PACKERS[packer](CONTENT))
    for at in range(150_000, 150_040):
        packed[at] ^= 0x55
    found = opened(bytes(packed))
    assert found
    assert found.read(len(CONTENT) - 7, 7) == b"the end"
    with pytest.raises(Damaged):
        found.read(0, len(CONTENT))


def test_a_table_that_claims_too_much_costs_nothing() -> None:
    packed = bytearray(seekable_zstd(CONTENT))
    packed[-13:-9] = struct.pack("<I", 60 << 20)  # the last frame's size
    found = opened(bytes(packed))
    assert found
    with pytest.raises(Damaged):
        found.read(found.size - 1, 1)
    packed[-13:-9] = struct.pack("<I", 1 << 30)
    assert opened(bytes(packed)) is None


def test_a_table_whose_frames_do_not_end_where_it_begins_is_not_believed() -> None:
    packed = bytearray(seekable_zstd(CONTENT))
    packed[-17] ^= 1  # of the last frame's packed bytes
    assert opened(bytes(packed)) is None


def test_no_more_is_unpacked_than_is_allowed() -> None:
    packed = InMemory(seekable_zstd(CONTENT))
    found = unpacked_at_random(packed, io.BytesIO(), 2 * PIECE_BYTES)
    assert found
    assert found.read(0, 2 * PIECE_BYTES) == CONTENT[: 2 * PIECE_BYTES]
    with pytest.raises(Damaged, match="not unpacked any further"):
        found.read(2 * PIECE_BYTES, 1)
    assert found.unpacked_bytes == 2 * PIECE_BYTES


@pytest.mark.parametrize(
    "packed",
    [
        lzma.compress(CONTENT),
        zstandard.ZstdCompressor().compress(CONTENT),
        zlib.compress(CONTENT, wbits=31),
        bgzf(CONTENT)[:-40],
        seekable_zstd(CONTENT)[:-1],
        xz_blocks(CONTENT)[:-4],
        CONTENT,
        b"",
    ],
    ids=["one block", "one frame", "gzip", "cut bgzf", "cut zstd", "cut xz", "plain", "empty"],
)
def test_what_can_only_be_read_from_its_beginning_is_left_to_that(packed: bytes) -> None:
    assert opened(packed) is None
