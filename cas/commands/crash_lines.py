"""Crashes of the archive as lines of ``cas ls``."""

from __future__ import annotations

from datetime import UTC, datetime

from cas.model.archived import SHORT_DIGITS, CrashLine
from cas.text import one_line

COLUMNS = ("name", "type", "time", "node/cmd", "ticket")
_WIDTHS = (SHORT_DIGITS, 5, 19, 16, 0)
"""Those that Thoth has."""
UNSET = "-"


def ls_columns(line: CrashLine) -> tuple[str, ...]:
    """What is printed of a crash, by `COLUMNS`."""
    place = line.cmd if line.type == "core" else line.node
    time = datetime.fromtimestamp(line.time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return line.id[:SHORT_DIGITS], line.type, time, place or UNSET, line.ticket or UNSET


def ls_row(cells: tuple[str, ...], widths: tuple[int, ...] = _WIDTHS) -> str:
    """Cells side by side, as wide as they are or wider."""
    filled = (one_line(cell).ljust(width) for cell, width in zip(cells, widths, strict=True))
    return " ".join(filled).rstrip()


def ls_line(line: CrashLine) -> str:
    """A line of ``cas ls`` without further properties."""
    return ls_row(ls_columns(line))


HEADER = ls_row(tuple(name.upper() for name in COLUMNS))
