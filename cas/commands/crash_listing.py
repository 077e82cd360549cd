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
from cas.model.archived import CrashLine, Selection
from cas.text import json_text


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
