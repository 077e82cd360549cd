"""``cas report [SPEC] [PROPERTY]``: how many crashes have which value of a property."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World, more_words

PLACE = 11
HELP = "count crashes, or the values of a property"
EXAMPLE = "cas report mtime=month release"
take_others = more_words


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "which crashes (see Specifications in cas(1)), then a property"
    parser.add_argument("words", metavar="WORD", nargs="*", help=text)
    parser.add_argument("--json", action="store_true", help="the same: it is JSON already")


def run(options: argparse.Namespace, world: World) -> Output:
    """Print an object of values and counts, the most frequent first; without a property the count.

    :raises Garbage: a word cannot be meant
    :raises TryAgain: the database is of no use now
    """
    from dataclasses import replace

    from cas.archive.constraints import Garbage, property_name
    from cas.commands.archive_access import opened_archive
    from cas.commands.crash_listing import tell_unknown
    from cas.commands.crash_spec import leading_crashes
    from cas.model.archived import Comparison, Constraint
    from cas.text import json_text

    archive = opened_archive(world)
    meant = leading_crashes(options.words, world, archive)
    if len(meant.rest) > 1 or "=" in "".join(meant.rest):
        raise Garbage("a report is on one property, which stands last", hint=EXAMPLE)
    tell_unknown(meant.selection, meant.rest, archive, world)
    if not meant.rest:
        yield str(archive.store.crashes.count(meant.selection))
        return 0
    name = property_name(meant.rest[0])
    if name == "presence":
        archive.index.look_after_files(meant.selection)
    crashes = archive.store.crashes
    found = dict(crashes.tally(meant.selection, name))
    undefined = Constraint(name, Comparison.UNDEFINED)
    unset = replace(meant.selection, constraints=(*meant.selection.constraints, undefined))
    if not found and crashes.count(unset) < crashes.count(meant.selection):
        world.progress.warn(
            f"what {meant.rest[0]} has are objects, which are not counted: "
            f"name a property of them, as {meant.rest[0]}.NAME"
        )
    yield json_text(found, indent=2)
    return 0
