"""The part of a section's output that a report shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cas.model import Section
from cas.text import printable

LINE_LIMIT = 2000
"""Bytes of a line that are shown."""
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
    """Whether the last lines are shown and not the first."""

    def note(self, where: str) -> str | None:
        """What to say about the lines that are not shown.

        :param where: the file that has them
        """
        if not self.left_out:
            return None
        kind = "earlier" if self.is_tail else "more"
        return f"… {self.left_out} {kind} line{'s' if self.left_out > 1 else ''} in {where}"

    def text(self, where: str) -> str:
        """The lines, with the note where the others would be."""
        note = self.note(where)
        notes = [note] if note else []
        lines = [*notes, *self.lines] if self.is_tail else [*self.lines, *notes]
        return "\n".join(lines)


def excerpt(section: Section, limit: int) -> Excerpt:
    """The first lines of a section's output, or the last ones of a kernel log.

    :param limit: lines; memory is bounded by it, whatever the size of the file
    """
    if not section.path.is_file():
        return Excerpt((), 0)
    is_tail = section.name in _ENDS_MATTER
    try:
        return _read(section.path, limit, is_tail=is_tail)
    except OSError as error:
        return Excerpt((f"{section.path.name} cannot be read: {error.strerror}",), 0)


def tail(text: str, limit: int) -> Excerpt:
    """The last lines of a text."""
    lines = text.rstrip("\n").split("\n")
    shown = [printable(line[:LINE_LIMIT]) for line in lines[-limit:]]
    return Excerpt(tuple(shown), len(lines) - len(shown), is_tail=True)


def _read(path: Path, limit: int, *, is_tail: bool) -> Excerpt:
    total = sum(1 for _ in _lines(path))
    skip = max(0, total - limit) if is_tail else 0
    shown = [
        printable(line.rstrip(b"\n"))
        for number, line in enumerate(_lines(path))
        if skip <= number < skip + limit
    ]
    return Excerpt(tuple(shown), total - len(shown), is_tail)


def _lines(path: Path) -> Iterator[bytes]:
    """Lines without what is beyond the limit of a line."""
    with path.open("rb") as file:
        while line := file.readline(_BLOCK):
            kept = line[:LINE_LIMIT]
            while not line.endswith(b"\n") and (line := file.readline(_BLOCK)):
                pass
            yield kept
