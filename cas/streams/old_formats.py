"""Compressed formats that no library of Python's reads as a stream: lzop, compress and old lz4."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from cas.streams.flow import BLOCK_BYTES, CutOff, Damaged, Flow
from cas.streams.layer import Layer

LZOP_MAGIC = b"\x89LZO\0\r\n\x1a\n"
LZOP_BLOCK_BYTES = 64 << 20
"""The largest block that lzop itself accepts."""
OLD_LZ4_BYTES = 8 << 20
OLD_LZ4_MAGIC = b"\x02\x21\x4c\x18"
CLEAR = 256


def unlzop(flow: Flow, layer: Layer) -> Iterator[bytes]:
    """All members of an lzop file.

    Source: lzop 1.04, src/conf.h and src/lzop.c; numbers are big-endian.
    """
    while True:
        flow.exactly(len(LZOP_MAGIC))
        is_recent = _big_endian(flow, 2) >= 0x0940
        flow.exactly(2)
        needed = _big_endian(flow, 2) if is_recent else 0
        method = flow.exactly(2 if is_recent else 1)[0]
        flags = _big_endian(flow)
        if needed > 0x1040 or method not in (1, 2, 3) or flags & 0x800:
            raise Damaged(predicate="is of a kind that lzop 1.04 does not write")
        flow.exactly(12 if is_recent else 8)
        flow.skip(flow.exactly(1)[0])
        flow.exactly(4)
        if flags & 0x40:
            flow.skip(_big_endian(flow) + 4)
        while size := _big_endian(flow):
            yield from _in_blocks(_lzop_block(flow, layer, flags, size))
        if flow.peek(len(LZOP_MAGIC)) != LZOP_MAGIC:
            return layer.trailing(flow)


def _big_endian(flow: Flow, count: int = 4) -> int:
    return int.from_bytes(flow.exactly(count), "big")


def _lzop_block(flow: Flow, layer: Layer, flags: int, size: int) -> bytes:
    packed_size = _big_endian(flow)
    if size > LZOP_BLOCK_BYTES or not 0 < packed_size <= size:
        raise Damaged("a block of impossible size")
    sums = [(check, _big_endian(flow)) for bit, check in _LZOP_SUMS if flags & bit]
    if packed_size < size:
        flow.exactly(4 * bool(flags & 2) + 4 * bool(flags & 0x200))
    packed = flow.exactly(packed_size)
    block = packed
    if packed_size < size:
        from lzallright import LZOCompressor, LZOError

        try:
            block = bytes(LZOCompressor.decompress(packed, size))
        except (LZOError, ValueError, RuntimeError) as error:
            raise Damaged("a block cannot be unpacked") from error
        if len(block) != size:
            raise Damaged("a block of the wrong size")
    if any(check(block) != value for check, value in sums):
        layer.mismatch()
    return block


_LZOP_SUMS = ((1, zlib.adler32), (0x100, zlib.crc32))


def unlz4_old(flow: Flow, _: Layer) -> Iterator[bytes]:
    """The lz4 format of before 2013, as ``lz4 -l`` and the kernel write it."""
    import lz4.block

    flow.exactly(4)
    while head := flow.read(4):
        if head == OLD_LZ4_MAGIC:
            continue
        size = int.from_bytes(head, "little")
        if len(head) < 4 or not 0 < size <= OLD_LZ4_BYTES + OLD_LZ4_BYTES // 255 + 16:
            raise CutOff if len(head) < 4 else Damaged("an impossible block")
        try:
            block = lz4.block.decompress(flow.exactly(size), uncompressed_size=OLD_LZ4_BYTES)
        except (lz4.block.LZ4BlockError, ValueError) as error:
            raise Damaged("a block cannot be unpacked") from error
        yield from _in_blocks(block)


def uncompress(flow: Flow, _: Layer) -> Iterator[bytes]:
    """What compress(1) packed: LZW with codes of 9 to 16 bits, no checksum and no length.

    Source: ncompress 4.2.4, compress42.c. Codes come in groups of eight; a group is padded when
    the width of the codes changes.
    """
    flags = flow.exactly(3)[2]
    codes = _Codes(flow, flags & 0x1F)
    first_free = CLEAR + bool(flags & 0x80)
    table = [bytes((number,)) for number in range(256)] + [b""] * (first_free - CLEAR)
    out, have, before = [], 0, b""
    for code in codes:
        if code == CLEAR and flags & 0x80:
            del table[first_free:]
            codes.reset()
            before = b""
            continue
        if code < len(table):
            entry = table[code]
        elif code == len(table) and before:
            entry = before + before[:1]
        else:
            raise Damaged("an impossible code")
        if before and len(table) < codes.most:
            table.append(before + entry[:1])
            if len(table) > codes.limit:
                codes.widen()
        before = entry
        out.append(entry)
        have += len(entry)
        if have >= BLOCK_BYTES:
            yield b"".join(out)
            out, have = [], 0
    if out:
        yield b"".join(out)


class _Codes:
    """The codes of an LZW stream, as wide as its reader knows them to be."""

    def __init__(self, flow: Flow, width_limit: int) -> None:
        if not 9 <= width_limit <= 16:
            raise Damaged("impossible codes")
        self._flow = flow
        self._width_limit = width_limit
        self.most = 1 << width_limit
        """Codes that there can be."""
        self.reset()

    def reset(self) -> None:
        """Go back to the narrowest codes."""
        self._set_width(9)

    def widen(self) -> None:
        """The next code is a bit wider."""
        self._set_width(min(self._width + 1, self._width_limit))

    def _set_width(self, width: int) -> None:
        self._width = width
        self._pending: list[int] = []
        self.limit = (1 << width) - 1 if width < self._width_limit else 1 << 17
        """Largest table that codes of this width are used with."""

    def __iter__(self) -> Iterator[int]:
        while True:
            if not self._pending:  # the next eight, last first; fewer at the end of the data
                width = self._width
                data = self._flow.read(width)
                bits, mask = int.from_bytes(data, "little"), (1 << width) - 1
                numbers = range(len(data) * 8 // width - 1, -1, -1)
                self._pending = [bits >> number * width & mask for number in numbers]
            if not self._pending:
                return
            yield self._pending.pop()


def _in_blocks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), BLOCK_BYTES):
        yield data[start : start + BLOCK_BYTES]
