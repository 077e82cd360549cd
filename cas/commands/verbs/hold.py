"""``cas hold SPEC [REASON]``: keep crashes from every purge, and say why."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World

PLACE = 18
HELP = "keep crashes from every purge, with a reason"
EXAMPLE = "cas hold T-1234 'asked for by the customer until May'"
REASON_LIMIT = 1000


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "which crashes, then why they are held"
    parser.add_argument("words", metavar="SPEC", nargs="+", help=text)


def run(options: argparse.Namespace, world: World) -> Output:
    """Hold them; who holds one already has a new reason.

    :raises Garbage: a word cannot be meant
    :raises NotArchived: the first word means nothing that is archived
    :raises TryAgain: the database is of no use now; what was held is recorded all the same
    """
    from functools import partial

    from cas.archive.annotation import with_hold
    from cas.archive.constraints import Garbage
    from cas.commands.archive_access import change_all, opened_archive
    from cas.commands.crash_spec import crashes_and_rest
    from cas.settings.person import person

    archive = opened_archive(world)
    meant = crashes_and_rest(options.words, world, archive, fewest=1)
    why = " ".join(meant.rest)
    if len(why) > REASON_LIMIT:
        raise Garbage(f"a reason has {REASON_LIMIT} characters at most")
    by, at_s = person(world.environment, world.config), int(world.now.timestamp())
    change = partial(with_hold, why=why, by=by, at_s=at_s)
    return (yield from change_all(meant.selection, archive, change, "hold", world))
