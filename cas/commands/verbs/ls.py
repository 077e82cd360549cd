"""``cas ls [SPEC] [PROPERTY…]``: the crashes of the archive, a line each, oldest first."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cas.commands.invocation import Output, World

if TYPE_CHECKING:
    from cas.archive.archive import Archive
    from cas.model.archived import Selection

PLACE = 5
HELP = "list crashes of the archive"
EXAMPLE = "cas ls mtime=3d node=web*"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "which crashes (see SPECIFICATIONS in cas(1)), then properties to print besides"
    parser.add_argument("words", metavar="WORD", nargs="*", help=text)
    parser.add_argument("--json", action="store_true", help="print an array of objects")


def run(options: argparse.Namespace, world: World) -> Output:
    """List them; of nothing the header is printed.

    :raises Garbage: a word cannot be meant
    :raises TryAgain: the database is of no use now
    """
    from cas.commands.archive_access import opened_archive
    from cas.commands.crash_lines import HEADER, ls_line
    from cas.commands.crash_spec import leading_crashes

    archive = opened_archive(world)
    meant = leading_crashes(options.words, world, archive)
    names, selection = meant.rest, meant.selection
    _require_names(names)
    if len(names) == len(options.words) > 0 and not _is_property(names[0], archive):
        world.progress.warn(f"{names[0]} is neither archived nor a property of any crash")
        selection, names = _none(selection), ()
    if _asks_for_presence(selection, names):
        archive.look_after_files()
    if options.json:
        yield from _objects(selection, names, archive)
    elif names:
        yield from _table(selection, names, archive)
    else:
        yield HEADER
        yield from map(ls_line, archive.store.crashes.lines(selection))
    return 0


def _require_names(names: Sequence[str]) -> None:
    from cas.archive.constraints import Garbage

    if wrong := next((name for name in names if "=" in name), None):
        raise Garbage(
            f"{wrong} stands behind a property", hint="constraints come first, then properties"
        )


def _is_property(name: str, archive: Archive) -> bool:
    from cas.archive.constraints import property_name
    from cas.archive.facts import PROPERTIES

    whole = property_name(name)
    return whole.partition(".")[0] in PROPERTIES and (
        not whole.startswith("properties.") or archive.store.crashes.has_property(whole)
    )


def _none(selection: Selection) -> Selection:
    from dataclasses import replace

    return replace(selection, ids=())


def _asks_for_presence(selection: Selection, names: Sequence[str]) -> bool:
    asked = (*names, *(each.name for each in selection.constraints))
    return "presence" in asked


def _rows(
    selection: Selection, names: Sequence[str], archive: Archive
) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    """The usual columns of each crash, and the values of its properties."""
    import msgspec

    from cas.archive.constraints import property_name
    from cas.archive.shown import property_of
    from cas.commands.crash_lines import ls_columns

    whole = [property_name(name) for name in names]
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for line, presence, text in archive.store.crashes.infos(selection):
        info = {**decode(text), "presence": presence.value}
        yield ls_columns(line), [property_of(info, name) for name in whole]


def _table(selection: Selection, names: Sequence[str], archive: Archive) -> Iterator[str]:
    from cas.archive.shown import column_text
    from cas.commands.crash_lines import COLUMNS, UNSET, ls_row

    head = (*COLUMNS, *(name.rpartition(".")[2] for name in names))
    rows = [tuple(name.upper() for name in head)]
    for columns, values in _rows(selection, names, archive):
        rows.append((*columns, *(UNSET if v is None else column_text(v) for v in values)))
    widths = tuple(max(map(len, column)) for column in zip(*rows, strict=True))
    for row in rows:
        yield ls_row(row, (*widths[:-1], 0))


def _objects(selection: Selection, names: Sequence[str], archive: Archive) -> Iterator[str]:
    from cas.commands.crash_lines import COLUMNS, UNSET
    from cas.text import json_text

    before = "["
    for columns, values in _rows(selection, names, archive):
        told = (None if each == UNSET else each for each in columns)
        found = dict(zip(COLUMNS, told, strict=True)) | dict(zip(names, values, strict=True))
        yield before + json_text(found)
        before = ","
    yield "]" if before == "," else "[]"
