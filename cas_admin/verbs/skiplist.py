"""``cas-admin skiplist``: known crashes that a crash kernel need not dump once more."""

from __future__ import annotations

import argparse

from cas.commands import Output, World

PLACE = 13
HELP = "list signatures of which a whole dump is kept, for crash kernels"
EXAMPLE = "cas-admin skiplist --at-least 2 > skiplist"
VERSION = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "only those that so many crashes have (1)"
    parser.add_argument("--at-least", metavar="N", type=int, default=1, help=text)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(options: argparse.Namespace, world: World) -> Output:
    """Print a line for each, below one that says by which rules they are made.

    :raises UsageError: the number is none
    :raises TryAgain: the database is of no use now
    """
    from cas.archive.skiplist import known_crashes
    from cas.commands.archive_access import opened_archive
    from cas.errors import UsageError
    from cas.findings.signature import VERSION as RULES
    from cas.model.finding import SAME
    from cas.text import json_text, one_line

    if options.at_least < 1:
        raise UsageError(f"--at-least {options.at_least}: it is a number from 1 on", hint=EXAMPLE)
    found = known_crashes(opened_archive(world), options.at_least)
    if options.json:
        crashes = [
            {
                "signature": one.signature,
                "crashes": one.crashes,
                "exemplar": one.exemplar,
                "title": one.title,
            }
            for one in found
        ]
        told = {"version": VERSION, "rules": RULES, "granularity": SAME, "crashes": crashes}
        yield json_text(told, indent=1)
        return 0
    yield f"# cas skiplist {VERSION}, rules {RULES}, {SAME}: SIGNATURE CRASHES EXEMPLAR TITLE"
    for one in found:
        title = one_line(one.title or "-")
        yield f"{one.signature} {one.crashes} {one.exemplar} {title}"
    return 0
