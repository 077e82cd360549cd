"""The stream in which a file goes to a host: frames, made by threads while others are on their way.

Whether a file is compressed is decided once, by samples from all over it. Each chunk is a frame of
its own, so that threads can make them. Compression is the quickest there is; what a higher level
saves beyond it (a tenth, of a vmlinux) costs several times as much.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from cas.frozen import dataclass

LEVEL = 1
SAMPLES = 12
SAMPLE_BYTES = 128 << 10
WORTH = 0.8
"""Compressed size by the plain one, up to which a file is compressed: beyond it a slow link gains
little, and one that is as fast as the processors loses (bench/README.md)."""
CHUNK_BYTES = 1 << 20
THREADS = 2
AHEAD = 4
"""Chunks that are packed before they are needed."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A chunk of a file as it goes on the wire."""

    plain_bytes: int
    data: bytes


def is_worth_compressing(path: Path) -> bool:
    """Whether samples from all over a file become clearly smaller.

    :raises OSError: the file cannot be read
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        step = max(SAMPLE_BYTES, size // SAMPLES)
        samples = [os.pread(file.fileno(), SAMPLE_BYTES, at) for at in range(0, size, step)]
    packed_bytes = sum(len(pack("zstd", sample)) for sample in samples)
    return packed_bytes <= WORTH * sum(map(len, samples))


@contextmanager
def packed_frames(path: Path, codec: str, span: tuple[int, int]) -> Iterator[Iterator[Frame]]:
    """The frames of a file.

    :param codec: ``zstd``, ``gzip`` or ``cat``, which leaves everything as it is
    :param span: the offset of the first chunk, and the end of the last
    :raises OSError: the file cannot be read
    """
    with path.open("rb", buffering=0) as file, ThreadPoolExecutor(THREADS, "packing") as pool:
        begun: deque[Future[Frame]] = deque()

        def packed(start: int, length: int) -> Frame:
            data = os.pread(file.fileno(), length, start)
            return Frame(len(data), pack(codec, data))

        def in_order() -> Iterator[Frame]:
            for start in range(*span, CHUNK_BYTES):
                begun.append(pool.submit(packed, start, min(CHUNK_BYTES, span[1] - start)))
                if len(begun) >= AHEAD:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()

        try:
            yield in_order()
        finally:
            for each in begun:
                each.cancel()


def pack(codec: str, data: bytes) -> bytes:
    """A frame with that data, as an unpacker of this name understands it."""
    if codec == "zstd":
        import zstandard

        return zstandard.ZstdCompressor(level=LEVEL).compress(data)
    if codec == "gzip":
        packer = zlib.compressobj(LEVEL, wbits=31)
        return packer.compress(data) + packer.flush()
    return data
