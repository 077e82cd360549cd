"""A tar stream's regular files, in order; nothing is held but the piece at hand.

Python's tarfile is not used: in stream mode it still takes the memory that a hostile header asks
for, remembers every member, follows links, and knows no limit of what it passes over. Of the format
only this is needed: where each regular file begins, its path and its size.

Source: tar(5); POSIX.1-2017, pax; GNU tar's manual, "Basic Tar Format"; deb(5) for what dpkg takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cas.streams.byte_stream import ByteStream
from cas.streams.member import CONTENT_LIMIT, Member
from cas.streams.package_decompress import Damaged
from cas.units import human_size

_BLOCK = 512
_NAME_LIMIT = 4096 + 1
_PAX_LIMIT = 64 << 10
_HEADERS_LIMIT = 1 << 20

_REGULAR = b"07\0"
_WITHOUT_CONTENT = b"123456"
"""Hard and symbolic links, devices, directories, FIFOs: whatever size they claim."""


@dataclass(frozen=True, slots=True)
class _Head:
    kind: bytes
    path: str
    size_bytes: int


@dataclass(slots=True)
class _Next:
    """What extended headers say of the member that follows them."""

    path: str | None = None
    size_bytes: int | None = None


class TarMembers:
    """The regular files of a tar stream; each can be read until the next is asked for."""

    def __init__(self, pieces: Iterator[bytes], limit_bytes: int = CONTENT_LIMIT) -> None:
        self._stream = ByteStream(pieces)
        self._limit_bytes = limit_bytes
        self._left = 0

    def __iter__(self) -> Iterator[Member]:
        following = _Next()
        for _ in range(_HEADERS_LIMIT):
            self._stream.skip(self._left)
            self._stream.skip(-self._stream.position % _BLOCK)
            head = self._head()
            if head is None:
                return
            if head.kind in b"LKxg":
                self._left = 0
                self._extend(following, head)
                continue
            yield from self._member(head, following)
            following = _Next()
        raise Damaged(f"more than {_HEADERS_LIMIT} headers")

    def content(self) -> Iterator[memoryview]:
        """What is left of the current member, in pieces that stay valid."""
        while self._left:
            piece = self._stream.part(self._left)
            self._left -= len(piece)
            yield piece

    def _head(self) -> _Head | None:
        """The next header; ``None`` at the end of the archive."""
        at = self._stream.position
        block = self._stream.exactly(_BLOCK)
        if not any(block):
            return None
        checksum = sum(block) - sum(block[148:156]) + 8 * ord(" ")
        if block[148:156].strip(b" \0").lstrip(b"0") != b"%o" % checksum:
            raise Damaged(f"no tar header at byte {at}")
        name = _text(block[:100])
        prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
        return _Head(
            block[156:157], f"{prefix}/{name}" if prefix else name, _number(block[124:136])
        )

    def _extend(self, following: _Next, head: _Head) -> None:
        """Take in an extended header, of GNU's or of POSIX's kind."""
        limit = _NAME_LIMIT if head.kind in b"LK" else _PAX_LIMIT
        if head.size_bytes > limit:
            raise Damaged(f"an extended header of {head.size_bytes} bytes")
        data = self._stream.exactly(head.size_bytes)
        if head.kind == b"L":
            following.path = _text(data)
        elif head.kind == b"x":
            _take_pax(following, data)

    def _member(self, head: _Head, following: _Next) -> Iterator[Member]:
        size = head.size_bytes if following.size_bytes is None else following.size_bytes
        path = head.path if following.path is None else following.path
        if head.kind == b"S":
            raise Damaged(f"a sparse file at byte {self._stream.position}")
        self._left = 0 if head.kind in _WITHOUT_CONTENT else size
        if self._stream.position + self._left > self._limit_bytes:
            raise Damaged(f"it unpacks to more than {human_size(self._limit_bytes)}")
        if head.kind in _REGULAR and not path.endswith("/"):
            yield Member("/" + path.removeprefix(".").lstrip("/"), size)


def _number(digits: bytes) -> int:
    """Octal digits; or, in GNU's way, a binary number behind a byte of 0x80."""
    if digits[0] == 0x80:
        return int.from_bytes(digits[1:], "big")
    try:
        return int(digits.strip(b" \0") or b"0", 8)
    except ValueError:
        raise Damaged(f"a number that is none: {digits!r}") from None


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _take_pax(following: _Next, data: bytes) -> None:
    """``LENGTH KEY=VALUE\\n``, again and again."""
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + 10)
        digits = data[at:blank] if blank > at else b""
        length = int(digits) if digits.isdigit() else 0
        record = data[blank + 1 : at + length]
        if at + length > len(data) or not record.endswith(b"\n") or b"=" not in record:
            raise Damaged("an extended header that is out of order")
        _take_record(following, *record[:-1].split(b"=", 1))
        at += length


def _take_record(following: _Next, key: bytes, value: bytes) -> None:
    if key == b"path":
        following.path = _text(value[:_NAME_LIMIT])
    elif key == b"size":
        if not value.isdigit() or len(value) > 19:
            raise Damaged(f"a size that is none: {value[:40]!r}")
        following.size_bytes = int(value)
    elif key.startswith(b"GNU.sparse."):
        raise Damaged("a sparse file")
