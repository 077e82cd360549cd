"""``cas-admin kernels``: which kernels there is debug information of, and where."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from cas.commands import Output, World
from cas.text import json_text, one_line
from cas_admin.columns import aligned_lines

PLACE = 8
HELP = "list the kernels in the catalogue"
EXAMPLE = "one pattern, in quotes: cas-admin kernels '5.14.*'"
NOTHING_FOUND = 1
VERSION = 1
COLUMNS = ("RELEASE", "ARCH", "FLAVOUR", "BUILD-ID", "PACKAGE")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "of a release or of a package's name, or the beginning of a build-id"
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", help=text)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(options: argparse.Namespace, world: World) -> Output:
    """Print the catalogued kernels, sorted by release.

    :return: status 1 when there is none
    :raises TryAgain: the database cannot be used
    """
    from cas.database.store import Store

    found = Store.of(world.config).kernels.listed(options.pattern)
    if not found:
        why = (
            f"no kernel is catalogued: put packages below {world.config.kernels}, then: "
            "cas-admin -b"
        )
        if options.pattern is not None:
            why = (
                f"no catalogued kernel has a release like {options.pattern}, a build-id that "
                "begins with it (at least 6 digits), or a package whose name has it; all of them: "
                "cas-admin kernels"
            )
        world.progress.warn(why)
    if options.json:
        facts = [asdict(kernel) for kernel in found]
        yield json_text({"version": VERSION, "kernels": facts}, indent=1, default=str)
    else:
        rows = ((it.release, it.arch, it.flavour, it.build_id, str(it.path)) for it in found)
        cells = [tuple(one_line(fact) if fact else "-" for fact in row) for row in rows]
        yield from aligned_lines(COLUMNS, cells)
    return 0 if found else NOTHING_FOUND
