"""What ``cas ls`` prints: a table of crashes, or an array of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from cas.archive.archive import Archive
from cas.archive.constraints import property_name
from cas.archive.shown import column_text, property_of
from cas.commands.crash_lines import COLUMNS, HEADER, UNSET, ls_columns, ls_line, ls_table
from cas.commands.invocation import World
from cas.commands.mistakes import without_secrets
from cas.model.archived import USERS, Comparison, CrashLine, Selection
from cas.text import json_text, short_line

NAME_LIMIT = 200
"""Characters of a property's name that is asked for."""


def crash_table(selection: Selection, names: Sequence[str], archive: Archive) -> Iterator[str]:
    """A line for each crash, with the properties that are asked for."""
    if not names:
        lines = archive.store.crashes.lines(selection)
        first = list(islice(lines, 1))  # a database that is of no use is told without a header
        yield HEADER
        yield from map(ls_line, chain(first, lines))
        return
    # the last part of a dotted name, as Thoth has it
    head = (*COLUMNS, *(name.rpartition(".")[2] for name in names))
    yield from ls_table(head, _cells(selection, names, archive))


def crash_array(selection: Selection, names: Sequence[str], archive: Archive) -> Iterator[str]:
    """A line of JSON for each crash, which together are an array."""
    before = "["
    for line, values in crashes_with(selection, names, archive):
        yield before + json_text(crash_object(line) | dict(zip(names, values, strict=True)))
        before = ","
    yield "]" if before == "," else "[]"


def unknown_properties(
    selection: Selection, names: Sequence[str], archive: Archive
) -> tuple[str, ...]:
    """What is asked for or compared though no crash has it by itself and nobody has set it."""
    undefined = Comparison.UNDEFINED
    compared = (one.name for one in selection.constraints if one.comparison is not undefined)
    known = archive.store.crashes.has_property
    asked = dict.fromkeys((*map(property_name, names), *compared))
    unknown = (name for name in asked if name.startswith(f"{USERS}.") and not known(name))
    return tuple(name.removeprefix(f"{USERS}.") for name in unknown)


def tell_unknown(
    selection: Selection, names: Sequence[str], archive: Archive, world: World
) -> None:
    """Say which of the properties no crash has: a name may be misspelt."""
    for name in unknown_properties(selection, names, archive):
        said = short_line(without_secrets(name), NAME_LIMIT)
        world.progress.warn(f"no crash has the property {said}; to see what it has: cas info SPEC")


def crash_object(line: CrashLine) -> dict[str, Any]:
    """A crash in JSON, by the properties that a line of ``cas ls`` has."""
    return {
        "id": line.id,
        "type": line.type,
        "time": line.time_s,
        "node": line.node,
        "cmd": line.cmd,
        "ticket": line.ticket,
    }


def _cells(selection: Selection, names: Sequence[str], archive: Archive) -> Iterator[list[str]]:
    for line, values in crashes_with(selection, names, archive):
        yield [*ls_columns(line), *(UNSET if v is None else column_text(v) for v in values)]


def crashes_with(
    selection: Selection, names: Sequence[str], archive: Archive
) -> Iterator[tuple[CrashLine, list[Any]]]:
    """Each crash, and the values of its properties."""
    if not names:
        yield from ((line, []) for line in archive.store.crashes.lines(selection))
        return
    whole = [property_name(name) for name in names]
    for line, presence, text in archive.store.crashes.infos(selection):
        # not msgspec's reader: names of files that are no text have surrogates
        info = {**json.loads(text), "presence": presence.value}
        yield line, [property_of(info, name) for name in whole]
