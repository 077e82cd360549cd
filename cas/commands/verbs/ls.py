"""``cas ls [SPEC] [PROPERTY…]``: the crashes of the archive, a line each, oldest first."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cas.commands.invocation import Output, World, more_words

if TYPE_CHECKING:
    from cas.archive.archive import Archive
    from cas.model.archived import Selection

PLACE = 9
HELP = "list crashes of the archive"
EXAMPLE = "cas ls mtime=3d 'node=web*'"
take_others = more_words


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "which crashes (see Specifications in cas(1)), then properties to print besides"
    parser.add_argument("words", metavar="WORD", nargs="*", help=text)
    parser.add_argument("--json", action="store_true", help="print an array of objects")


def run(options: argparse.Namespace, world: World) -> Output:
    """List them; of nothing the header is printed.

    :raises Garbage: a word cannot be meant
    :raises TryAgain: the database is of no use now
    """
    from dataclasses import replace

    from cas.commands.archive_access import opened_archive
    from cas.commands.crash_listing import NAME_LIMIT, crash_array, crash_table, tell_unknown
    from cas.commands.crash_spec import leading_crashes
    from cas.commands.mistakes import without_secrets
    from cas.text import short_line

    archive = opened_archive(world)
    meant = leading_crashes(options.words, world, archive)
    names, selection = meant.rest, meant.selection
    _require_names(names)
    if len(names) == len(options.words) > 0 and not _is_property(names[0], archive):
        said = short_line(without_secrets(names[0]), NAME_LIMIT)
        world.progress.warn(
            f"{said} is neither archived nor a property of any crash; to see what there is: "
            "cas ls, cas info SPEC"
        )
        selection, names = replace(selection, ids=()), ()
    tell_unknown(selection, names, archive, world)
    if _asks_for_presence(selection, names):
        archive.index.look_after_files()
    yield from (crash_array if options.json else crash_table)(selection, names, archive)
    return 0


def _require_names(names: Sequence[str]) -> None:
    from cas.archive.constraints import Garbage
    from cas.commands.crash_listing import NAME_LIMIT
    from cas.text import short_line

    if wrong := next((name for name in names if "=" in name), None):
        raise Garbage(
            f"{short_line(wrong, NAME_LIMIT)} stands behind a property",
            hint="constraints come first, then properties",
        )
    if any(not 0 < len(name) <= NAME_LIMIT for name in names[1:]) or "" in names:
        raise Garbage(f"the name of a property has 1 to {NAME_LIMIT} characters")


def _is_property(name: str, archive: Archive) -> bool:
    from cas.archive.constraints import property_name
    from cas.model.archived import USERS

    whole = property_name(name)
    return not whole.startswith(f"{USERS}.") or archive.store.crashes.has_property(whole)


def _asks_for_presence(selection: Selection, names: Sequence[str]) -> bool:
    asked = (*names, *(each.name for each in selection.constraints))
    return "presence" in asked
