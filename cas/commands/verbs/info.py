"""``cas info SPEC``: everything that the archive knows of crashes, an object each."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World, more_words

PLACE = 10
HELP = "print what is known of crashes, as JSON"
EXAMPLE = "cas info ticket=T-1234 | jq .stack"
NONE = 2
take_others = more_words


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "which crashes: see Specifications in cas(1); also a dump that is still to be uploaded"
    parser.add_argument("words", metavar="SPEC", nargs="*", help=text)
    parser.add_argument("--json", action="store_true", help="the same: it is JSON already")


def run(options: argparse.Namespace, world: World) -> Output:
    """Print an object for each crash, one after another; status 2 where there is none.

    :raises Garbage: a word cannot be meant
    :raises TryAgain: the database is of no use now
    """
    import json

    from cas.archive.constraints import Garbage
    from cas.commands.archive_access import opened_archive
    from cas.commands.crash_spec import chosen_crashes
    from cas.text import json_text

    if not options.words:  # status 2 would say that there is no such crash
        raise Garbage("it takes SPEC", hint=f"for example: {EXAMPLE}; of all: cas info type=*")
    archive = opened_archive(world)
    selection = chosen_crashes(options.words, world, archive)
    archive.index.look_after_files(selection)
    status = NONE
    for _, presence, text in archive.store.crashes.infos(selection):
        yield json_text({**json.loads(text), "presence": presence}, indent=4)
        status = 0
    if status:
        world.progress.warn("no crash of the archive is meant; to see what it has: cas ls")
    return status
