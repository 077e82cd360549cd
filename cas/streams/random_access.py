"""A packed file read at any place, where its packer cut it into pieces that stand alone.

What is asked for is unpacked then, a piece at a time. Sources: the .xz file format 1.2.0 (blocks,
and the index behind them); zstd's contrib/seekable_format/zstd_seekable_compression_format.md
(frames, and a table of them in a last, skippable one); the SAM format specification, 4.1 (BGZF:
gzip members of at most 64 KiB, each with its length in an extra field).
"""

from __future__ import annotations

import lzma
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import BinaryIO, Protocol

from cas.frozen import dataclass
from cas.streams import xz_blocks
from cas.streams.flow import Damaged
from cas.streams.wrapping import PEEK_BYTES, wrapping

PIECE_LIMIT = 64 << 20
"""Bytes that a piece may unpack to: those of ``xz -T0 -9`` have 192 MiB, no quick answer."""
PIECES_LIMIT = 1 << 18
"""BGZF of 16 GiB has so many; they take 50 MiB of memory."""
DECODER_BYTES = 96 << 20
"""Memory of xz's decoder: ``xz -9`` needs 65 MiB."""

_SKIPPABLE = 0x184D2A5E
_SEEKABLE = 0x8F92EAB1
_SEEK_FOOTER = struct.Struct("<IBI")
_GZIP_EXTRA = 4


class Readable(Protocol):
    """Bytes that can be read at any place."""

    @property
    def size(self) -> int:
        """How many there are."""

    def read(self, offset: int, size: int) -> bytes:
        """Those there; fewer at the end."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a packed file that can be unpacked without the others."""

    offset: int
    """Of it in the packed file."""
    packed_bytes: int
    size_bytes: int
    """Unpacked."""


class Stretch:
    """A range of something readable, e.g. a file that an archive stores as it is."""

    def __init__(self, outer: Readable, begin: int, size: int) -> None:
        """Read `size` bytes from `begin`."""
        self._outer, self._begin, self.size = outer, begin, size

    def read(self, offset: int, size: int) -> bytes:
        """See `Readable.read`."""
        return self._outer.read(self._begin + offset, max(0, min(size, self.size - offset)))


class Unpacked:
    """The content of a packed file; pieces that were unpacked once are kept in a scratch file."""

    def __init__(
        self,
        packed: Readable,
        pieces: Sequence[Piece],
        unpack: Callable[[bytes, Piece], bytes],
        scratch: BinaryIO,
        limit_bytes: int,
    ) -> None:
        """Prepare; nothing is unpacked yet.

        :param pieces: in their order, without gaps in what they unpack to
        :param unpack: the content of one of them, out of its packed bytes
        :param scratch: an empty file, for us alone; it becomes a sparse one
        :param limit_bytes: most that is unpacked
        """
        self._packed, self._pieces, self._unpack, self._scratch = packed, pieces, unpack, scratch
        self._left_bytes = limit_bytes
        self._ends = list(accumulate(piece.size_bytes for piece in pieces))
        self._at_hand = bytearray(len(pieces))
        self.size = self._ends[-1] if pieces else 0
        self.unpacked_bytes = 0
        """What was unpacked so far."""

    def read(self, offset: int, size: int) -> bytes:
        """See `Readable.read`.

        :raises Damaged: a piece is not what the table says, or the limit is reached
        """
        end = min(offset + size, self.size)
        if offset < 0 or offset >= end:
            return b""
        number = bisect_right(self._ends, offset)
        while (
            number < len(self._pieces)
            and self._ends[number] - self._pieces[number].size_bytes < end
        ):
            if not self._at_hand[number]:
                self._fetch_piece(number)
            number += 1
        self._scratch.seek(offset)
        return self._scratch.read(end - offset)

    def _fetch_piece(self, number: int) -> None:
        piece = self._pieces[number]
        self._left_bytes -= piece.size_bytes
        if self._left_bytes < 0:
            raise Damaged(predicate="is not unpacked any further here and there")
        packed = self._packed.read(piece.offset, piece.packed_bytes)
        content = self._unpack(packed, piece)
        if len(content) != piece.size_bytes:
            raise Damaged("a piece of the wrong size")
        self._scratch.seek(self._ends[number] - piece.size_bytes)
        self._scratch.write(content)
        self._at_hand[number] = 1
        self.unpacked_bytes += len(content)


