"""xz files of several blocks, unpacked by two threads.

``xz -T0`` and the packers of distributions write such files; liblzma's own threads cannot be had
from Python. Source: the .xz file format 1.2.0.
"""

from __future__ import annotations

import itertools
import lzma
import os
import queue
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from cas.intake.account import Account
from cas.intake.decompress import LZMA_BYTES
from cas.intake.flow import BLOCK_BYTES, Damaged

THREADS = 2
AHEAD_BYTES = 24 << 20
"""Of one block's output that waits for its turn: all of it at xz's usual settings."""
INDEX_BYTES = 16 << 20
HEADER_BYTES = 12
READ_BYTES = 128 << 10


@dataclass(frozen=True, slots=True)
class Block:
    """A piece that can be unpacked on its own."""

    offset: int
    packed_bytes: int
    size_bytes: int
    header: bytes
    """Of the stream that it belongs to."""


def layout(descriptor: int) -> list[Block]:
    """The blocks of an xz file, by the indexes at its streams' ends.

    :return: empty when the file is not in order, or has too few blocks to be worth it
    """
    end, blocks = os.fstat(descriptor).st_size, deque[Block]()
    try:
        while end > 0:
            end = _skip_padding(descriptor, end)
            begun, stream = _stream(descriptor, end)
            blocks.extendleft(reversed(stream))
            end = begun
    except (ValueError, IndexError):
        return []
    return list(blocks) if len(blocks) > 1 else []


def _skip_padding(descriptor: int, end: int) -> int:
    while end >= 4 and os.pread(descriptor, 4, end - 4) == bytes(4):
        end -= 4
    return end


def _stream(descriptor: int, end: int) -> tuple[int, list[Block]]:
    """Where the stream that ends here begins, and its blocks."""
    footer = os.pread(descriptor, HEADER_BYTES, max(0, end - HEADER_BYTES))
    index_bytes = (int.from_bytes(footer[4:8], "little") + 1) * 4
    if footer[10:] != b"YZ" or index_bytes > min(INDEX_BYTES, end):
        raise ValueError
    index_at = end - HEADER_BYTES - index_bytes
    index = os.pread(descriptor, index_bytes, index_at)
    count, at = _number(index, 1)
    sizes = []
    for _ in range(count):
        unpadded, at = _number(index, at)
        size, at = _number(index, at)
        sizes.append((unpadded + -unpadded % 4, size))
    begun = index_at - sum(packed for packed, _ in sizes) - HEADER_BYTES
    header = os.pread(descriptor, HEADER_BYTES, begun) if begun >= 0 else b""
    if index[0] != 0 or header[:6] != b"\xfd7zXZ\0":
        raise ValueError
    offsets = itertools.accumulate((packed for packed, _ in sizes), initial=begun + HEADER_BYTES)
    pairs = zip(offsets, sizes, strict=False)
    return begun, [Block(offset, packed, size, header) for offset, (packed, size) in pairs]


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where the next one is."""
    value = 0
    for shift in range(0, 63, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError


def unpack(descriptor: int, blocks: list[Block], account: Account) -> Iterator[bytes]:
    """What the blocks hold, in order.

    :raises Damaged: one of them is not what the index says
    """
    todo = iter(blocks)
    with ThreadPoolExecutor(THREADS, "cas-xz") as pool, _Leaving() as left:
        running = deque(
            _Job(pool, descriptor, block, left) for block in itertools.islice(todo, THREADS + 1)
        )
        while running:
            job = running.popleft()
            yield from job.output()
            account.read_bytes += job.block.packed_bytes
            running.extend(
                _Job(pool, descriptor, block, left) for block in itertools.islice(todo, 1)
            )


class _Leaving(threading.Event):
    """Set as soon as nobody takes the output any more."""

    def __enter__(self) -> _Leaving:
        return self

    def __exit__(self, *_: object) -> None:
        self.set()


class _Job:
    """One block on its way through a thread."""

    def __init__(
        self, pool: ThreadPoolExecutor, descriptor: int, block: Block, left: _Leaving
    ) -> None:
        self.block = block
        self._descriptor = descriptor
        self._left = left
        self._ready: queue.Queue[bytes | None] = queue.Queue(AHEAD_BYTES // BLOCK_BYTES)
        self._done: Future[None] = pool.submit(self._run)

    def output(self) -> Iterator[bytes]:
        while data := self._ready.get():
            yield data
        self._done.result()

    def _run(self) -> None:
        try:
            self._unpack()
        finally:
            self._put(None)

    def _unpack(self) -> None:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, LZMA_BYTES)
        decoder.decompress(self.block.header)
        at, size = self.block.offset, 0
        end = at + self.block.packed_bytes
        while not self._left.is_set():
            data = b""
            if decoder.needs_input:
                data = os.pread(self._descriptor, min(READ_BYTES, end - at), at)
                at += len(data)
                if not data:
                    break
            try:
                output = decoder.decompress(data, BLOCK_BYTES)
            except lzma.LZMAError as error:
                raise Damaged(f"is damaged ({error})") from error
            size += len(output)
            self._put(output)
        if size != self.block.size_bytes:
            raise Damaged("is damaged (a block of the wrong size)")

    def _put(self, data: bytes | None) -> None:
        while data != b"" and not self._left.is_set():
            try:
                return self._ready.put(data, timeout=0.1)
            except queue.Full:
                continue
