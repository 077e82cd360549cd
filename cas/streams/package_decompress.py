"""Compressed streams of packages, piece by piece; nothing is held but the piece at hand."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import BinaryIO, Protocol, cast

from cas.streams import xz_blocks

_INPUT = 256 << 10
_OUTPUT = 256 << 10
_MEMORY_LIMIT = 192 << 20
"""For the xz dictionary; ``xz -9`` needs 65 MiB."""
_ZSTD_WINDOW_LIMIT = 128 << 20
_BLOCK_MEMORY_LIMIT = 24 << 20
"""For each of two decoders at a time; xz's usual setting needs 9 MiB."""


class Damaged(ValueError):
    """What is wrong with the stream."""


class Source(Protocol):
    """What the decompressors read from."""

    def read(self, size: int = -1, /) -> bytes:
        """At most that many bytes; none at the end."""


class Counted:
    """A file that tells how much of it has been read."""

    def __init__(self, file: BinaryIO | Source, advance: Callable[[int], None]) -> None:
        self._file = file
        self._advance = advance

    def read(self, size: int = -1, /) -> bytes:
        """At most that many bytes; none at the end."""
        try:
            data = self._file.read(size)
        except OSError as error:
            raise Damaged(f"it cannot be read: {error.strerror}") from error
        self._advance(len(data))
        return data


class Pieces:
    """Pieces of bytes as a source."""

    def __init__(self, pieces: Iterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """At most that many bytes; none at the end."""
        self._piece = self._piece or memoryview(next(self._pieces, b""))
        taken, self._piece = self._piece[:size], self._piece[size:]
        return bytes(taken)


class _Stretch:
    """A source that ends before its file does."""

    def __init__(self, source: Source, size_bytes: int) -> None:
        self._source = source
        self._left = size_bytes

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        return data


class _Replayed:
    """A source whose beginning was read already."""

    def __init__(self, head: bytes, source: Source) -> None:
        self._head = head
        self._source = source

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        return self._source.read(size)


class _Decoder(Protocol):
    """What the decompressor objects of `lzma` and `bz2` have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def decompressed(source: Source) -> Iterator[bytes]:
    """The content of a compressed stream, by its first bytes; an uncompressed one as it is.

    :raises Damaged: while reading
    """
    head = source.read(_INPUT)
    source = _Replayed(head, source)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd(source)
    if head.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return _decoded(source, lambda: lzma.LZMADecompressor(memlimit=_MEMORY_LIMIT))
    if head.startswith(b"BZh"):
        return _decoded(source, bz2.BZ2Decompressor)
    if head.startswith(b"\x1f\x8b"):
        return _decoded(source, _Gzip)
    return _plain(source)


def stretch(
    file: BinaryIO,
    begin: int,
    size_bytes: int,
    advance: Callable[[int], None],
    ahead_bytes: int = 24 << 20,
) -> Generator[bytes, None, None]:
    """The content of a compressed stretch of a file; two threads unpack the blocks of xz data.

    :param begin: byte offset in the file
    :param advance: told how many compressed bytes have been read
    :param ahead_bytes: that the second thread may be ahead of what was asked for
    :raises Damaged: while reading, also where the file cannot be read
    """
    try:
        limits = xz_blocks.Limits(_BLOCK_MEMORY_LIMIT, ahead_bytes)
        blocks = xz_blocks.layout(file.fileno(), begin, begin + size_bytes)
        if blocks and xz_blocks.is_within(file.fileno(), blocks[0], limits):
            yield from xz_blocks.unpack(file.fileno(), blocks, limits, advance)
            return
        file.seek(begin)
    except OSError as error:
        raise Damaged(f"it cannot be read: {error.strerror}") from error
    except (xz_blocks.Damaged, MemoryError, RuntimeError) as error:  # no thread can be started
        raise Damaged(f"{error}") from error
    yield from decompressed(_Stretch(Counted(file, advance), size_bytes))


class _Gzip:
    """zlib's decompressor for gzip, with the interface of the others."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


def _decoded(source: Source, decoder: Callable[[], _Decoder]) -> Iterator[bytes]:
    """Streams one after the other, as the programs of these formats accept them."""
    data = source.read(_INPUT)
    while data:
        current = decoder()
        yield from _one_stream(current, data, source)
        data = current.unused_data.lstrip(b"\0") or source.read(_INPUT)


def _one_stream(decoder: _Decoder, data: bytes, source: Source) -> Iterator[bytes]:
    exhausted = False
    while not decoder.eof:
        try:
            piece = decoder.decompress(data, _OUTPUT)
        except (lzma.LZMAError, zlib.error, OSError, EOFError, MemoryError) as error:
            raise Damaged(f"{error}") from error
        if piece:
            yield piece
        elif exhausted:
            raise Damaged("the compressed data ends early")
        data = b""
        if decoder.needs_input and not decoder.eof:
            data = source.read(_INPUT)
            exhausted = not data


def _zstd(source: Source) -> Iterator[bytes]:
    import zstandard  # 10 ms that most runs do not need

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_LIMIT)
    file = cast("BinaryIO", source)  # of which only read() is used
    stream = decompressor.stream_reader(file, read_size=_INPUT, read_across_frames=True)
    while True:
        try:
            piece = stream.read(_OUTPUT)
        except (zstandard.ZstdError, MemoryError) as error:
            raise Damaged(f"{error}") from error
        if not piece:
            return
        yield piece


def _plain(source: Source) -> Iterator[bytes]:
    while piece := source.read(_OUTPUT):
        yield piece
