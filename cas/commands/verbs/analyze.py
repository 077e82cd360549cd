"""``cas analyze SPEC ANALYZER``: run an analyzer on every crash that is meant."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World

PLACE = 20
HELP = "run an analyzer, or a debugger's command, on crashes"
EXAMPLE = "cas analyze mtime=1w signature"
EXAMPLES = """\
examples:
  cas analyze T-1234 hung-tasks         an analyzer on the crash of a ticket
  cas analyze mtime=1w fmri             on all of the last week
  cas analyze 'node=web*' 'bt -a'       a command of the debugger
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    text = "which crashes (see Specifications in cas(1)), then an analyzer or a command"
    parser.add_argument("words", metavar="WORD", nargs="+", help=text)
    text = "so many crashes at a time; default: as many as there are processors"
    parser.add_argument("--jobs", metavar="N", type=int, help=text)
    text = "seconds for one crash; default: 300"
    parser.add_argument("--timeout", metavar="S", type=float, help=text)


def run(options: argparse.Namespace, world: World) -> Output:
    """Run it; what it prints stands in the order of the crashes, oldest first.

    :raises UsageError: a word lacks
    :raises Garbage: a word cannot be meant
    :raises NoAnalyzer: there is no such analyzer
    :raises TryAgain: the database is of no use now; what was said is recorded all the same
    """
    from cas.commands.analyzing import Wanted, analyze
    from cas.commands.archive_access import opened_archive
    from cas.commands.crash_spec import chosen_crashes
    from cas.errors import UsageError

    *words, name = options.words
    if not words:
        raise UsageError("it takes SPEC ANALYZER", hint=f"for example: {EXAMPLE}")
    for option, value in (("--jobs", options.jobs), ("--timeout", options.timeout)):
        if value is not None and value <= 0:
            raise UsageError(f"{option} takes a number above 0", hint=f"for example: {EXAMPLE}")
    archive = opened_archive(world)
    selection = chosen_crashes(words, world, archive)
    wanted = Wanted(tuple(words), name, options.jobs, options.timeout)
    return (yield from analyze(selection, wanted, archive, world))
