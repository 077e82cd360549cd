"""What the archive knows of a crash, as the index has it, and how crashes are asked for."""

from __future__ import annotations

from enum import StrEnum

from cas.choices import Presence
from cas.frozen import dataclass

ID_DIGITS = 32
"""Hex digits of a crash's id, see :mod:`cas.dump.crash_id`."""
SHORT_DIGITS = 16
"""As many of them ``cas ls`` prints."""
PREFIX_DIGITS = 4
"""With fewer nothing is meant by a beginning of an id."""
USERS = "properties"
"""Where the properties stand that users and analyzers set: ``properties.NAME``."""


@dataclass(frozen=True, slots=True)
class CrashWord:
    """One value of what is known of a crash, as text."""

    name: str
    """Dotted, e.g. ``properties.triage.engineer``."""
    position: int
    """In its array, from 0; 0 for what is in none."""
    value: str


@dataclass(frozen=True, slots=True)
class CrashLine:
    """What ``cas ls`` prints of a crash."""

    id: str
    type: str
    time_s: int
    """When it crashed, in seconds since 1970; where that is not known when it was added."""
    node: str | None
    cmd: str | None
    ticket: str | None
    """All its tickets, with commas between."""


@dataclass(frozen=True, slots=True)
class IndexedCrash:
    """A crash of the archive, as the index keeps it."""

    line: CrashLine
    added_s: int
    """When its first file or job was added, in seconds since 1970."""
    presence: Presence
    info: str
    """The object that ``cas info`` prints, as JSON, but for `presence`."""
    words: tuple[CrashWord, ...]


class Comparison(StrEnum):
    """How a property is compared."""

    EQUAL = "equal"
    """It, or one of an array, is this text."""
    GLOB = "glob"
    """The same, where ``*`` stands for any text and ``?`` for any character."""
    UNDEFINED = "undefined"
    """It is not set."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """What must hold of one property."""

    name: str
    """Dotted, as in the object that ``cas info`` prints."""
    comparison: Comparison
    value: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which crashes are meant: those for which all of this holds; without anything, all."""

    constraints: tuple[Constraint, ...] = ()
    added_after_s: int | None = None
    """In seconds since 1970, as the next two."""
    added_before_s: int | None = None
    crashed_after_s: int | None = None
    ids: tuple[str, ...] | None = None
    """One of these."""
    limit: int | None = None
    """The oldest so many of them."""


EVERY = Selection()
