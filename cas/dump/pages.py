"""Decompression of the pages of a KDUMP.

Source: makedumpfile 1.7.2, diskdump_mod.h: DUMP_DH_COMPRESSED_*, the same values in the header's
status and in each page descriptor's flags. lzo came with makedumpfile 1.4.4 (7d6c0cb7c5ae), snappy
with makedumpfile 1.5.1 (56344878266d), zstd with makedumpfile 1.7.0 (afd0a6db2a05), which dumps are
read since crash 8.0.0 (7f38d1baf794).
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable
from typing import Any

from cas.dump.memory import Absent

_engine: Any = zlib
with contextlib.suppress(ImportError):  # nearly twice as fast; no wheels for rarer machines
    from isal import isal_zlib as _engine

ZLIB, LZO, SNAPPY, ZSTD = 0x1, 0x2, 0x4, 0x20
NAMES = {ZLIB: "zlib", LZO: "lzo", SNAPPY: "snappy", ZSTD: "zstd"}
MASK = ZLIB | LZO | SNAPPY | ZSTD


def inflate_page(data: bytes, flags: int, page_size: int) -> bytes:
    """The page.

    :param flags: of its descriptor
    :raises Absent: damaged, or not of the size of a page
    """
    method = flags & MASK
    if method not in _METHODS:
        raise Absent(f"page with unknown compression {method:#x}")
    page = _METHODS[method](data, page_size)
    if len(page) != page_size:
        raise Absent(f"page of {len(page)} bytes instead of {page_size}")
    return page


def gets_smaller(page: bytes, status: int) -> bool:
    """Whether a writer of dumps would have compressed a page; if not, it stores it as it is.

    :param status: of the header, which says how the dump is compressed
    """
    return any(status & method and len(_packed(page, method)) < len(page) for method in NAMES)


def compression_name(flags: int, status: int) -> str | None:
    """How the pages are compressed: what their flags say, the header's status if they differ."""
    seen = flags & MASK
    chosen = seen if seen in NAMES else seen & status
    return NAMES.get(chosen)


def _packed(page: bytes, method: int) -> bytes:
    if method == LZO:
        from lzallright import LZOCompressor

        return LZOCompressor().compress(page)
    if method == SNAPPY:
        from cramjam import snappy

        return bytes(snappy.compress_raw(page))
    if method == ZSTD:
        from zstandard import ZstdCompressor

        return ZstdCompressor(level=_FAST).compress(page)
    return zlib.compress(page, _FAST)


def _zlib(data: bytes, page_size: int) -> bytes:
    decoder = _engine.decompressobj()
    try:
        # room for one byte more: only behind the last one the checksum is looked at
        page: bytes = decoder.decompress(data, page_size + 1)
    except (_engine.error, zlib.error) as error:
        raise Absent(f"damaged zlib page: {error}") from error
    if not decoder.eof:
        raise Absent("zlib page without an end")
    return page


def _lzo(data: bytes, page_size: int) -> bytes:
    from lzallright import LZOCompressor, LZOError

    try:
        return LZOCompressor.decompress(data, page_size)
    except LZOError as error:
        raise Absent(f"damaged lzo page: {error}") from error


def _snappy(data: bytes, page_size: int) -> bytes:
    from cramjam import DecompressionError, snappy

    try:
        # The size stands in the data: asked first, so that a lie takes no memory.
        if snappy.decompress_raw_len(data) != page_size:
            raise Absent("snappy page of another size")
        return bytes(snappy.decompress_raw(data))
    except DecompressionError as error:
        raise Absent(f"damaged snappy page: {error}") from error


def _zstd(data: bytes, page_size: int) -> bytes:
    from zstandard import ZstdDecompressor, ZstdError, get_frame_parameters

    try:
        if get_frame_parameters(data).content_size != page_size:
            raise Absent("zstd page of another size")
        return ZstdDecompressor().decompress(data, max_output_size=page_size)
    except ZstdError as error:
        raise Absent(f"damaged zstd page: {error}") from error


_FAST = 1
"""The level of makedumpfile and QEMU, with zlib and with zstd."""
_METHODS: dict[int, Callable[[bytes, int], bytes]] = {
    0: lambda data, _: data,
    ZLIB: _zlib,
    LZO: _lzo,
    SNAPPY: _snappy,
    ZSTD: _zstd,
}
