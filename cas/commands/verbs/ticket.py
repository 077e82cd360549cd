"""``cas ticket SPEC TICKET``: give crashes a ticket, which keeps them from being purged."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World

PLACE = 16
HELP = "give crashes a ticket, which keeps them"
EXAMPLE = "cas ticket 76998f82 T-1234"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "which crashes, then the ticket"
    parser.add_argument("words", metavar="WORD", nargs="+", help=text)


def run(options: argparse.Namespace, world: World) -> Output:
    """Give it.

    :raises UsageError: a word lacks
    :raises Garbage: a word cannot be meant, or the last one is no ticket
    :raises TryAgain: the database is of no use now; the ticket is recorded all the same
    """
    from functools import partial

    from cas.archive.annotation import checked_ticket, with_ticket
    from cas.commands.archive_access import change_all, opened_archive
    from cas.commands.crash_spec import chosen_crashes
    from cas.errors import UsageError

    *words, last = options.words
    if not words:
        raise UsageError("it takes SPEC TICKET", hint=f"for example: {EXAMPLE}")
    ticket = checked_ticket(last)
    archive = opened_archive(world)
    selection = chosen_crashes(words, world, archive)
    change = partial(with_ticket, ticket=ticket)
    return (yield from change_all(selection, archive, change, f"ticket {ticket}", world))
