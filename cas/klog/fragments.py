"""Lines that netconsole sent in fragments, put together again.

Source: Documentation/networking/netconsole.rst, drivers/net/netconsole.c: send_ext_msg_udp().
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_FRAGMENT = re.compile(
    rb"((?:\d{1,3}\.\d{1,5}[^\s,;]{0,80},)?\d{1,3},\d{1,10},\d{1,16},[^;,\s]{0,16}"
    rb"(?:,caller=[TC]\d{1,10})?[^;\n]{0,60}?),ncfrag=(\d{1,6})/(\d{1,6})(;|,[^;\n]{0,60};)"
)
_NEAR = 64
"""Fragments behind one, of whatever line, among which the rest of its line is."""


class _Fragment(NamedTuple):
    """A part of a line; offsets in bytes."""

    line: tuple[bytes, bytes]
    """Whose part it is: release, level, number, microseconds, flags; and the line's size."""
    offset: int
    """In the line."""
    head: bytes
    """As it stands before a line that is whole."""
    start: int
    """In the text, of the head."""
    begin: int
    """In the text, of the part of the line."""


class _Body(NamedTuple):
    """What of a fragment stands in the text."""

    data: bytes
    stop: int
    """Where what follows begins, behind the line's end."""
    size: int
    """Bytes that it has of its line."""
    is_whole: bool


def without_fragments(text: str) -> str:
    """A text in which each line that came in fragments is one; behind what is lost another begins.

    A program that receives netconsole's packets writes them one behind the other, or each as a
    line, behind a date and a name perhaps.
    """
    if ",ncfrag=" not in text:
        return text
    data = text.encode("utf-8", "surrogateescape")
    found = [
        _Fragment((each[1], each[3]), int(each[2]), each[1] + each[4], each.start(), each.end())
        for each in _FRAGMENT.finditer(data)
    ]
    pieces, at, joined = list[bytes](), 0, set[int]()
    for number, each in enumerate(found):
        body = _body_of(data, found, number)
        if number in joined:  # it stands where its line began, without what was before it here
            pieces.append(data[at : max(at, data.rfind(b"\n", at, each.start) + 1)])
        else:
            pieces += [data[at : each.start], each.head, *_bodies(data, found, number, joined)]
        at = body.stop
    return b"".join((*pieces, data[at:])).decode("utf-8", "surrogateescape")


def _bodies(
    data: bytes, found: Sequence[_Fragment], number: int, joined: set[int]
) -> Iterator[bytes]:
    """The parts of a line from one of its fragments on, as far as none is missing.

    :param joined: gets the numbers of those behind the first
    """
    while True:
        one, body = found[number], _body_of(data, found, number)
        offset = one.offset + body.size
        following = (
            later
            for later in range(number + 1, min(number + _NEAR, len(found)))
            if body.is_whole and (found[later].line, found[later].offset) == (one.line, offset)
        )
        if (next_one := next(following, None)) is None:
            yield body.data.removesuffix(b"\n") + b"\n"
            return
        yield body.data
        joined.add(number := next_one)


def _body_of(data: bytes, found: Sequence[_Fragment], number: int) -> _Body:
    one = found[number]
    limit = found[number + 1].start if number + 1 < len(found) else len(data)
    later = (each for each in found[number + 1 : number + _NEAR] if each.line == one.line)
    size = next((each.offset for each in later), int(one.line[1])) - one.offset
    line_end = data.find(b"\n", one.begin, limit)
    line_end = limit if line_end < 0 else line_end
    end = one.begin + size
    more = data[line_end:end].splitlines()[1:]
    # what is known of the device stands behind a blank; a longer line has longer words for letters
    if line_end + 1 < end <= limit and all(each.startswith(b" ") for each in more):
        return _Body(data[one.begin : end], end, size, is_whole=True)
    stop = min(line_end + 1, limit)
    return _Body(data[one.begin : line_end], stop, size, is_whole=0 < end <= line_end + 1)
