"""``cas object FILE``: what the crash of a dump is called, whichever file of it is given."""

from __future__ import annotations

import argparse
from pathlib import Path

from cas.commands.invocation import Output, World, file_of
from cas.files.whole import is_there
from cas.text import json_text

PLACE = 8
HELP = "tell the id of a dump's crash"
EXAMPLE = "cas object FILE"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "the dump, packed or not, or its URL"
    parser.add_argument("dump", metavar="FILE", help=text)
    parser.add_argument("--json", action="store_true", help="print everything, as JSON")


def uploads(options: argparse.Namespace) -> tuple[Path, ...]:
    """The file, if it must be unpacked, which is not for root to do."""
    from cas.commands.uploaded import packed_files
    from cas.fetch.url import is_url

    return () if is_url(options.dump) else packed_files(file_of(options.dump))


def run(options: argparse.Namespace, world: World) -> Output:
    """Print the id; one that may be that of another crash, too, is told to be so.

    :raises NotADump: it is no dump
    :raises CasError: it cannot be fetched or unpacked
    """
    from cas.commands.answers import VERSION
    from cas.commands.uploaded import crash_id_of_upload, crash_id_of_url
    from cas.fetch.url import is_url

    if is_url(options.dump) and not is_there(Path(options.dump)):
        found = crash_id_of_url(options.dump, world)
    else:
        found = crash_id_of_upload(file_of(options.dump), world)
    if options.json:
        yield json_text({"version": VERSION, "id": found.value, "is_weak": found.is_weak}, indent=1)
        return 0
    if found.is_weak:
        world.progress.warn(
            "this dump does not tell when it crashed: another crash may have the same id"
        )
    yield found.value
    return 0
