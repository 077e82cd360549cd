"""xz data of several blocks, unpacked by two threads.

``xz -T0`` and the packers of distributions write such data; liblzma's own threads cannot be had
from Python. Source: the .xz file format 1.2.0.
"""

from __future__ import annotations

import itertools
import lzma
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cas.streams.flow import Damaged

THREADS = 2
INDEX_BYTES = 16 << 20
BLOCKS_LIMIT = 1 << 17
HEADER_BYTES = 12
READ_BYTES = 128 << 10
PIECE_BYTES = 256 << 10
"""What is unpacked at a time: small enough to stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What unpacking may cost."""

    memory_bytes: int
    """Of one decoder; two are at work."""
    ahead_bytes: int = 24 << 20
    """Of one block's output that waits for its turn: all of it at xz's usual settings."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece that can be unpacked on its own."""

    offset: int
    packed_bytes: int
    size_bytes: int
    header: bytes
    """Of the stream that it belongs to."""


def layout(descriptor: int, begin: int = 0, end: int | None = None) -> list[Block]:
    """The blocks of the xz data in a file, by the indexes at its streams' ends.

    :param begin: where in the file it begins
    :param end: where it ends; ``None``: with the file
    :return: empty when the data is not in order, or has too few blocks to be worth it
    :raises OSError: the file cannot be read
    """
    at, blocks = os.fstat(descriptor).st_size if end is None else end, deque[Block]()
    try:
        while at > begin:
            at = _skip_padding(descriptor, begin, at)
            at, stream = _stream(descriptor, begin, at)
            blocks.extendleft(reversed(stream))
    except (ValueError, IndexError):
        return []
    return list(blocks) if len(blocks) > 1 else []


def _skip_padding(descriptor: int, begin: int, end: int) -> int:
    while end >= begin + 4 and os.pread(descriptor, 4, end - 4) == bytes(4):
        end -= 4
    return end


def _stream(descriptor: int, lowest: int, end: int) -> tuple[int, list[Block]]:
    """Where the stream that ends here begins, and its blocks."""
    footer = os.pread(descriptor, HEADER_BYTES, max(lowest, end - HEADER_BYTES))
    index_bytes = (int.from_bytes(footer[4:8], "little") + 1) * 4
    if footer[10:] != b"YZ" or index_bytes > min(INDEX_BYTES, end - lowest):
        raise ValueError
    index_at = end - HEADER_BYTES - index_bytes
    index = os.pread(descriptor, index_bytes, index_at) if index_at >= lowest else b""
    count, at = _number(index, 1)
    if count > BLOCKS_LIMIT:
        raise ValueError
    sizes = []
    for _ in range(count):
        unpadded, at = _number(index, at)
        size, at = _number(index, at)
        sizes.append((unpadded + -unpadded % 4, size))
    begun = index_at - sum(packed for packed, _ in sizes) - HEADER_BYTES
    header = os.pread(descriptor, HEADER_BYTES, begun) if begun >= lowest else b""
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


def is_within(descriptor: int, block: Block, limits: Limits) -> bool:
    """Whether a block can be unpacked with so much memory; its own header tells.

    :raises OSError: the file cannot be read
    """
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, limits.memory_bytes)
    try:
        decoder.decompress(block.header + os.pread(descriptor, 1024, block.offset), 1)
    except lzma.LZMAError:
        return False
    return True


def unpack(
    descriptor: int,
    blocks: list[Block],
    limits: Limits,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[bytes]:
    """What the blocks hold, in order.

    :param advance: told how many compressed bytes have become output
    :raises Damaged: one of them is not what the index says
    :raises OSError: the file cannot be read
    """
    todo = iter(blocks)
    running = deque[_Job]()
    try:
        while True:
            for block in itertools.islice(todo, THREADS - len(running)):
                running.append(_Job(descriptor, block, limits))
            if not running:
                return
            yield from running[0].output()
            advance(running.popleft().block.packed_bytes)
    finally:
        for job in running:
            job.leave()
        for job in running:
            job.thread.join()


class _Job:
    """One block on its way through a thread.

    The thread ends with the process: a file system that hangs shall not keep that alive.
    """

    def __init__(self, descriptor: int, block: Block, limits: Limits) -> None:
        self.block = block
        self._descriptor = descriptor
        self._memory_bytes = limits.memory_bytes
        self._left = threading.Event()
        self._ready: queue.Queue[bytes] = queue.Queue(limits.ahead_bytes // PIECE_BYTES)
        self._failure: Exception | None = None
        self.thread = threading.Thread(target=self._run, name="cas-xz", daemon=True)
        self.thread.start()

    def leave(self) -> None:
        """Nobody takes the output any more."""
        self._left.set()

    def output(self) -> Iterator[bytes]:
        """The content of the block."""
        while data := self._ready.get():
            yield data
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._unpack()
        except (Damaged, OSError, MemoryError) as error:
            self._failure = error
        self._put(b"")

    def _unpack(self) -> None:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, self._memory_bytes)
        at, size = self.block.offset, 0
        end = at + self.block.packed_bytes
        data = self.block.header
        while not self._left.is_set():
            try:
                output = decoder.decompress(data, PIECE_BYTES)
            except (lzma.LZMAError, EOFError) as error:
                raise Damaged(" ".join(str(error).split())) from error
            size += len(output)
            if output:
                self._put(output)
            data = b""
            if decoder.needs_input:
                data = os.pread(self._descriptor, min(READ_BYTES, end - at), at)
                at += len(data)
                if not data:
                    break
        if size != self.block.size_bytes and not self._left.is_set():
            raise Damaged("a block of the wrong size")

    def _put(self, data: bytes) -> None:
        while not self._left.is_set():
            try:
                return self._ready.put(data, timeout=0.1)
            except queue.Full:
                continue
