"""``cas unticket SPEC [TICKET]``: take back tickets that were given."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World

PLACE = 17
HELP = "take a ticket from crashes, or all that were given"
EXAMPLE = "cas unticket 76998f82 T-1234"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "which crashes, then a ticket if not all shall go"
    parser.add_argument("words", metavar="WORD", nargs="+", help=text)


def run(options: argparse.Namespace, world: World) -> Output:
    """Take them back; the ticket of a job goes with the job.

    :raises UsageError: a word lacks
    :raises Garbage: a word cannot be meant
    :raises NotArchived: the first word means nothing that is archived
    :raises TryAgain: the database is of no use now; what was taken back is recorded all the same
    """
    from functools import partial

    from cas.archive.annotation import checked_ticket, without_ticket
    from cas.commands.archive_access import change_all, opened_archive
    from cas.commands.crash_spec import crashes_and_rest
    from cas.errors import UsageError
    from cas.model.archived import Selection

    archive = opened_archive(world)
    meant = crashes_and_rest(options.words, world, archive, fewest=1)
    if len(meant.rest) > 1:
        raise UsageError("it takes SPEC [TICKET]", hint=f"for example: {EXAMPLE}")
    ticket = checked_ticket(meant.rest[0]) if meant.rest else None
    what = f"unticket {ticket}" if ticket else "unticket all"
    change = partial(without_ticket, ticket=ticket)
    # which are meant by their tickets is settled before these go
    ids = tuple(line.id for line in archive.store.crashes.lines(meant.selection))
    status = yield from change_all(Selection(ids=ids), archive, change, what, world)
    left = [line for line in archive.store.crashes.lines(Selection(ids=ids)) if line.ticket]
    number = sum(ticket is None or ticket in (line.ticket or "").split(",") for line in left)
    if number:
        who = "1 crash keeps" if number == 1 else f"{number:,} crashes keep"
        world.progress.warn(f"{who} {ticket or 'a ticket'}: that of a job goes with the job")
    return status
