"""xz data of several blocks, unpacked by two threads.

``xz -T0`` and the packers of distributions write such data; liblzma's own threads cannot be had
from Python. Source: the .xz file format 1.2.0.
"""

from __future__ import annotations

import lzma
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator

from cas.frozen import dataclass
from cas.streams.flow import Damaged

THREADS = 2
INDEX_BYTES = 16 << 20
BLOCKS_LIMIT = 1 << 17
HEADER_BYTES = 12
READ_BYTES = 128 << 10
HEAD_BYTES = 4 << 20
"""So much of the block that is taken may wait, however much of those behind it does."""
AHEAD_BYTES = 24 << 20
"""Of a package, so that a job has 150 MiB of memory at most: half a block at xz -7."""
PIECE_BYTES = 1 << 20
"""What is unpacked at a time; with 256 KiB threads wait more often: 3 to 6 % longer."""

_PADDING_BYTES = 1 << 20
"""Of zeros behind a stream that are looked at at a time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What unpacking may cost."""

    memory_bytes: int
    """Memory of one decoder; two are at work."""
    ahead_bytes: int = AHEAD_BYTES
    """The most output that may wait for its turn; see `waiting_bytes`."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece that can be unpacked on its own."""

    offset: int
    packed_bytes: int
    size_bytes: int
    header: bytes
    """Header of the stream that it belongs to, 12 bytes."""


def layout(descriptor: int, begin: int = 0, end: int | None = None) -> list[Block]:
    """The blocks of the xz data in a file; see `layout_of`.

    :param end: where it ends; ``None``: with the file
    :raises OSError: the file cannot be read
    """
    end = os.fstat(descriptor).st_size if end is None else end
    return layout_of(lambda at, size: os.pread(descriptor, size, at), begin, end)


def layout_of(read: Callable[[int, int], bytes], begin: int, end: int) -> list[Block]:
    """The blocks of xz data, by the indexes at its streams' ends.

    :param read: bytes by their offset and number, fewer at the end
    :param begin: offset of the data
    :param end: that of its end
    :return: empty when the data is not in order, or has too few blocks to be worth it
    """
    at, blocks = end, deque[Block]()
    try:
        while at > begin:
            at = _before_padding(read, begin, at)
            footer = read(max(begin, at - HEADER_BYTES), HEADER_BYTES)
            index_bytes = (int.from_bytes(footer[4:8], "little") + 1) * 4
            if footer[10:] != b"YZ" or index_bytes > min(INDEX_BYTES, at - begin):
                return []
            index_at = at - HEADER_BYTES - index_bytes
            index = read(index_at, index_bytes) if index_at >= begin else b""
            count, place = _seven_bit_number(index, 1)
            if count > BLOCKS_LIMIT:
                return []
            sizes = []
            for _ in range(count):
                unpadded, place = _seven_bit_number(index, place)
                size, place = _seven_bit_number(index, place)
                sizes.append((unpadded + -unpadded % 4, size))
            at = index_at - sum(packed for packed, _ in sizes) - HEADER_BYTES
            header = read(at, HEADER_BYTES) if at >= begin else b""
            if index[0] != 0 or header[:6] != b"\xfd7zXZ\0":
                return []
            offset, stream = at + HEADER_BYTES, []
            for packed, size in sizes:
                stream.append(Block(offset, packed, size, header))
                offset += packed
            blocks.extendleft(reversed(stream))
    except (ValueError, IndexError):
        return []
    return list(blocks) if len(blocks) > 1 else []


def _before_padding(read: Callable[[int, int], bytes], begin: int, at: int) -> int:
    """Where the zeros begin that stand before an end, in fours; an upload may have gigabytes."""
    while at > begin:
        piece = read(max(begin, at - _PADDING_BYTES), min(_PADDING_BYTES, at - begin))
        zeros = (len(piece) - len(piece.rstrip(b"\0"))) // 4 * 4
        at -= zeros
        if zeros < len(piece) // 4 * 4 or not zeros:
            break
    return at


