"""``cas analyzer NAME < FILE``: keep an analyzer, or remove one."""

from __future__ import annotations

import argparse
import sys

from cas.commands.invocation import Done, Output, World

PLACE = 21
HELP = "add, replace or remove an analyzer"
EXAMPLE = "cas analyzer fmri < fmri.sh"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("name", metavar="NAME", help="what it is called")
    parser.add_argument("--remove", action="store_true", help="remove it")


def run(options: argparse.Namespace, world: World) -> Output:
    """Take what standard input has as an analyzer; nothing of it is run.

    :raises WrongAnalyzer: its name, its text or what it needs is of no use
    :raises Refused: it would run by itself, and this user does not own the archive
    :raises CasError: it cannot be written
    """
    from cas.analyzers.analyzer import TEXT_LIMIT, Analyzer, checked_analyzer_name
    from cas.analyzers.library import Library
    from cas.archive.archive import Archive
    from cas.commands.analyzing import archive_owner
    from cas.errors import UsageError
    from cas.settings.person import person

    name = checked_analyzer_name(options.name)
    archive = Archive.of(world.config)
    library = Library(archive)
    if options.remove:
        library.remove(name)
        yield Done(f"removed analyzer '{name}'")
        return 0
    if world.is_interactive:
        raise UsageError("nothing is piped in", hint=f"for example: cas analyzer {name} < FILE")
    world.progress.say(f"reading analyzer '{name}' from stdin")
    text = sys.stdin.buffer.read(TEXT_LIMIT + 1)
    by, at_s = person(world.environment, world.config), int(world.now.timestamp())
    analyzer = Analyzer(name, text, by, at_s)
    is_new = name not in library.all()
    library.add(analyzer, owner=archive_owner(archive, world))
    yield Done(f"{'added' if is_new else 'replaced'} analyzer '{name}' ({analyzer.kind})")
    return 0
