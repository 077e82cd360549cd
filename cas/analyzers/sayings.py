"""What an analyzer says of its crash, through a pipe: read, checked, and applied.

Through the pipe come messages of fields that end with NUL, see ``functions.sh``: a verb, and as
many fields as it takes. Whoever wrote them is not believed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Self

from cas.archive.annotation import (
    checked_name,
    checked_ticket,
    value_of,
    with_property,
    with_ticket,
    without_property,
    without_ticket,
)
from cas.archive.constraints import Garbage
from cas.archive.record import Info
from cas.frozen import dataclass
from cas.text import count, short_line

PIPE_LIMIT = 8 << 20
"""Bytes that an analyzer may write into its pipe on one crash."""
MESSAGES_LIMIT = 1000
LEFT_S = 5.0
"""Seconds for the end of a pipe whose program has ended."""
_READ_BYTES = 64 << 10
_FIELDS = {
    **{"set": 2, "read": 2, "unset": 1, "ticket": 1, "unticket": 1},
    **{"opened": 0, "failed": 1, "text": 1},
}
"""How many fields stand behind a verb. The last three are for `cas` itself: drgn has opened the
dump, or could not; the text of an analyzer that somebody has changed."""


@dataclass(frozen=True, slots=True)
class Said:
    """What an analyzer has said of its crash."""

    changes: tuple[tuple[str, Callable[[Info], Info]], ...] = ()
    """Each in a few words, and what it does."""
    wrong: tuple[str, ...] = ()
    """What of it is of no use, and why."""
    is_opened: bool = False
    """drgn has opened the dump."""
    failed: str | None = None
    """Why drgn could not open it."""
    text: bytes | None = None
    """The analyzer itself, as it was changed."""

    def applied(self, info: Info) -> Info:
        """The crash with all of it."""
        for _, change in self.changes:
            info = change(info)
        return info

    @property
    def words(self) -> str:
        """The changes in a few words."""
        told = [each for each, _ in self.changes[:10]]
        more = len(self.changes) - len(told)
        return ", ".join((*told, *([f"{more} more"] if more else ())))


class SayingPipe:
    """A pipe that an analyzer writes into; a thread reads it, so that nobody waits.

    A context manager; a program that is started within inherits `theirs`.
    """

    def __init__(self) -> None:
        """Open it."""
        self._ours, self.theirs = os.pipe()
        self._content = bytearray()
        self._lock = threading.Lock()
        self._is_closed = False
        self.is_over = False
        """More came than may; what came beyond is lost."""
        self._reader = threading.Thread(target=self._read, name="analyzer's pipe", daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close_theirs()

    def close_theirs(self) -> None:
        """Once the program has it: when that ends, nobody writes any more."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self.theirs)

    def said(self) -> Said:
        """What was said, when all who might write have ended.

        Without a sandbox one may have got away, and is waited for no longer than a moment.
        """
        self.close_theirs()
        self._reader.join(LEFT_S)
        return read_said(bytes(self._content), is_cut=self.is_over)

    def _read(self) -> None:
        try:
            while data := os.read(self._ours, _READ_BYTES):
                room = PIPE_LIMIT - len(self._content)
                self._content += data[:room]
                self.is_over = self.is_over or len(data) > room
        finally:
            with suppress(OSError):
                os.close(self._ours)


def read_said(content: bytes, *, is_cut: bool = False) -> Said:
    """What came through a pipe.

    What is no message makes the rest worthless, since nobody knows where the next one begins.
    """
    changes, wrong = list[tuple[str, Callable[[Info], Info]]](), list[str]()
    said = Said()
    for verb, fields in _messages(content):
        if len(changes) + len(wrong) >= MESSAGES_LIMIT:
            wrong.append(f"it said more than {MESSAGES_LIMIT} things: the rest is left out")
            break
        if verb is None:
            if not is_cut:
                wrong.append(f"{count(len(fields[0]), 'byte')} in its pipe are no message")
        elif verb == "opened":
            said = replace(said, is_opened=True)
        elif verb == "failed":
            said = replace(said, failed=short_line(_text(fields[0]), 500))
        elif verb == "text":
            said = replace(said, text=fields[0])
        else:
            try:
                changes.append(_change(verb, fields))
            except (Garbage, UnicodeDecodeError) as error:
                wrong.append(f"{verb}: {error}")
    if is_cut:
        wrong.append("it wrote too much into its pipe: the rest is left out")
    return replace(said, changes=tuple(changes), wrong=tuple(wrong))


def _messages(content: bytes) -> Iterator[tuple[str | None, Sequence[bytes]]]:
    """Each message; last of all, without a verb, what is none."""
    at = 0
    while at < len(content):
        fields, next_ = list[bytes](), at
        verb, number = None, 0
        while len(fields) <= number and (end := content.find(b"\0", next_)) >= 0:
            fields.append(content[next_:end])
            next_ = end + 1
            if verb is None:
                verb = _text(fields[0])
                number = _FIELDS.get(verb, -1)
        if verb is None or len(fields) != number + 1:
            yield None, [content[at:]]
            return
        yield verb, fields[1:]
        at = next_


def _change(verb: str, fields: Sequence[bytes]) -> tuple[str, Callable[[Info], Info]]:
    """What a message does.

    :raises Garbage: it cannot be meant
    :raises UnicodeDecodeError: it is no text
    """
    first = fields[0].decode()
    if verb in ("set", "read"):
        name, text = checked_name(first), fields[1].decode()
        value = value_of(text.strip() if verb == "read" else text)
        return f"set {name}", partial(with_property, name=name, value=value)
    if verb == "unset":
        name = checked_name(first)
        return f"unset {name}", partial(without_property, name=name)
    if verb == "ticket":
        ticket = checked_ticket(first)
        return f"ticket {ticket}", partial(with_ticket, ticket=ticket)
    taken = checked_ticket(first) if first else None
    return f"unticket {taken or 'all'}", partial(without_ticket, ticket=taken)


def _text(field: bytes) -> str:
    return field.decode("utf-8", "replace")
