"""``cas set SPEC PROPERTY [VALUE]``: what people say of crashes."""

from __future__ import annotations

import argparse
import sys

from cas.commands.invocation import Output, World

PLACE = 14
HELP = "set a property of crashes"
EXAMPLE = "cas set 76998f82 triage bmc"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "which crashes, a property, and its value: a text or JSON; without one, standard input"
    parser.add_argument("words", metavar="WORD", nargs="+", help=text)


def run(options: argparse.Namespace, world: World) -> Output:
    """Set it.

    :raises UsageError: a word lacks
    :raises Garbage: a word cannot be meant
    :raises NotArchived: the first word means nothing that is archived
    :raises TryAgain: the database is of no use now; what was set is recorded all the same
    """
    from functools import partial

    from cas.archive.annotation import VALUE_LIMIT, checked_name, value_of, with_property
    from cas.commands.archive_access import change_all, opened_archive
    from cas.commands.crash_spec import crashes_and_rest
    from cas.errors import UsageError

    archive = opened_archive(world)
    meant = crashes_and_rest(options.words, world, archive, fewest=2)
    if len(meant.rest) not in (1, 2) or len(meant.rest) == len(options.words):
        raise UsageError("it takes SPEC PROPERTY [VALUE]", hint=f"for example: {EXAMPLE}")
    name = checked_name(meant.rest[0])
    if len(meant.rest) > 1:
        value = value_of(meant.rest[1])
    else:
        value = value_of(sys.stdin.read(VALUE_LIMIT + 1).strip())
    change = partial(with_property, name=name, value=value)
    return (yield from change_all(meant.selection, archive, change, f"set {name}", world))
