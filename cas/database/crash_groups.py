"""What groups of crashes are counted from: few rows, whatever the number of crashes.

SQLite groups by sorting, for which it takes twice the time that this does: the index has the words
by name and value already, and which crash is in which group a dictionary knows (bench/archive.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import ColumnElement, Text, and_, func, select, type_coerce

from cas.database.connection import Database
from cas.database.crash_rows import LINE, begins, selected
from cas.database.tables import crash_words, crashes
from cas.model.archived import EVERY, USERS, CrashLine, Selection

_AT_ONCE = 1000
"""Rows that are read in one go."""


class Holders(NamedTuple):
    """Which crashes have a value of a property."""

    name: str
    value: str
    ids: list[str]


class CrashGroups:
    """Questions about groups of crashes, which a property tells apart."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def crashed(self, selection: Selection) -> Iterator[CrashLine]:
        """The crashes that are meant, in no order."""
        query = selected(selection, LINE)
        if selection.limit is None:
            query = query.order_by(None)
        with self._database.reading() as connection:
            rows = connection.execution_options(yield_per=_AT_ONCE).execute(query)
            yield from (CrashLine(*row) for row in rows)

    def holders(self, selection: Selection, names: Iterable[str]) -> Iterator[Holders]:
        """Who has which value of these properties."""
        yield from self._holders(selection, crash_words.c.name.in_(sorted(names)))

    def holders_of_users(self, selection: Selection) -> Iterator[Holders]:
        """The same of properties that users have set; of an array the first member counts."""
        word = crash_words.c
        users = and_(begins(word.name, f"{USERS}."), word.position == 0)
        yield from self._holders(selection, users)

    def holders_of(self, name: str, value: str) -> frozenset[str]:
        """The ids of all crashes that have this value of a property."""
        word = crash_words.c
        is_it = and_(word.name == name, word.value == value)
        found = self._holders(EVERY, is_it)
        return frozenset(each for holders in found for each in holders.ids)

    def _holders(self, selection: Selection, which: ColumnElement[bool]) -> Iterator[Holders]:
        word = crash_words.c
        name, value = type_coerce(word.name, Text()), type_coerce(word.value, Text())
        ids = func.aggregate_strings(type_coerce(word.crash_id, Text()), ",")
        query = select(name, value, ids).where(which).group_by(word.name, word.value)
        if selection != EVERY:
            chosen = selected(selection, (crashes.c.id,))
            query = query.where(word.crash_id.in_(chosen.subquery().select()))
        with self._database.reading() as connection:
            # few rows, but each as long as many crashes have it
            for row in connection.execution_options(yield_per=1).execute(query):
                yield Holders(row[0], row[1], row[2].split(","))
