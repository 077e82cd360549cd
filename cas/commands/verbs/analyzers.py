"""``cas analyzers``: the analyzers that there are."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World

PLACE = 22
HELP = "list the analyzers"
EXAMPLE = "cas analyzers"
_DIGITS = 12


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="print everything, as JSON")


def run(options: argparse.Namespace, world: World) -> Output:
    """List them, the shipped ones too.

    :raises CasError: they cannot be read
    """
    from datetime import UTC, datetime

    from cas.analyzers.library import Library
    from cas.archive.archive import Archive
    from cas.files.record import VERSION
    from cas.text import json_text, one_line

    found = Library(Archive.of(world.config)).all().values()
    if options.json:
        facts = [
            {
                "name": each.name,
                "kind": each.kind,
                "author": each.author,
                "added": each.added_s,
                "digest": f"sha256:{each.digest}",
                "auto": each.is_auto and each.is_trusted,
                "needs": list(each.needs),
                "title": each.title,
            }
            for each in found
        ]
        yield json_text({"version": VERSION, "analyzers": facts}, indent=1)
        return 0
    rows = [("NAME", "KIND", "AUTO", "DIGEST", "ADDED", "AUTHOR", "TITLE")]
    for each in found:
        day = datetime.fromtimestamp(each.added_s, UTC) if each.added_s else None
        rows.append(
            (
                *(each.name, each.kind, "yes" if each.is_auto and each.is_trusted else "-"),
                *(each.digest[:_DIGITS], f"{day:%Y-%m-%dT%H:%M:%S}" if day else "-"),
                *(each.author or "shipped", each.title or "-"),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (one_line(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        yield " ".join(cells).rstrip()
    return 0
