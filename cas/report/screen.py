"""The first screen as text: at most 24 lines of 80 columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from cas.frozen import dataclass
from cas.report.summary import Fact, Point, Summary, some_known

WIDTH = 80
HEIGHT = 24
_LABEL = 12
_GIVE_WAY = (
    ("Besides", 1),
    ("Before", 1),
    ("Seen on", 0),
    ("Seen before", 0),
    ("Next", 2),
    ("Sure", 0),
    ("Before", 0),
    ("Next", 1),
    ("Besides", 0),
)
"""Rows that make room for the others first, in this order, and how many of their texts they keep
whole, before they keep but a line, or one of each of two."""
_IN_ORDER = frozenset({"Besides", "Before", "Next"})
"""Rows whose first text is worth more than the beginnings of all."""


_SHOWN_BY = re.compile(r"\((?:see|cas debug): [^()]{1,40}\)$")
"""A command that is to be typed, so short that it need not stand on two lines."""
_GLUE = "\0"


@dataclass(frozen=True, slots=True)
class Row:
    """A label and what there is to say; a paragraph for each text."""

    label: str
    texts: tuple[str, ...]


def screen(told: Summary) -> str:
    """The first screen, below a title."""
    left = f"CAS report for {told.ticket}"
    title = f"{left}  {told.started:>{max(0, WIDTH - len(left) - 2)}}"
    return f"{title}\n{'-' * WIDTH}\n{first_rows(told)}"


def first_rows(told: Summary) -> str:
    """The rows of the first screen; what is too long for it ends in ``…``."""
    said = screen_rows(told)
    blocks = [_wrapped_texts(row) for row in said]
    lines: list[str] = []
    for row, block, limit in zip(said, blocks, _limits(said, blocks), strict=True):
        # so many lines of some texts: of each the first ones, of too many texts the first
        in_order = row.label in _IN_ORDER
        parts = block[:limit]
        if in_order:
            while _height(parts[:-1]) >= limit:
                parts = parts[:-1]
            limits = [*map(len, parts[:-1]), min(len(parts[-1]), limit - _height(parts[:-1]))]
        else:
            limits = _fit(list(map(len, parts)), limit)
        shown = [_shortened_lines(part, size) for part, size in zip(parts, limits, strict=True)]
        if len(block) > len(parts):
            shown[-1] = _shortened_lines([*shown[-1], ""], len(shown[-1]))
        lines += _labelled(row.label, [line for part in shown for line in part])
    return "\n".join(lines) + "\n"


def cut_rows(told: Summary) -> tuple[Row, ...]:
    """The rows of which the first screen shows only a part."""
    said = screen_rows(told)
    blocks = [_wrapped_texts(row) for row in said]
    both = zip(said, blocks, _limits(said, blocks), strict=True)
    return tuple(row for row, block, limit in both if _height(block) > limit)


def screen_rows(told: Summary) -> tuple[Row, ...]:
    """What the first screen says."""
    said = (
        Row("Title", (told.title,) if told.is_named else ()),
        Row("Known issue", some_known([issue.text for issue in told.known])),
        Row("Verdict", (f"{told.verdict}: {told.reason}" if told.reason else told.verdict,)),
        *map(row_of, told.facts),
        Row("Next", told.next_steps),
        Row("Go on", (told.go_on,) if told.go_on else ()),
    )
    return tuple(row for row in said if row.texts)


def row_of(fact: Fact) -> Row:
    """A fact as text."""
    return Row(fact.label, tuple(map(point_text, fact.points)))


def point_text(point: Point) -> str:
    """One thing to say, with what shows it."""
    return f"{point.text} (see: {point.command})" if point.command else point.text


def in_full(row: Row) -> str:
    """A row as text, whatever its length."""
    return "\n".join(_labelled(row.label, [line for part in _wrapped_texts(row) for line in part]))


def _wrapped_texts(row: Row) -> list[list[str]]:
    """The lines of each text."""
    mark = len(row.texts) > 1
    wrapped = (
        textwrap.wrap(
            _SHOWN_BY.sub(lambda found: found[0].replace(" ", _GLUE), text),
            WIDTH - _LABEL,
            initial_indent="- " if mark else "",
            subsequent_indent="  " if mark else "",
            break_on_hyphens=False,
        )
        for text in row.texts
    )
    return [[line.replace(_GLUE, " ") for line in lines] for lines in wrapped]


def _height(block: list[list[str]]) -> int:
    return sum(map(len, block))


def _limits(said: Sequence[Row], blocks: Sequence[list[list[str]]]) -> list[int]:
    """How many lines each row may have on the first screen."""
    room, limits = HEIGHT - 2, list(map(_height, blocks))
    for label, whole in _GIVE_WAY:
        for number, (row, block) in enumerate(zip(said, blocks, strict=True)):
            if row.label == label:
                if whole:
                    keeps = _height(block[:whole])
                else:
                    keeps = min(len(block), 2) if label in {"Seen before", "Sure"} else 1
                spare = max(0, limits[number] - keeps)
                limits[number] -= min(spare, max(0, sum(limits) - room))
    return _fit(limits, room)


def _fit(heights: list[int], room: int) -> list[int]:
    """How many lines each may have: the tallest give way first, the last of them soonest."""
    limits = list(heights)
    while sum(limits) > room and max(limits) > 1:
        tallest = max(limits)
        limits[len(limits) - 1 - limits[::-1].index(tallest)] -= 1
    return limits


def _shortened_lines(lines: list[str], limit: int) -> list[str]:
    if len(lines) <= limit:
        return lines
    last = lines[limit - 1][: WIDTH - _LABEL - 2].rstrip()
    return [*lines[: limit - 1], last if last.endswith("…") else f"{last} …"]


def _labelled(label: str, lines: list[str]) -> list[str]:
    return [f"{label if not number else '':<{_LABEL}}{line}" for number, line in enumerate(lines)]
