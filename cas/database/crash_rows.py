"""The index of the archive, as rows: the one place where a selection of crashes becomes SQL."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain, islice
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    and_,
    cast,
    delete,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from cas.choices import Presence
from cas.database.connection import Database
from cas.database.storable import storable
from cas.database.tables import NAME_LIMIT, VALUE_LIMIT, crash_words, crashes
from cas.model.archived import Comparison, Constraint, CrashLine, IndexedCrash, Selection

Value = TypeVar("Value")
_LAST = "\U0010ffff"
"""No text that begins with some prefix is behind the prefix and this, but of this character."""
LINE = tuple(crashes.c[name] for name in ("id", "type", "time_s", "node", "cmd", "ticket"))
"""The columns of a `CrashLine`."""
_AT_ONCE = 1000
"""Rows that are read or written in one go."""
_WORDS_AT_ONCE = 100_000
"""The same of words, of which a crash has some fifty."""
_WORD = ("crash_id", "name", "position", "value")
"""The columns of a word."""
_OWN: dict[str, ColumnElement[str]] = {
    **{name: crashes.c[name] for name in ("id", "type", "node", "cmd")},
    "presence": type_coerce(crashes.c.presence, Text()),
}
"""Properties that have a column; all others stand among the words."""


class matches_glob(GenericFunction[bool]):
    """Whether a text fits a pattern of ``*`` and ``?``, in which all else is literal."""

    inherit_cache = True


@compiles(matches_glob, "sqlite")
def _glob_in_sqlite(element: matches_glob, compiler: SQLCompiler, **words: Any) -> str:
    """GLOB, which minds the case; https://www.sqlite.org/lang_expr.html, section 5."""
    column, pattern = element.clauses
    pattern = func.replace(pattern, "[", "[[]")
    return f"{compiler.process(column, **words)} GLOB {compiler.process(pattern, **words)}"


@compiles(matches_glob)
def _glob_elsewhere(element: matches_glob, compiler: SQLCompiler, **words: Any) -> str:
    """LIKE, whose own special characters are escaped in the pattern."""
    column, pattern = element.clauses
    for special, plain in (("\\", "\\\\"), ("%", "\\%"), ("_", "\\_"), ("*", "%"), ("?", "_")):
        pattern = func.replace(pattern, special, plain)
    return f"{compiler.process(column, **words)} LIKE {compiler.process(pattern, **words)}"