def _seven_bit_number(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where the next one is."""
    value = 0
    for shift in range(0, 63, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError


def waiting_bytes(blocks: list[Block], limits: Limits) -> int:
    """How much output may wait for its turn: half of the largest block, and some.

    A thread that has to wait in the middle of its block is half a block behind the other one from
    then on, and neither waits again. More would only be memory, of which glibc gives nothing back.
    """
    half = max((block.size_bytes for block in blocks), default=0) // 2
    return min(limits.ahead_bytes, half + HEAD_BYTES)


def fits_memory(descriptor: int, block: Block, limits: Limits) -> bool:
    """Whether a block can be unpacked with so much memory; its own header tells.

    :raises OSError: the file cannot be read
    """
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, limits.memory_bytes)
    try:
        decoder.decompress(block.header + os.pread(descriptor, 1024, block.offset), 1)
    except lzma.LZMAError:
        return False
    return True


def unpack_blocks(
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
    unpacking = _Unpacking(descriptor, blocks, limits)
    try:
        unpacking.start_threads()
        for block in blocks:
            yield from unpacking.next_block()
            advance(block.packed_bytes)
    finally:
        unpacking.stop_threads()


class _Job:
    """One block on its way through a thread."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.ready = deque[bytes]()
        """Output that waits to be taken."""
        self.ready_bytes = 0
        self.is_over = False
        self.failure: Exception | None = None


class _Unpacking:
    """Threads that unpack one block after the other, each as soon as it is free.

    They end with the process: a file system that hangs shall not keep that alive.
    """

    def __init__(self, descriptor: int, blocks: list[Block], limits: Limits) -> None:
        self._descriptor = descriptor
        self._limits = limits
        self._waiting_bytes = waiting_bytes(blocks, limits)
        self._todo = iter(blocks)
        self._jobs = deque[_Job]()  # the first is the one whose output is taken
        self._changed = threading.Condition()
        self._is_left = False
        self._threads: list[threading.Thread] = []

    def start_threads(self) -> None:
        """Begin.

        :raises RuntimeError: the system has no room for a thread
        """
        for _ in range(THREADS):
            thread = threading.Thread(target=self._unpack_blocks, name="cas-xz", daemon=True)
            thread.start()
            self._threads.append(thread)

    def next_block(self) -> Iterator[bytes]:
        """The content of the next block."""
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._jobs and (self._jobs[0].ready or self._jobs[0].is_over)
                )
                job = self._jobs[0]
                piece = job.ready.popleft() if job.ready else b""
                job.ready_bytes -= len(piece)
                if not piece:
                    self._jobs.popleft()
                self._changed.notify_all()
            if not piece:
                break
            yield piece
        if job.failure is not None:
            raise job.failure

    def stop_threads(self) -> None:
        """Nobody takes the output any more."""
        with self._changed:
            self._is_left = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _unpack_blocks(self) -> None:
        while True:
            with self._changed:
                block = None if self._is_left else next(self._todo, None)
                if block is None:
                    return
                job = _Job(block)
                self._jobs.append(job)
            try:
                self._unpack_block(job)
            except (Damaged, OSError, MemoryError) as error:
                job.failure = error
            with self._changed:
                job.is_over = True
                self._changed.notify_all()

    def _unpack_block(self, job: _Job) -> None:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, self._limits.memory_bytes)
        at, size = job.block.offset, 0
        end = at + job.block.packed_bytes
        data = job.block.header
        while not self._is_left:
            try:
                output = decoder.decompress(data, PIECE_BYTES)
            except (lzma.LZMAError, EOFError) as error:
                raise Damaged(" ".join(str(error).split())) from error
            size += len(output)
            if output:
                self._keep_output(job, output)
            data = b""
            if decoder.needs_input:
                data = os.pread(self._descriptor, min(READ_BYTES, end - at), at)
                at += len(data)
                if not data:
                    break
        if size != job.block.size_bytes and not self._is_left:
            raise Damaged("a block of the wrong size")

    def _keep_output(self, job: _Job, output: bytes) -> None:
        """Keep output until it is taken; waits where too much of it is waiting.

        The block that is taken now goes on however much of the others is waiting.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._is_left
                    or (job is self._jobs[0] and job.ready_bytes < HEAD_BYTES)
                    or sum(each.ready_bytes for each in self._jobs) < self._waiting_bytes
                )
            )
            job.ready.append(output)
            job.ready_bytes += len(output)
            if job is self._jobs[0]:
                self._changed.notify_all()
