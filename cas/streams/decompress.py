"""Compressed data, unpacked block by block; each format's library, bounded.

Every function here takes a flow that stands at the beginning of the format and gives what was
packed in it. Damage is raised as :class:`Damaged` after everything before it was given.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from cas.streams.flow import BLOCK_BYTES, CutOff, Damaged, Flow
from cas.streams.inflate import crc32, inflate
from cas.streams.layer import Layer, Limits

_REFUSALS = (OSError, EOFError, ValueError, RuntimeError, MemoryError, lzma.LZMAError, zlib.error)
"""What libraries raise for data that they do not take."""

Decompress = Callable[[Flow, Layer], Iterator[bytes]]


def gunzip(flow: Flow, layer: Layer) -> Iterator[bytes]:
    """All members of a gzip file."""
    while True:
        flags = flow.exactly(10)[3]
        if flags & 4:
            flow.skip(int.from_bytes(flow.exactly(2), "little"))
        for flag in (8, 16):  # the name, a comment
            if flags & flag:
                flow.skip_past(b"\0")
        if flags & 2:
            flow.skip(2)
        crc = size = 0
        for block in inflate(flow):
            crc, size = crc32(block, crc), size + len(block)
            yield block
        trailer = flow.exactly(8)
        if trailer != crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little"):
            layer.mismatch()
        if flow.peek(3) != b"\x1f\x8b\x08":
            return layer.trailing(flow)


def bunzip2(flow: Flow, layer: Layer) -> Iterator[bytes]:
    """All streams of a bzip2 file."""
    while True:
        yield from decoded(bz2.BZ2Decompressor(), flow)
        if flow.peek(3) != b"BZh":
            return layer.trailing(flow)


def unxz(flow: Flow, layer: Layer) -> Iterator[bytes]:
    """All streams of an xz file, with zeros between them."""
    while True:
        yield from decoded(lzma.LZMADecompressor(lzma.FORMAT_XZ, layer.limits.lzma_bytes), flow)
        _skip_padding(flow)
        if flow.peek(6) != b"\xfd7zXZ\0":
            return layer.trailing(flow)


def _skip_padding(flow: Flow) -> None:
    """Pass over zeros in fours; behind an upload may be gigabytes of them."""
    zeros, rest = 0, b""
    while not rest and (block := flow.block()):
        rest = block.lstrip(b"\0")
        zeros += len(block) - len(rest)
    flow.put_back(bytes(zeros % 4) + rest)


def unlzma(flow: Flow, layer: Layer) -> Iterator[bytes]:
    """The one stream of the format before xz."""
    yield from decoded(lzma.LZMADecompressor(lzma.FORMAT_ALONE, layer.limits.lzma_bytes), flow)
    layer.trailing(flow)


def unzstd(flow: Flow, layer: Layer) -> Iterator[bytes]:
    """All frames of a zstd file."""
    while True:
        yield from unzstd_frame(flow, layer.limits)
        _skip_skippable(flow)
        if flow.peek(4) != b"\x28\xb5\x2f\xfd":
            return layer.trailing(flow)


def unzstd_frame(flow: Flow, limits: Limits) -> Iterator[bytes]:
    """One frame.

    :raises Damaged: it is cut off, or the library refuses it
    """
    from zstandard import ZstdDecompressor, ZstdError

    frame = _ZstdFrame(flow)
    decoder = ZstdDecompressor(max_window_size=1 << limits.zstd_window_log)
    reader = decoder.stream_reader(cast("BinaryIO", frame))  # of which only read() is used
    while True:
        begun = flow.offset
        try:
            block = reader.read(limits.zstd_piece_bytes)
        except (ZstdError, MemoryError) as error:
            raise _damage(error, begun) from error
        if not block:
            break
        yield block
    if not frame.is_whole:
        raise CutOff


class _ZstdFrame:
    """A source of one frame's bytes: the library tells neither that they end too early nor where.

    The blocks of a frame are counted as they pass. Source: RFC 8878, 3.1.1.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._head = b""
        """What has come of the head that is due: of the frame, then of each block."""
        self._head_bytes = 5  # the magic and a descriptor
        self._pass_bytes = 0
        """Bytes before the next head, or before the frame's end."""
        self._is_last = self._has_checksum = False
        self.is_whole = False
        """Its last byte was read."""

    def read(self, _size: int = -1) -> bytes:
        """Some bytes of the frame; none at its end."""
        block = b"" if self.is_whole else self._flow.block()
        at = 0
        while at < len(block) and not self.is_whole:
            if self._pass_bytes:
                passed = min(self._pass_bytes, len(block) - at)
                self._pass_bytes -= passed
            else:
                passed = min(self._head_bytes - len(self._head), len(block) - at)
                self._head += block[at : at + passed]
                if len(self._head) == self._head_bytes:
                    self._use_head()
            at += passed
            self.is_whole = self._is_last and not self._pass_bytes
        if at < len(block):
            self._flow.put_back(block[at:])
        return block[:at]

    def _use_head(self) -> None:
        if self._head_bytes == 5:
            descriptor = self._head[4]
            has_window = not descriptor & 0x20
            content_size = (not has_window, 2, 4, 8)[descriptor >> 6]
            self._pass_bytes = has_window + (0, 1, 2, 4)[descriptor & 3] + content_size
            self._has_checksum = bool(descriptor & 4)
        else:
            number = int.from_bytes(self._head, "little")
            self._is_last, is_repeated = bool(number & 1), number >> 1 & 3 == 1
            self._pass_bytes = 1 if is_repeated else number >> 3
            self._pass_bytes += 4 * (self._is_last and self._has_checksum)
        self._head, self._head_bytes = b"", 3


def unlz4(flow: Flow, layer: Layer) -> Iterator[bytes]:
    """All frames of an lz4 file."""
    from lz4.frame import LZ4FrameDecompressor

    while True:
        yield from decoded(LZ4FrameDecompressor(), flow)
        _skip_skippable(flow)
        if flow.peek(4) != b"\x04\x22\x4d\x18":
            return layer.trailing(flow)


def skippable(flow: Flow, layer: Layer) -> Iterator[bytes]:
    """What follows frames of user data, which zstd and lz4 files may begin with."""
    _skip_skippable(flow)
    while block := flow.block():
        yield block


def _skip_skippable(flow: Flow) -> None:
    while (head := flow.peek(8))[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5:
        flow.exactly(8)
        flow.skip(int.from_bytes(head[4:8], "little"))


def decoded(decoder: Any, flow: Flow) -> Iterator[bytes]:
    """One stream through a decompressor object, as Python's bz2 and lzma have it.

    :raises Damaged: it is cut off, or the library refuses it
    """
    data = b""
    while not decoder.eof:
        begun = flow.offset
        if decoder.needs_input:
            data = flow.block()
            if not data:
                raise CutOff
        try:
            block = decoder.decompress(data, BLOCK_BYTES)
        except _REFUSALS as error:
            raise _damage(error, begun) from error
        data = b""
        if block:
            yield block
    flow.put_back(decoder.unused_data or b"")


def _damage(error: Exception, offset: int) -> Damaged:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return Damaged(reason, offset=offset)
