"""Compression and archive formats, told by their first bytes and opened as streams."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeAlias

from cas.errors import UnpackError, UnsupportedFormat

Stream: TypeAlias = "io.BufferedReader[Any]"

PEEK_BYTES = 512
MAX_LAYERS = 16
BUFFER_BYTES = 1 << 20

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x1f\x8b", "gzip"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (257, b"ustar", "tar"),
    (0, b"\x04\x22\x4d\x18", "lz4"),
    (0, b"\x89LZO\0\r\n\x1a\n", "lzop"),
    (0, b"\x1f\x9d", "compress (.Z)"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"070701", "cpio"),
    (0, b"070707", "cpio"),
)

DAMAGED = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error)
"""What the decompressors raise on a damaged stream, beside OSError and ZstdError."""


def wrapping(head: bytes) -> str | None:
    """Name of the wrapping that a file's first 512 bytes announce; ``None`` for a plain file."""
    for offset, magic, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    return None


def unwrap(stream: Stream, name: str) -> tuple[Stream, list[str]]:
    """The innermost stream: a plain file's or a tar's bytes.

    :param name: of the upload, for messages
    :return: the stream and the names of the layers taken off, outermost first
    :raises UnsupportedFormat: a wrapping that nothing here opens
    :raises UnpackError: more layers than anybody makes by accident
    """
    layers: list[str] = []
    while (kind := wrapping(peek(stream))) and kind != "tar":
        if kind not in _OPENERS:
            raise UnsupportedFormat(
                f"{name} is a {kind} file, which CAS does not unpack yet",
                hint="unpack it and give the vmcore inside",
            )
        layers.append(kind)
        if len(layers) > MAX_LAYERS:
            raise UnpackError(f"{name} is compressed more than {MAX_LAYERS} times over")
        stream = io.BufferedReader(_OPENERS[kind](stream), BUFFER_BYTES)
    return stream, layers


def peek(stream: Stream) -> bytes:
    """The next 512 bytes (fewer at the end), left in the stream."""
    return stream.peek(PEEK_BYTES)[:PEEK_BYTES]


@contextmanager
def sound(name: str) -> Iterator[None]:
    """Reading a wrapping: damage becomes a sentence.

    :raises UnpackError: the stream is cut short or corrupt
    """
    from backports.zstd import ZstdError

    try:
        yield
    except (*DAMAGED, ZstdError) as error:
        raise UnpackError(f"{name} is damaged and cannot be unpacked: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise UnpackError(f"{name} is damaged and cannot be unpacked: {error}") from error


def _open_zstd(stream: IO[bytes]) -> Any:
    from backports.zstd import ZstdFile

    return ZstdFile(stream)


_OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {
    "gzip": lambda stream: gzip.GzipFile(fileobj=stream, mode="rb"),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zstd": _open_zstd,
}
