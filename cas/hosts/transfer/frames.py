"""The frames of a file, made by threads while others are on their way."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cas.hosts.transfer.pace import Pace
from cas.hosts.transfer.packing import THREADS, pack

CHUNK_BYTES = 1 << 20
ZEROS = bytes(CHUNK_BYTES)
AHEAD = 4
"""Chunks that are packed before they are needed."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A chunk of a file as it goes on the wire."""

    is_packed: bool
    """As it was decided; zeros are compressed in any case."""
    plain_bytes: int
    data: bytes


@contextmanager
def frames(path: Path, codec: str, span: tuple[int, int], pace: Pace) -> Iterator[Iterator[Frame]]:
    """The frames of a file.

    :param span: the offset of the first chunk, and the end of the last
    :param pace: says which are compressed
    :raises OSError: the file cannot be read
    """
    with path.open("rb", buffering=0) as file, ThreadPoolExecutor(THREADS, "packing") as pool:
        begun: deque[Future[Frame]] = deque()
        packed = partial(_packed, file.fileno(), codec)

        def in_order() -> Iterator[Frame]:
            for start in range(*span, CHUNK_BYTES):
                part = (start, min(CHUNK_BYTES, span[1] - start))
                begun.append(pool.submit(packed, pace.is_next_packed(), part))
                if len(begun) >= AHEAD:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()

        try:
            yield in_order()
        finally:
            for each in begun:
                each.cancel()


def _packed(descriptor: int, codec: str, is_packed: bool, part: tuple[int, int]) -> Frame:
    start, length = part
    data = os.pread(descriptor, length, start)
    is_empty = data == ZEROS[: len(data)]
    return Frame(is_packed, len(data), pack(codec, data, is_packed=is_packed or is_empty))