def unpacked_at_random(packed: Readable, scratch: BinaryIO, limit_bytes: int) -> Unpacked | None:
    """The content of a compressed file that is in pieces.

    :param scratch: an empty file for what is unpacked
    :param limit_bytes: most of it
    :return: ``None``: it is not compressed, or can only be unpacked from its beginning
    """
    tables = {"xz": _xz_pieces, "zstd": _zstd_pieces, "gzip": _bgzf_pieces}
    find = tables.get(wrapping(packed.read(0, PEEK_BYTES)) or "")
    found = find(packed) if find else None
    if found is None:
        return None
    pieces, unpack = found
    if not pieces or len(pieces) > PIECES_LIMIT or any(p.size_bytes > PIECE_LIMIT for p in pieces):
        return None
    return Unpacked(packed, pieces, unpack, scratch, limit_bytes)


_Found = tuple[list[Piece], Callable[[bytes, Piece], bytes]]


def _xz_pieces(packed: Readable) -> _Found | None:
    blocks = xz_blocks.layout_of(packed.read, 0, packed.size)
    headers = {block.offset: block.header for block in blocks}

    def unxz_block(data: bytes, piece: Piece) -> bytes:
        try:
            decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, DECODER_BYTES)
            return decoder.decompress(headers[piece.offset] + data, piece.size_bytes + 1)
        except (lzma.LZMAError, EOFError, MemoryError) as error:
            raise Damaged(" ".join(str(error).split())) from error

    return [
        Piece(block.offset, block.packed_bytes, block.size_bytes) for block in blocks
    ], unxz_block


def _zstd_pieces(packed: Readable) -> _Found | None:
    footer = packed.read(packed.size - _SEEK_FOOTER.size, _SEEK_FOOTER.size)
    if len(footer) < _SEEK_FOOTER.size:
        return None
    count, descriptor, magic = _SEEK_FOOTER.unpack(footer)
    entry = struct.Struct("<III" if descriptor & 0x80 else "<II")
    table_bytes = count * entry.size + _SEEK_FOOTER.size
    begin = packed.size - table_bytes - 8
    if magic != _SEEKABLE or count > PIECES_LIMIT or begin < 0:
        return None
    if packed.read(begin, 8) != struct.pack("<II", _SKIPPABLE, table_bytes):
        return None
    offset, pieces = 0, list[Piece]()
    for packed_bytes, size_bytes, *_ in entry.iter_unpack(
        packed.read(begin + 8, count * entry.size)
    ):
        if size_bytes:
            pieces.append(Piece(offset, packed_bytes, size_bytes))
        offset += packed_bytes

    def unzstd_frame(data: bytes, piece: Piece) -> bytes:
        from zstandard import ZstdDecompressor, ZstdError

        decoder = ZstdDecompressor(max_window_size=PIECE_LIMIT)
        try:
            return decoder.stream_reader(data).read(piece.size_bytes + 1)
        except (ZstdError, MemoryError) as error:
            raise Damaged(str(error)) from error

    return (pieces, unzstd_frame) if offset == begin else None


def _bgzf_pieces(packed: Readable) -> _Found | None:
    pieces = list[Piece]()
    for offset, packed_bytes in _bgzf_members(packed):
        if packed_bytes == 0 or len(pieces) > PIECES_LIMIT:
            return None
        tail = packed.read(offset + packed_bytes - 4, 4)
        if len(tail) < 4:
            return None
        if size := int.from_bytes(tail, "little"):  # the last one is empty
            pieces.append(Piece(offset, packed_bytes, size))

    def inflate_member(data: bytes, piece: Piece) -> bytes:
        decoder = zlib.decompressobj(31)
        try:
            content = decoder.decompress(data, piece.size_bytes + 1)
            if not decoder.eof:
                content += decoder.decompress(decoder.unconsumed_tail, 1)
        except zlib.error as error:
            raise Damaged(str(error)) from error
        if not decoder.eof:
            raise Damaged("a member of the wrong size")
        return content

    return pieces, inflate_member


def _bgzf_members(packed: Readable) -> Iterator[tuple[int, int]]:
    """Where each member is and how long; a length of 0 for one that does not say."""
    at = 0
    while at < packed.size:
        head = packed.read(at, 18)
        extra = head[12:18]
        is_member = len(head) == 18 and head[:3] == b"\x1f\x8b\x08" and head[3] == _GZIP_EXTRA
        # one extra field of six bytes: BC, its length, the member's length less one
        if not is_member or head[10:12] != b"\6\0" or extra[:4] != b"BC\2\0":
            yield at, 0
            return
        length = int.from_bytes(extra[4:6], "little") + 1
        yield at, length
        at += length