class CrashRows:
    """Which crashes there are in the archive, and what is known of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, entries: Iterable[IndexedCrash]) -> None:
        """Add crashes to the index, or replace what it says of them; some at a time, with each
        of them whole."""
        for portion in _portions(entries, _AT_ONCE):
            some = {one.line.id: one for one in portion}.values()
            with self._database.writing() as connection:
                ids = _members(one.line.id for one in some)
                connection.execute(delete(crashes).where(crashes.c.id.in_(ids)))
                connection.execute(insert(crashes), [_row_of(one) for one in some])
                for words in _portions(chain.from_iterable(map(_words_of, some)), _WORDS_AT_ONCE):
                    connection.execute(insert(crash_words).from_select(_WORD, _rows(words)))

    def remove_crash(self, crash_id: str) -> None:
        """Take a crash out of the index."""
        with self._database.writing() as connection:
            connection.execute(delete(crashes).where(crashes.c.id == crash_id))

    def note_presence(self, found: Iterable[tuple[str, Presence]]) -> None:
        """Note where the best files are now, by the ids of their crashes."""
        with self._database.writing() as connection:
            for crash_id, presence in found:
                rows = update(crashes).where(crashes.c.id == crash_id)
                connection.execute(rows.values(presence=presence))

    def presences(self, selection: Selection) -> dict[str, Presence]:
        """Where the best file of each crash was when that was last looked at, by id."""
        with self._database.reading() as connection:
            rows = connection.execute(selected(selection, (crashes.c.id, crashes.c.presence)))
            return dict(map(tuple, rows))

    def lines(self, selection: Selection) -> Iterator[CrashLine]:
        """The crashes that are meant, oldest first."""
        with self._database.reading() as connection:
            for row in _streamed(connection, selected(selection, LINE)):
                yield CrashLine(*row)

    def infos(self, selection: Selection) -> Iterator[tuple[CrashLine, Presence, str]]:
        """The same with their presence and ``info``."""
        columns = (*LINE, crashes.c.presence, crashes.c.info)
        with self._database.reading() as connection:
            for *line, presence, info in _streamed(connection, selected(selection, columns)):
                yield CrashLine(*line), presence, info

    def records(self, selection: Selection) -> Iterator[tuple[CrashLine, int, str]]:
        """The same with when each was added, in seconds since 1970, and ``info``."""
        columns = (*LINE, crashes.c.added_s, crashes.c.info)
        with self._database.reading() as connection:
            for *line, added_s, info in _streamed(connection, selected(selection, columns)):
                yield CrashLine(*line), added_s, info

    def came(self, span_s: int) -> list[tuple[str, int]]:
        """Of the crashes that were added within so many seconds one: its id, and when, in seconds
        since 1970."""
        query = select(func.min(crashes.c.id), func.max(crashes.c.added_s))
        query = query.group_by(crashes.c.added_s // span_s)
        with self._database.reading() as connection:
            return [(crash_id, added_s) for crash_id, added_s in connection.execute(query)]

    def first_added(self) -> int | None:
        """When the first crash was added, in seconds since 1970."""
        with self._database.reading() as connection:
            found: int | None = connection.scalar(select(func.min(crashes.c.added_s)))
            return found

    def with_files_since(self, since_s: int) -> list[str]:
        """Ids of crashes of which a file came since, in seconds since 1970."""
        # as texts times have the same order until they have one more digit, in the year 2286
        query = select(crash_words.c.crash_id).where(
            crash_words.c.name == "files.added_s", crash_words.c.value > f"{max(since_s, 0):010}"
        )
        with self._database.reading() as connection:
            return list(connection.execute(query.distinct()).scalars())

    def count(self, selection: Selection) -> int:
        """How many crashes are meant."""
        chosen = selected(selection, (crashes.c.id,)).subquery()
        with self._database.reading() as connection:
            return connection.scalar(select(func.count()).select_from(chosen)) or 0

    def tally(self, selection: Selection, name: str) -> list[tuple[str, int]]:
        """How many of the crashes have which value of a property, the most frequent first."""
        chosen = selected(selection, (crashes.c.id, crashes.c.presence)).subquery()
        if name == "presence":
            often = func.count()
            query = select(chosen.c.presence, often).group_by(chosen.c.presence)
            query = query.order_by(often.desc(), chosen.c.presence)
        else:
            often = func.count(crash_words.c.crash_id.distinct())
            query = (
                select(crash_words.c.value, often)
                .join(chosen, chosen.c.id == crash_words.c.crash_id)
                .where(crash_words.c.name == name)
                .group_by(crash_words.c.value)
                .order_by(often.desc(), crash_words.c.value)
            )
        with self._database.reading() as connection:
            return [(str(value), number) for value, number in connection.execute(query)]

    def ids_by_prefix(self, prefix: str, limit: int) -> tuple[str, ...]:
        """Ids that begin so, in their order."""
        query = select(crashes.c.id).where(begins(crashes.c.id, prefix))
        with self._database.reading() as connection:
            return tuple(connection.execute(query.order_by(crashes.c.id).limit(limit)).scalars())

    def ids_by_prefixes(self, prefixes: Collection[str]) -> dict[str, list[str]]:
        """Ids that begin with each of these, in the order of the prefixes; some may have none."""
        begun = _members(prefixes).subquery()
        prefix = type_coerce(begun.c.value, Text())
        query = select(prefix, crashes.c.id).join(
            crashes,
            and_(crashes.c.id >= prefix, crashes.c.id < prefix + literal(_LAST, Text())),
        )
        found = dict[str, list[str]]()
        with self._database.reading() as connection:
            for begin, crash_id in connection.execute(query.order_by(crashes.c.id)):
                found.setdefault(begin, []).append(crash_id)
        return {begin: found[begin] for begin in prefixes if begin in found}

    def all_ids(self) -> Iterator[str]:
        """The ids of all crashes, in their order; between some and some others may be changed."""
        last = ""
        while True:
            query = select(crashes.c.id).where(crashes.c.id > last).order_by(crashes.c.id)
            with self._database.reading() as connection:
                ids = connection.execute(query.limit(_AT_ONCE)).scalars().all()
            if not ids:
                return
            yield from ids
            last = ids[-1]

    def titles_of_jobs(self) -> dict[str, str]:
        """What the crash of each job is called, by ``TICKET/STAMP``."""
        of_job, named = crash_words.alias(), crash_words.alias()
        query = select(of_job.c.value, named.c.value).where(
            of_job.c.name == "jobs", named.c.name == "title", named.c.crash_id == of_job.c.crash_id
        )
        with self._database.reading() as connection:
            return dict(map(tuple, connection.execute(query)))

    def has_property(self, name: str) -> bool:
        """Whether any crash has a property, or one below it."""
        query = select(crash_words.c.crash_id).where(_is_named(name)).limit(1)
        with self._database.reading() as connection:
            return connection.execute(query).first() is not None


def _portions(values: Iterable[Value], size: int) -> Iterator[list[Value]]:
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some


def _row_of(crash: IndexedCrash) -> dict[str, Any]:
    presence = {"added_s": crash.added_s, "presence": crash.presence, "info": crash.info}
    return asdict(crash.line) | presence


def _words_of(crash: IndexedCrash) -> Iterator[tuple[str, str, int, str]]:
    """A row for each word, as it can be stored; two that are the same once they are cut are one."""
    kept = {(storable(one.name, NAME_LIMIT), one.position): one.value for one in crash.words}
    for (name, position), value in kept.items():
        yield crash.line.id, name, position, storable(value, VALUE_LIMIT)


def _streamed(connection: Connection, query: Select[Any]) -> Iterator[Sequence[Any]]:
    return iter(connection.execution_options(yield_per=_AT_ONCE).execute(query))


def selected(selection: Selection, columns: Sequence[Column[Any]]) -> Select[Any]:
    """Columns of the crashes that are meant, oldest first."""
    query = select(*columns).where(*map(_holds, selection.constraints))
    if selection.added_after_s is not None:
        query = query.where(crashes.c.added_s > selection.added_after_s)
    if selection.added_before_s is not None:
        query = query.where(crashes.c.added_s < selection.added_before_s)
    if selection.crashed_after_s is not None:
        query = query.where(crashes.c.time_s > selection.crashed_after_s)
    if selection.ids is not None:
        query = query.where(crashes.c.id.in_(_members(selection.ids)))
    return query.order_by(crashes.c.time_s, crashes.c.id).limit(selection.limit)


class json_members(GenericFunction[str]):
    """The members of an array of JSON, as rows: one parameter, however many there are."""

    inherit_cache = True


@compiles(json_members, "sqlite")
def _members_in_sqlite(element: json_members, compiler: SQLCompiler, **words: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **words)})"


@compiles(json_members)
def _members_elsewhere(element: json_members, compiler: SQLCompiler, **words: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **words)} AS json))"


class json_member(GenericFunction[str]):
    """A member of an array of JSON, as text, by its position."""

    inherit_cache = True


@compiles(json_member, "sqlite")
def _member_in_sqlite(element: json_member, compiler: SQLCompiler, **words: Any) -> str:
    array, position = (compiler.process(each, **words) for each in element.clauses)
    return f"json_extract({array}, '$[' || {position} || ']')"


@compiles(json_member)
def _member_elsewhere(element: json_member, compiler: SQLCompiler, **words: Any) -> str:
    array, position = (compiler.process(each, **words) for each in element.clauses)
    return f"(CAST({array} AS json) ->> {position})"


def _members(ids: Iterable[str]) -> Select[Any]:
    return select(json_members(literal(json.dumps(list(ids)))).table_valued("value").c.value)


def _rows(words: Sequence[tuple[str, str, int, str]]) -> Select[Any]:
    """Rows of words as one parameter: a statement for each takes a server ten times as long."""
    row = json_members(literal(json.dumps(words))).table_valued("value").c.value
    columns: list[ColumnElement[Any]] = [json_member(row, literal(at)) for at in range(len(_WORD))]
    columns[_WORD.index("position")] = cast(columns[_WORD.index("position")], Integer())
    return select(*columns)


def _holds(constraint: Constraint) -> ColumnElement[bool]:
    name = constraint.name
    own = _OWN.get(name)
    if constraint.comparison is Comparison.UNDEFINED:
        if own is not None:
            return own.is_(None)
        named = select(crash_words.c.crash_id).where(crash_words.c.crash_id == crashes.c.id)
        return not_(named.where(_is_named(name)).exists())
    if own is not None:
        return _compares(own, constraint)
    fitting = select(crash_words.c.crash_id).where(
        crash_words.c.name == name, _compares(crash_words.c.value, constraint)
    )
    return crashes.c.id.in_(fitting)


def _compares(column: ColumnElement[str], constraint: Constraint) -> ColumnElement[bool]:
    value = constraint.value
    if constraint.comparison is Comparison.EQUAL:
        return column == value
    prefix = value[: min(value.find(each) % (len(value) + 1) for each in "*?")]
    in_range = begins(column, prefix)
    if value == f"{prefix}*":
        return in_range
    return and_(in_range, matches_glob(column, value))


def begins(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """That a text begins so, as a range, which an index has together."""
    if not prefix:
        return column.is_not(None)
    # bound as they are: a column's own type would cut them
    first, last = (literal(storable(text), Text()) for text in (prefix, prefix + _LAST))
    return and_(column >= first, column < last)


def _is_named(name: str) -> ColumnElement[bool]:
    return or_(crash_words.c.name == name, begins(crash_words.c.name, f"{name}."))
