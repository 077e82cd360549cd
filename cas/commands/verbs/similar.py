"""``cas similar SPEC``: other crashes that are called the same, or nearly so."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World

PLACE = 12
HELP = "list crashes with the same signature, then similar ones"
EXAMPLE = "cas similar 76998f82"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "a crash: see Specifications in cas(1)"
    parser.add_argument("words", metavar="SPEC", nargs="+", help=text)
    parser.add_argument("--json", action="store_true", help="print everything, as JSON")


def run(options: argparse.Namespace, world: World) -> Output:
    """List them as ``ls`` does, with how alike they are; of none the header.

    :raises CasError: there is no such crash, or it has no signature
    """
    from cas.commands.answers import VERSION
    from cas.commands.crash_lines import COLUMNS, ls_columns, ls_table
    from cas.commands.crash_listing import crash_object
    from cas.commands.likeness import alike_crashes
    from cas.commands.meant_job import meant_crash
    from cas.text import json_text

    info, archive = meant_crash(options.words, world)
    found = alike_crashes(info, archive)
    if options.json:
        told = [crash_object(one.line) | {"alike": one.alike, "by": one.by} for one in found]
        yield json_text({"version": VERSION, "id": info.id, "crashes": told}, indent=1)
    else:
        rows = ((*ls_columns(one.line), f"{one.alike} ({one.by})") for one in found)
        yield from ls_table((*COLUMNS, "alike"), rows)
    return 0
