"""The part of a section's output that a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from cas.frozen import dataclass
from cas.model.snippet import Section
from cas.text import one_line, printable
from cas.units import human_size

LINE_LIMIT = 2000
"""Bytes (of a text: characters) of a line that are shown."""
READ_LIMIT = 128 << 10
"""Bytes of a section's first or last lines that are read for a report."""
_BLOCK = 1 << 20
_ENDS_MATTER = frozenset({"log", "dmesg"})
"""Sections whose last lines tell the most."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some lines of a section, printable."""

    lines: tuple[str, ...]
    left_out: int
    """Lines that are not shown."""
    is_tail: bool = False
    """The last lines are shown and not the first."""
    size_bytes: int = 0
    """Size of all lines together."""
    is_cut: bool = False
    """The end of a shown line is not shown."""

    def note_on_rest(self, where: str) -> str | None:
        """What to say about the lines that are not shown.

        :param where: the file that has them
        """
        size = f"({human_size(self.size_bytes)} in all)"
        if self.left_out:
            kind = "earlier" if self.is_tail else "more"
            lines = f"{self.left_out:,} {kind} line{'s' if self.left_out > 1 else ''}"
            return f"… {lines} in {where} {size}"
        return f"… the whole lines are in {where} {size}" if self.is_cut else None

    def text_with_note(self, where: str) -> str:
        """The lines, with the note where the others would be."""
        note = self.note_on_rest(where)
        notes = [note] if note else []
        lines = [*notes, *self.lines] if self.is_tail else [*self.lines, *notes]
        return "\n".join(lines)


def excerpt(section: Section, limit: int, room: int = READ_LIMIT) -> Excerpt:
    """The first lines of a section's output, or the last ones of a kernel log.

    :param limit: lines; memory is bounded, whatever the size of the file
    :param confinement: characters; the line with which they are used up is the last
    """
    if not section.path.is_file():
        return Excerpt((), 0)
    is_tail = section.name in _ENDS_MATTER
    try:
        newlines, size, last = 0, 0, b"\n"
        with section.path.open("rb") as file:
            while block := file.read(_BLOCK):
                newlines += block.count(b"\n")
                size += len(block)
                last = block[-1:]
            total = newlines + (last != b"\n")
            start = max(0, size - READ_LIMIT) if is_tail else 0
            file.seek(start)
            data = file.read(READ_LIMIT)
        lines = data.removesuffix(b"\n").split(b"\n") if data else []
        if is_tail and start and len(lines) > 1:
            del lines[0]  # its beginning was not read
        elif not is_tail and len(data) < size and len(lines) > 1:
            del lines[-1]  # its end was not read
        chosen = (
            _lines_within(lines[-limit:][::-1], room)[::-1]
            if is_tail
            else _lines_within(lines[:limit], room)
        )
        return _excerpt(chosen, total, size, is_tail=is_tail)
    except OSError as error:
        return Excerpt((one_line(f"{section.path.name} cannot be read: {error.strerror}"),), 0)


def tail(text: str, limit: int) -> Excerpt:
    """The last lines of a text."""
    text = text.rstrip("\n")
    lines = text.rsplit("\n", limit)[-limit:]
    return _excerpt(lines, text.count("\n") + 1, len(text), is_tail=True)


def _lines_within(lines: list[bytes], room: int) -> list[bytes]:
    """The first lines, until there is no room for more."""
    sizes = accumulate(min(len(line), LINE_LIMIT) + 1 for line in lines)
    return lines[: sum(1 for size in sizes if size <= room)]


def _excerpt(lines: Sequence[str | bytes], total: int, size: int, *, is_tail: bool) -> Excerpt:
    is_cut = any(len(line) > LINE_LIMIT for line in lines)
    return Excerpt(tuple(map(shown_line, lines)), total - len(lines), is_tail, size, is_cut)


def shown_line(line: str | bytes) -> str:
    """A line as a report shows it: printable, and not too long."""
    shown = printable(line[:LINE_LIMIT])
    return f"{shown} … (cut after {LINE_LIMIT:,})" if len(line) > LINE_LIMIT else shown
