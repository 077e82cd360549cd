"""``cas unset SPEC PROPERTY``: take back what was set."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World

PLACE = 15
HELP = "take away a property that was set"
EXAMPLE = "cas unset 76998f82 triage"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "which crashes, then a property"
    parser.add_argument("words", metavar="WORD", nargs="+", help=text)


def run(options: argparse.Namespace, world: World) -> Output:
    """Take it away; what a crash has by itself stays.

    :raises UsageError: a word lacks
    :raises Garbage: a word cannot be meant
    :raises NotArchived: the first word means nothing that is archived
    :raises TryAgain: the database is of no use now; what was taken away is recorded all the same
    """
    from functools import partial

    from cas.archive.annotation import checked_name, without_property
    from cas.commands.archive_access import change_all, opened_archive
    from cas.commands.crash_spec import crashes_and_rest
    from cas.errors import UsageError

    archive = opened_archive(world)
    meant = crashes_and_rest(options.words, world, archive, fewest=2)
    if len(meant.rest) != 1 or len(options.words) == 1:
        raise UsageError("it takes SPEC PROPERTY", hint=f"for example: {EXAMPLE}")
    name = checked_name(meant.rest[0])
    change = partial(without_property, name=name)
    return (yield from change_all(meant.selection, archive, change, f"unset {name}", world))
