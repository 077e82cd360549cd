"""``cas unhold SPEC``: let crashes be purged again."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World

PLACE = 19
HELP = "let crashes be purged again that were held"
EXAMPLE = "cas unhold T-1234"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("words", metavar="SPEC", nargs="+", help="which crashes")


def run(options: argparse.Namespace, world: World) -> Output:
    """Let go of them, whoever holds them.

    :raises Garbage: a word cannot be meant
    :raises TryAgain: the database is of no use now; what was let go of is recorded all the same
    """
    from cas.archive.annotation import without_holds
    from cas.commands.archive_access import change_all, opened_archive
    from cas.commands.crash_spec import chosen_crashes

    archive = opened_archive(world)
    selection = chosen_crashes(options.words, world, archive)
    return (yield from change_all(selection, archive, without_holds, "unhold", world))
