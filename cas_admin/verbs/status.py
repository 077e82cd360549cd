"""``cas-admin status``: one screen that says what is there, what waits, and what is wrong."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cas.commands import Output, World
from cas.text import json_text, short_line
from cas.units import plain

if TYPE_CHECKING:
    pass

PLACE = 6
HELP = "show what is catalogued, kept, waiting and wrong"
EXAMPLE = "cas-admin status tells of everything; a ticket's results lie below `workDirectory`"
PARTIAL = 3
VERSION = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(options: argparse.Namespace, world: World) -> Output:
    """Print everything that an administrator asks first.

    :return: status 3 when a part could not be found out
    """
    from cas_admin.status_asking import ask_all_parts

    parts = ask_all_parts(world)
    if options.json:
        facts = {
            part.name: part.found.facts if part.found else {"problem": part.problem}
            for part in parts
        }
        yield json_text({"version": VERSION, **facts}, indent=1, default=plain)
    # one line each; what several parts lack for the same reason is said in full once
    first: dict[str, str] = {}
    for part in () if options.json else parts:
        yield part.name.upper()
        if part.found:
            yield from (f"  {short_line(line)}" for line in part.found.lines)
            continue
        where = first.setdefault(part.problem, part.name)
        said = part.problem if where == part.name else f"the same as of {where.upper()}"
        yield f"  {short_line(f'! {said}')}"
    return PARTIAL if any(part.found is None for part in parts) else 0
