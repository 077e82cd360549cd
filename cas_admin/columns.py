"""Tables of many rows: ten thousand take rich's tables many seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def aligned_lines(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A line for each row below a line of titles; nothing when there are no rows."""
    if not rows:
        return
    table = [titles, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    for *cells, last in table:
        yield "".join(f"{cell:{n}}  " for cell, n in zip(cells, widths, strict=True)) + last
