"""Blocks of xz data by two threads: in order, within limits, and gone with whoever took them."""

import lzma
import os
import random
import subprocess
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from cas.streams import xz_blocks
from cas.streams.decompress import unxz
from cas.streams.flow import Damaged, Flow
from cas.streams.layer import Payload

from installed import needs

BLOCK = 1 << 20
CONTENT = b"".join(random.Random(5).randbytes(1000) * 1000 for _ in range(12))  # noqa: S311
LIMITS = xz_blocks.Limits(64 << 20)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    plain = tmp_path / "plain"
    plain.write_bytes(CONTENT)
    argv = [needs("xz"), "-0", "-T2", f"--block-size={BLOCK}", "-k", plain]
    subprocess.run(argv, check=True)
    return tmp_path / "plain.xz"


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cas-xz"]


@pytest.mark.parametrize("ahead", [0, BLOCK // 2, 64 << 20])
def test_the_content_comes_in_order_however_little_may_wait(packed: Path, ahead: int) -> None:
    limits = xz_blocks.Limits(LIMITS.memory_bytes, ahead)
    read: list[int] = []
    with packed.open("rb") as file:
        blocks = xz_blocks.layout(file.fileno())
        content = b"".join(xz_blocks.unpack_blocks(file.fileno(), blocks, limits, read.append))
    assert content == CONTENT
    assert read == [block.packed_bytes for block in blocks]
    assert not threads()


@pytest.mark.parametrize(
    ("size_bytes", "ahead_bytes", "waiting_bytes"),
    [
        (24 << 20, 24 << 20, 16 << 20),  # xz -6, which packs Debian's kernels
        (48 << 20, 24 << 20, 24 << 20),
        (192 << 20, 48 << 20, 48 << 20),
        (24 << 20, 4 << 20, 4 << 20),
    ],
)
def test_half_a_block_may_wait(size_bytes: int, ahead_bytes: int, waiting_bytes: int) -> None:
    blocks = [xz_blocks.Block(12, 1000, size_bytes, b"")] * 2
    limits = xz_blocks.Limits(LIMITS.memory_bytes, ahead_bytes)
    assert xz_blocks.waiting_bytes(blocks, limits) == waiting_bytes


def test_what_waits_for_a_slow_reader_is_bounded(tmp_path: Path) -> None:
    size = 8 << 20
    plain = tmp_path / "plain"
    plain.write_bytes(CONTENT[:size] * 6)
    argv = [needs("xz"), "-0", "-T2", f"--block-size={size}", plain]
    subprocess.run(argv, check=True)
    with (tmp_path / "plain.xz").open("rb") as file:
        blocks = xz_blocks.layout(file.fileno())
        tracemalloc.start()
        try:
            for _ in xz_blocks.unpack_blocks(file.fileno(), blocks, LIMITS):
                time.sleep(0.01)  # as a disk would
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    at_work = 6 * xz_blocks.PIECE_BYTES  # decoders of xz -0 are small
    assert peak < size // 2 + 2 * xz_blocks.HEAD_BYTES + at_work


@pytest.mark.parametrize("zeros", [4, 8 << 20, (64 << 20) + 4])
def test_zeros_behind_the_end_are_passed_over_at_once(packed: Path, zeros: int) -> None:
    with packed.open("r+b") as file:
        blocks = xz_blocks.layout(file.fileno())
        end = file.seek(0, 2) + zeros
        file.truncate(end)
        reads: list[int] = []

        def read(at: int, size: int) -> bytes:
            reads.append(size)
            return os.pread(file.fileno(), size, at)

        assert xz_blocks.layout_of(read, 0, end) == blocks
    assert len(reads) < 80


@pytest.mark.parametrize("more", [0, 4])
def test_zeros_between_streams_are_passed_over_a_block_at_a_time(more: int) -> None:
    class Counted(Flow):
        peeks = 0

        def peek(self, count: int) -> bytes:
            self.peeks += 1
            return super().peek(count)

    first, second = lzma.compress(b"one "), lzma.compress(b"two")
    flow = Counted([first, *[bytes(1 << 20)] * 8, bytes(4 + more) + second])
    assert b"".join(unxz(flow, Payload())) == b"one two"
    assert flow.peeks < 20


def test_a_damaged_block_ends_it_behind_those_before(packed: Path) -> None:
    with packed.open("r+b") as file:
        blocks = xz_blocks.layout(file.fileno())
        file.seek(blocks[4].offset + 100)
        file.write(b"damage")
        file.flush()
        content = b""
        with pytest.raises(Damaged):
            for piece in xz_blocks.unpack_blocks(file.fileno(), blocks, LIMITS):
                content += piece
    assert content[: 4 * BLOCK] == CONTENT[: 4 * BLOCK]
    assert CONTENT.startswith(content)
    assert not threads()


def test_an_index_that_lies_is_damage(packed: Path) -> None:
    with packed.open("rb") as file:
        first, *others = xz_blocks.layout(file.fileno())
        lie = xz_blocks.Block(first.offset, first.packed_bytes, first.size_bytes + 1, first.header)
        with pytest.raises(Damaged, match="wrong size"):
            list(xz_blocks.unpack_blocks(file.fileno(), [lie, *others], LIMITS))


def test_who_leaves_takes_the_threads_along(packed: Path) -> None:
    with packed.open("rb") as file:
        limits = xz_blocks.Limits(LIMITS.memory_bytes, ahead_bytes=0)  # they wait for us
        content = xz_blocks.unpack_blocks(file.fileno(), xz_blocks.layout(file.fileno()), limits)
        assert next(content)
        assert threads()
        content.close()
        assert not threads()


def test_one_block_is_not_worth_it(tmp_path: Path) -> None:
    path = tmp_path / "one.xz"
    path.write_bytes(lzma.compress(CONTENT))
    with path.open("rb") as file:
        assert xz_blocks.layout(file.fileno()) == []
