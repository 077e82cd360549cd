"""Deflated data: gzip's and zip's."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any

from cas.streams.flow import BLOCK_BYTES, CutOff, Damaged, Flow, Piece

engine: Any = zlib
with contextlib.suppress(ImportError):  # three times as fast; no wheels for rarer machines
    from isal import isal_zlib as engine


def crc32(data: Piece, value: int = 0) -> int:
    """The checksum of gzip and zip, continued."""
    result: int = engine.crc32(data, value)
    return result


def inflate(flow: Flow) -> Iterator[bytes]:
    """One raw deflate stream; the flow stands behind it afterwards.

    :raises Damaged: it is cut off or no deflate stream
    """
    decoder = engine.decompressobj(-15)
    while not decoder.eof:
        offset = flow.offset
        data = flow.block()
        is_over = not data
        is_full = True
        while (data or is_full) and not decoder.eof:
            try:
                block = decoder.decompress(data, BLOCK_BYTES)
            except (engine.error, zlib.error) as error:
                raise Damaged(str(error), offset=offset) from error
            data, is_full = decoder.unconsumed_tail, len(block) >= BLOCK_BYTES
            if block:
                yield block
        if is_over and not decoder.eof:
            raise CutOff
    flow.put_back(decoder.unused_data)
