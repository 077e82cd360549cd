"""``cas move SPEC --to STORE``: the files of crashes to a store, or back to this machine."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from cas.commands.invocation import Output, World

PLACE = 24
HELP = "move dumps of the archive to a store, and back"
EXAMPLE = "cas move 76998f82 --to s3://BUCKET/PREFIX, and back: cas move 76998f82 --to local"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("words", metavar="SPEC", nargs="*", help="which crashes")
    text = "s3://BUCKET/PREFIX (or gs://, az://), or local: this machine"
    parser.add_argument("--to", metavar="STORE", dest="target", help=text)
    text = "what nobody has used for `tierAfter` of cas.conf, to its `tierStore`"
    parser.add_argument("--due", action="store_true", dest="is_due", help=text)
    text = "say what would be moved, and move nothing"
    parser.add_argument("-n", "--dry-run", action="store_true", help=text)


def run(options: argparse.Namespace, world: World) -> Output:
    """Move them; what is in use, or waited for, stays and is told.

    :return: 0, or 1 where some stay
    :raises Garbage: a word cannot be meant
    :raises UsageError: it is not said what is to be moved, or to where
    :raises ConfigError: cas.conf does not say where the store is, or what is due
    :raises CasError: a file could not be moved
    """
    from cas.archive.archive import with_spare_room
    from cas.archive.move_notes import LOCAL
    from cas.commands.moving import MoveOrder, move

    order = MoveOrder(tuple(options.words), options.target, options.is_due, options.dry_run)
    with with_spare_room(world.config) if order.target != LOCAL else nullcontext():
        return (yield from move(order, world))
