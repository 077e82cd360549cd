"""An RPM's payload as a stream: decompressed piece by piece, then split into cpio members.

Nothing is held in memory but the piece at hand, and nothing is read beyond the member wanted.

Source: rpm's docs/manual/format_payload.md; Documentation/driver-api/early-userspace/
buffer-format.rst ("newc"); rpm's lib/cpio.c for the stripped format, magic 07070X.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from cas.catalogue.rpm import Header
from cas.errors import PackageError

_INPUT = 256 << 10
_OUTPUT = 256 << 10
_MEMORY_LIMIT = 192 << 20
"""For the xz dictionary; ``xz -9`` needs 65 MiB."""
_ZSTD_WINDOW_LIMIT = 128 << 20
_NAME_LIMIT = 4096 + 1
_MEMBERS_LIMIT = 1 << 20

_NEWC = re.compile(rb"07070[12](?:[0-9A-Fa-f]{8}){13}")
_STRIPPED = re.compile(rb"07070X[0-9A-Fa-f]{8}")
_TRAILER = "TRAILER!!!"


class Damaged(ValueError):
    """What is wrong with the payload."""


@dataclass(frozen=True, slots=True)
class Member:
    """The head of one file in the payload."""

    path: str
    """As the header spells it: absolute."""
    size_bytes: int


class Payload:
    """The members of a cpio stream, in order; each can be read until the next is asked for."""

    def __init__(self, pieces: Iterator[bytes], header: Header) -> None:
        self._pieces = pieces
        self._files = header.files
        self._piece = memoryview(b"")
        self._position = 0
        self._left = 0

    def __iter__(self) -> Iterator[Member]:
        for _ in range(_MEMBERS_LIMIT):
            self._skip(self._left)
            self._align()
            member = self._member()
            if member.path == _TRAILER:
                return
            self._left = member.size_bytes
            yield member
        raise Damaged(f"more than {_MEMBERS_LIMIT} members")

    def content(self) -> Iterator[memoryview]:
        """What is left of the current member, in pieces that stay valid."""
        while self._left:
            piece = self._take(self._left)
            self._left -= len(piece)
            yield piece

    def _member(self) -> Member:
        magic = self._exactly(6)
        if magic == b"07070X":
            return self._stripped(magic + self._exactly(8))
        head = magic + self._exactly(104)
        if not _NEWC.fullmatch(head):
            raise Damaged(f"no cpio header at byte {self._position - len(head)}")
        size, name_size = int(head[54:62], 16), int(head[94:102], 16)
        if not 0 < name_size <= _NAME_LIMIT:
            raise Damaged(f"a file name of {name_size} bytes at byte {self._position}")
        name = self._exactly(name_size).rstrip(b"\0").decode("utf-8", "backslashreplace")
        self._align()
        return Member(name if name == _TRAILER else "/" + name.removeprefix(".").lstrip("/"), size)

    def _stripped(self, head: bytes) -> Member:
        index = int(head[6:], 16) if _STRIPPED.fullmatch(head) else len(self._files)
        if index >= len(self._files):
            raise Damaged(f"no file of the header is meant at byte {self._position - len(head)}")
        self._align()
        file = self._files[index]
        return Member(file.path, file.payload_bytes)

    def _align(self) -> None:
        self._skip(-self._position % 4)

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            parts.append(self._take(size))
            size -= len(parts[-1])
        return b"".join(parts)

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self._take(size))

    def _take(self, most: int) -> memoryview:
        """At least one byte, at most that many."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                raise Damaged(f"it ends at byte {self._position}, inside a file")
            self._piece = memoryview(piece)
        taken = self._piece[:most]
        self._piece = self._piece[most:]
        self._position += len(taken)
        return taken


@contextmanager
def opened(
    path: Path, header: Header, advance: Callable[[int], None] = lambda _: None
) -> Iterator[Payload]:
    """The payload of a package, for the length of a ``with`` block.

    :param advance: told how many compressed bytes have been read
    :raises PackageError: at any point where the payload turns out to be damaged or unreadable
    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(header.payload_offset)
            yield Payload(decompressed(_Counted(file, advance)), header)
    except Damaged as error:
        raise PackageError(f"{path}: the payload is damaged: {error}") from error


class _Source(Protocol):
    """What the decompressors read from."""

    def read(self, size: int = -1, /) -> bytes: ...


class _Counted:
    """A file that tells how much of it has been read."""

    def __init__(self, file: BinaryIO | _Source, advance: Callable[[int], None]) -> None:
        self._file = file
        self._advance = advance

    def read(self, size: int = -1, /) -> bytes:
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


class _Replayed:
    """A source whose beginning was read already."""

    def __init__(self, head: bytes, source: _Source) -> None:
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


def decompressed(source: _Source) -> Iterator[bytes]:
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


def _decoded(source: _Source, decoder: Callable[[], _Decoder]) -> Iterator[bytes]:
    """Streams one after the other, as the programs of these formats accept them."""
    data = source.read(_INPUT)
    while data:
        current = decoder()
        yield from _one_stream(current, data, source)
        data = current.unused_data.lstrip(b"\0") or source.read(_INPUT)


def _one_stream(decoder: _Decoder, data: bytes, source: _Source) -> Iterator[bytes]:
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


def _zstd(source: _Source) -> Iterator[bytes]:
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


def _plain(source: _Source) -> Iterator[bytes]:
    while piece := source.read(_OUTPUT):
        yield piece
