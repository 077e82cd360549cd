"""The members of an ar archive, as far as Debian packages use it.

Source: ar(5); deb(5); binutils' bfd/archive.c for long names.
"""

from __future__ import annotations

import re
from typing import BinaryIO

from cas.frozen import dataclass
from cas.streams.flow import Damaged
from cas.text import one_line

MAGIC = b"!<arch>\n"
_HEADER = re.compile(rb"(.{16})(?=[0-9]+ *)([0-9 ]{12}).{20}(?=[0-9]+ *)([0-9 ]{10})`\n", re.DOTALL)
_HEADER_BYTES = 60
_MEMBERS_LIMIT = 64
_NAME_LIMIT = 256
_TABLE_LIMIT = 64 << 10


@dataclass(frozen=True, slots=True)
class Stretch:
    """A member: a stretch of the file."""

    name: str
    begin: int
    """Byte offset in the file."""
    size_bytes: int
    date_s: int
    """Seconds since 1970."""


def members(file: BinaryIO, file_bytes: int) -> list[Stretch]:
    """The members, in order; no content is read but long names.

    :raises Damaged: it is no archive, or is cut off
    """
    if file.read(len(MAGIC)) != MAGIC:
        raise Damaged("it does not begin like one" if file_bytes else "the file is empty")
    found: list[Stretch] = []
    at, names = len(MAGIC), b""
    while at < file_bytes:
        file.seek(at)
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            raise Damaged("the file ends inside a member's header")
        fields = _HEADER.fullmatch(header)
        if fields is None:
            raise Damaged(f"no member's header at byte {at}")
        date, size = (int(digits.split()[0]) for digits in fields.groups()[1:])
        name = one_line(fields[1].rstrip(b" "))
        stretch = Stretch(name, at + _HEADER_BYTES, size, date)
        end = stretch.begin + stretch.size_bytes
        if end > file_bytes:
            raise Damaged(f"the file ends inside {stretch.name}")
        if stretch.name == "//":
            names = file.read(min(stretch.size_bytes, _TABLE_LIMIT))
        else:
            found.append(_spelled_out(file, stretch, names))
        if len(found) > _MEMBERS_LIMIT:
            raise Damaged(f"more than {_MEMBERS_LIMIT} members")
        at = end + end % 2
    return found


def _spelled_out(file: BinaryIO, stretch: Stretch, names: bytes) -> Stretch:
    """The member with its name spelled out."""
    name, begin, size = stretch.name, stretch.begin, stretch.size_bytes
    if name.startswith("#1/") and name[3:].isdigit():  # BSD: before the content
        length = int(name[3:])
        if length > min(size, _NAME_LIMIT):
            raise Damaged(f"a member's name of {length} bytes")
        name = one_line(file.read(length).rstrip(b"\0"))
        begin, size = begin + length, size - length
    elif name.startswith("/") and name[1:].isdigit():  # System V and GNU: in a table
        name = one_line(names[int(name[1:]) :].split(b"\n", 1)[0][:_NAME_LIMIT])
    return Stretch(name.removesuffix("/"), begin, size, stretch.date_s)
