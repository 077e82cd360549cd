"""An RPM's payload as a stream: decompressed piece by piece, then split into cpio members.

Nothing is held in memory but the piece at hand, and nothing is read beyond the member wanted.

Source: rpm's docs/manual/format_payload.md; Documentation/driver-api/early-userspace/
buffer-format.rst ("newc"); rpm's lib/cpio.c for the stripped format, magic 07070X.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from cas.catalogue.packages.archive import Listed, Listing
from cas.catalogue.packages.rpm_files import Header, build_ids, read_header
from cas.errors import PackageError
from cas.streams.member import CONTENT_LIMIT, Member
from cas.streams.package_decompress import Damaged, stretch
from cas.units import human_size

_NAME_LIMIT = 4096 + 1
_MEMBERS_LIMIT = 1 << 20

_NEWC = re.compile(rb"07070[12](?:[0-9A-Fa-f]{8}){13}")
_STRIPPED = re.compile(rb"07070X[0-9A-Fa-f]{8}")
_TRAILER = "TRAILER!!!"


class Payload:
    """The members of a cpio stream, in order; each can be read until the next is asked for."""

    def __init__(
        self, pieces: Iterator[bytes], header: Header, limit_bytes: int = CONTENT_LIMIT
    ) -> None:
        """:param limit_bytes: of the content of all members together"""
        self._pieces = pieces
        self._budget = limit_bytes
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
            self._spend(member.size_bytes)
            self._left = member.size_bytes
            yield member
        raise Damaged(f"more than {_MEMBERS_LIMIT} members")

    def content(self) -> Iterator[memoryview]:
        """What is left of the current member, in pieces that stay valid."""
        while self._left:
            piece = self._take(self._left)
            self._left -= len(piece)
            yield piece

    def _spend(self, size_bytes: int) -> None:
        if size_bytes > self._budget:
            raise Damaged(
                f"more content than the header lists, or than {human_size(CONTENT_LIMIT)}, "
                f"at byte {self._position}"
            )
        self._budget -= size_bytes

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
            begin, size = header.payload_offset, os.fstat(file.fileno()).st_size
            with closing(stretch(file, begin, size - begin, advance)) as pieces:
                yield Payload(pieces, header, _limit_bytes(header))
    except Damaged as error:
        raise PackageError(f"{path}: the payload is damaged: {error}") from error


def listing(path: Path) -> Listing:
    """What an RPM lists.

    :raises PackageError: the content is not an RPM, or is damaged
    :raises OSError: the file cannot be read
    """
    header = read_header(path)
    by_target = build_ids(header.files)
    files = {
        file.path: Listed(file.digest, by_target.get(file.path), file.size_bytes)
        for file in header.files
        if file.is_regular
    }
    size = path.stat().st_size - header.payload_offset
    return Listing(files, size, partial(opened, path, header))


def _limit_bytes(header: Header) -> int:
    """Of the content: what the header lists, unless it lists no sizes, or such as cannot be."""
    listed = header.content_bytes
    return CONTENT_LIMIT if listed is None else min(listed, CONTENT_LIMIT)
