"""Crashes of the archive as lines of ``cas ls``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, islice, zip_longest

from cas.model.archived import SHORT_DIGITS, CrashLine
from cas.text import short_line

COLUMNS = ("name", "type", "time", "node/cmd", "ticket")
_WIDTHS = (SHORT_DIGITS, 5, 19, 16, 7)
"""Those that Thoth has."""
_WIDEST = 60
"""Characters that a column leaves room for; what is longer moves the rest of its line."""
_LOOKED_AT = 1000
"""Rows by whose cells the width of a column is chosen."""
UNSET = "-"


def ls_columns(line: CrashLine) -> tuple[str, ...]:
    """What is printed of a crash, by `COLUMNS`."""
    place = line.cmd if line.type == "core" else line.node
    time = datetime.fromtimestamp(line.time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return line.id[:SHORT_DIGITS], line.type, time, place or UNSET, line.ticket or UNSET


def ls_line(line: CrashLine) -> str:
    """A line of ``cas ls`` without further properties."""
    return _row(map(short_line, ls_columns(line)), _WIDTHS)


def ls_table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Lines of a table whose first columns are `COLUMNS`; they come as their rows do."""
    return table_lines(head, rows, _WIDTHS)


def table_lines(
    head: Sequence[str], rows: Iterable[Iterable[str]], least: Sequence[int] = ()
) -> Iterator[str]:
    """Lines of a table, below its head in capitals; they come as their rows do.

    :param least: how wide the first columns are at least
    """
    printed = ([short_line(cell) for cell in row] for row in rows)
    first = [[short_line(name.upper()) for name in head], *islice(printed, _LOOKED_AT)]
    widest = [min(_WIDEST, max(map(len, column))) for column in zip(*first, strict=True)]
    widths = [max(pair) for pair in zip_longest(widest, least, fillvalue=0)]
    for row in chain(first, printed):
        yield _row(row, widths)


def fitting(lines: Iterable[str]) -> Iterator[str]:
    """Lines that are cut where a terminal's end."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in lines:
        yield f"{line[: width - 1]}…" if 0 < width < len(line) else line


def _row(cells: Iterable[str], widths: Iterable[int]) -> str:
    return " ".join(map(str.ljust, cells, widths)).rstrip()


HEADER = _row((name.upper() for name in COLUMNS), _WIDTHS)
