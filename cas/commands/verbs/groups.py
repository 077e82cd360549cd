"""``cas groups [SPEC]``: crashes with something in common, and what is unusual in each group."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World, more_words

PLACE = 13
HELP = "group crashes, and tell what is unusual in each group"
EXAMPLE = "cas groups mtime=month --by model"
BY = ("signature", "host", "model", "reason")
take_others = more_words


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "which crashes: see Specifications in cas(1); without any, all"
    parser.add_argument("words", metavar="SPEC", nargs="*", help=text)
    text = "what those of a group have in common; usually signature"
    parser.add_argument("--by", choices=BY, default=BY[0], help=text)
    parser.add_argument("--json", action="store_true", help="print everything, as JSON")


def run(options: argparse.Namespace, world: World) -> Output:
    """Print a line for each group, the largest first, and below it what is unusual in it.

    :raises Garbage: a word cannot be meant
    :raises TryAgain: the database is of no use now
    """
    from cas.archive.groups import By, groups_of
    from cas.commands.answers import VERSION
    from cas.commands.archive_access import opened_archive
    from cas.commands.crash_groups import group_lines, group_object
    from cas.commands.crash_lines import fitting
    from cas.commands.crash_spec import chosen_crashes
    from cas.text import json_text

    archive, by = opened_archive(world), By(options.by)
    selection = chosen_crashes(options.words, world, archive)
    found = groups_of(selection, by, archive.store.crash_groups)
    if options.json:
        told = [group_object(group) for group in found]
        yield json_text({"version": VERSION, "by": by, "groups": told}, indent=1)
    else:
        yield from fitting(group_lines(found, by))
    return 0
