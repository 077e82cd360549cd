"""How a file is packed on its way, and what that does to it.

Every chunk is a frame of its own, compressed or with the bytes as they are: both in one stream.
Compression is the quickest there is; what a higher level saves beyond it (a tenth, of a vmlinux)
costs several times as much. Sources: RFC 8878, 3.1.1 (zstd); RFC 1952, 2.2 (gzip).
"""

from __future__ import annotations

import os
import time
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

LEVEL = 1
SAMPLES = 12
SAMPLE_BYTES = 128 << 10
THREADS = 2
INCOMPRESSIBLE = 0.95


@dataclass(frozen=True, slots=True)
class Packing:
    """What compression does to a file."""

    ratio: float
    """Of the compressed size to the plain one."""
    bytes_s: float
    """Plain, of one thread."""


def measure(path: Path, codec: str) -> Packing | None:
    """What a codec does to samples from all over a file; ``None`` where it is not worth it.

    :param codec: ``zstd``, ``gzip`` or ``cat``
    :raises OSError: the file cannot be read
    """
    if codec == "cat":
        return None
    samples = _samples(path)
    begin = time.perf_counter()
    packed = sum(len(pack(codec, sample)) for sample in samples)
    seconds = max(time.perf_counter() - begin, 1e-6)
    size = sum(map(len, samples))
    return Packing(packed / size, size / seconds) if packed < INCOMPRESSIBLE * size else None


def pack(codec: str, data: bytes, *, is_packed: bool = True) -> bytes:
    """A frame with that data."""
    if codec == "zstd":
        return _zstd(data) if is_packed else _stored(data)
    if codec == "gzip":
        packer = zlib.compressobj(LEVEL if is_packed else 0, wbits=31)
        return packer.compress(data) + packer.flush()
    return data


def _samples(path: Path) -> tuple[bytes, ...]:
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        step = max(SAMPLE_BYTES, size // SAMPLES)
        read = partial(os.pread, file.fileno(), SAMPLE_BYTES)
        return tuple(read(start) for start in range(0, size, step))


def _zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level=LEVEL).compress(data)


def _stored(data: bytes) -> bytes:
    """A zstd frame of a single segment, with blocks of at most 128 KiB, none of them compressed."""
    frame = [b"\x28\xb5\x2f\xfd\xa0", len(data).to_bytes(4, "little")]
    starts = range(0, len(data), 128 << 10) or (0,)
    for start in starts:
        block = data[start : start + (128 << 10)]
        is_last = start == starts[-1]
        frame += [(len(block) << 3 | is_last).to_bytes(3, "little"), block]
    return b"".join(frame)
