"""A wrapping that is being read: what that may cost, and what becomes of its faults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from cas.frozen import dataclass
from cas.streams.flow import Damaged, Flow, Piece
from cas.units import human_size

CONTENT_LIMIT = 16 << 30
"""Bytes that a payload may unpack to; Debian's largest kernel has 6 GB of debug information."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be asked for by a header that lies."""

    lzma_bytes: int
    """Memory of a decoder of xz or lzma."""
    zstd_window_log: int
    """Logarithm, to the base 2, of the bytes that a decoder of zstd looks back."""
    zstd_piece_bytes: int
    """What is unpacked at a time; so much of a damaged frame is lost before the damage."""
    name_bytes: int
    """Bytes of a file's name in an archive."""
    header_bytes: int
    """Bytes of an extended header of tar."""
    headers: int
    """Headers in one archive."""
    has_sparse_files: bool
    """A tar archive may have sparse files."""


UPLOAD = Limits(
    lzma_bytes=640 << 20,  # a dictionary of 512 MiB and the rest
    zstd_window_log=29,  # zstd -d itself stops at 128 MiB unless told otherwise
    zstd_piece_bytes=256 << 10,  # with 1 MiB an upload takes a tenth longer
    name_bytes=64 << 10,
    header_bytes=1 << 20,  # honest ones hold a name and some times, or the map of a sparse file
    headers=1 << 24,
    has_sparse_files=True,
)
PACKAGE = Limits(
    lzma_bytes=192 << 20,  # xz -9 needs 65 MiB
    zstd_window_log=27,
    zstd_piece_bytes=1 << 20,  # with 256 KiB a vmlinux takes a seventh longer
    name_bytes=4096 + 1,
    header_bytes=64 << 10,
    headers=1 << 20,
    has_sparse_files=False,  # dpkg-deb makes none
)


class Layer(Protocol):
    """What readers of wrappings tell of them."""

    @property
    def limits(self) -> Limits:
        """What may be asked for."""

    def expect(self, size_bytes: int) -> None:
        """Be told that so many bytes are said to follow.

        :raises Damaged: they cannot be meant
        """

    def spent(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The same pieces of a file's contents, paid for."""

    def damaged(self, damage: Damaged) -> None:
        """Take note that a file's contents are not whole.

        :raises Damaged: nothing else of the wrapping is of use either
        """

    def mismatch(self) -> None:
        """Take note that all bytes are there, and not all are right."""

    def trailing(self, flow: Flow) -> None:
        """Pass over what stands behind the end of the packed data."""


class Payload:
    """A package's: whole, or of no use. Its first fault ends the reading."""

    limits = PACKAGE

    def __init__(self, content_bytes: int = CONTENT_LIMIT) -> None:
        """:param content_bytes: of all files together"""
        self._left_bytes = content_bytes

    def expect(self, size_bytes: int) -> None:
        """Let no more come than there may be, before any of it is unpacked."""
        if size_bytes > self._left_bytes:
            raise Damaged(f"more content than is listed, or than {human_size(CONTENT_LIMIT)}")
        self._left_bytes -= size_bytes

    def spent(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """They are paid for: none comes that `expect` was not told of."""
        return iter(pieces)

    def damaged(self, damage: Damaged) -> None:
        """It is of no use."""
        raise damage

    def mismatch(self) -> None:
        """It is of no use."""
        raise Damaged("its checksum does not match")

    def trailing(self, flow: Flow) -> None:
        """Padding may stand there."""
        if any(bytes(piece).strip(b"\0") for piece in flow.rest()):
            raise Damaged("something stands behind its end")
