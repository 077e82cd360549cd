"""What a user asks of crashes: ``property=value``, and a few words of their own meaning.

The grammar is that of Thoth's README. What is typed is data: it is compared, never evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from cas.archive.facts import PROPERTIES
from cas.errors import UsageError
from cas.model.archived import USERS, Comparison, Constraint, Selection
from cas.units import seconds_of_age

STDIN = frozenset({"dump=stdin", "dumps=stdin", "name=stdin"})
"""Instead of constraints: ids are read from standard input."""


class Garbage(UsageError):
    """What was asked of crashes cannot be meant."""

    exit_code = 1
    hint = "see Specifications in cas(1)"


def selection_of(words: Sequence[str], now: datetime) -> Selection:
    """What constraints mean together: all of them hold.

    :param words: each with a ``=``; the first parts name from value
    :param now: what ages are counted from
    :raises Garbage: one of them cannot be meant
    """
    chosen, constraints = Selection(), list[Constraint]()
    now_s = int(now.timestamp())
    for word in words:
        name, _, value = word.partition("=")
        if not name:
            raise Garbage(f"{word!r} names no property: write property=value")
        if name == "mtime":
            chosen = replace(chosen, added_after_s=now_s - age_s(value))
        elif name == "otime":
            chosen = replace(chosen, added_before_s=now_s - age_s(value))
        elif name == "time":
            chosen = replace(chosen, crashed_after_s=now_s - age_s(value))
        elif name == "limit":
            chosen = replace(chosen, limit=_limit(value))
        else:
            constraints.append(_constraint(property_name(name), value))
    return replace(chosen, constraints=tuple(constraints))


def property_name(name: str) -> str:
    """The whole name of a property: what a crash has not by itself somebody has set.

    >>> property_name("node"), property_name("triage.engineer"), property_name("ticket")
    ('node', 'properties.triage.engineer', 'tickets')
    """
    if name in ("ticket", "name"):
        return {"ticket": "tickets", "name": "id"}[name]
    return name if is_own_property(name) else f"{USERS}.{name}"


def is_own_property(name: str) -> bool:
    """Whether a crash may have a property of this name by itself."""
    return name.partition(".")[0] in PROPERTIES


def age_s(text: str) -> int:
    """Seconds of an age such as ``6h``; without a number it is one of them.

    :raises Garbage: it ends with no unit that there is
    """
    try:
        return seconds_of_age(text)
    except ValueError as error:
        raise Garbage(
            str(error), hint="ages end with s, min, h, d, w, month (or m) and y, for example 6h"
        ) from error


def ids_of_lines(lines: Iterable[str]) -> list[str]:
    """Ids, or beginnings of some, that somebody has piped to us: the first word of each line."""
    words = (line.split(maxsplit=1)[:1] for line in lines)
    return list(dict.fromkeys(word.lower() for (word,) in filter(None, words)))


def _limit(value: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise Garbage(f"limit={value} is no number", hint="for example: limit=10")
    return min(int(value[:12]), 1 << 40)


def _constraint(name: str, value: str) -> Constraint:
    if value == "undefined":
        return Constraint(name, Comparison.UNDEFINED)
    if "*" in value or "?" in value:
        return Constraint(name, Comparison.GLOB, value)
    return Constraint(name, Comparison.EQUAL, value)
