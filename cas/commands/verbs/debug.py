"""``cas debug SPEC``: a debugger on a job's dump, for a person, a script or a few commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cas.choices import EngineChoice
from cas.commands.debug_options import ForCrash, for_crash
from cas.commands.invocation import Output, Parser, World, engine_choice

PLACE = 2
HELP = "open a debugger on a dump"
EXAMPLE = "cas debug TICKET, or one command: cas debug TICKET -c bt"
EXAMPLES = """\
examples:
  cas debug T-1234                      a session on the ticket's only job
  cas debug T-1234/latest -c bt -c ps   two commands on the newest
  echo log | cas debug T-1234           the same through a pipe
  cas debug 76998f82                    the best dump of a crash, by its id
  cas debug T-1234 --engine drgn        crash's commands and Python
  cas debug T-1234 -s -i FILE           options of crash stand behind SPEC
  cas debug T-1234 fmri                 a shell in which to work on an analyzer
"""
ALIKE = 0.8
"""How alike an option of ours must be to what crash may know; crash's own are less."""
INTERRUPTED = 130


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; those that are not among them are crash's."""
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    text = "a ticket, TICKET/STAMP, TICKET/latest, a job directory, or a crash of the archive"
    parser.add_argument("words", metavar="SPEC", nargs="+", help=text)
    text = "which debugger"
    engines = [each.value for each in EngineChoice]
    parser.add_argument("--engine", dest="debugger", choices=engines, help=text)
    text = "run COMMAND and exit; several in their order"
    parser.add_argument(
        "-c", "--command", dest="inputs", metavar="COMMAND", action="append", help=text
    )
    text = "run the commands of FILE and exit"
    parser.add_argument(
        "-x", "--script", dest="inputs", metavar="FILE", type=Path, action="append", help=text
    )
    text = "use this vmlinux instead of the one that is found"
    parser.add_argument("--kernel", metavar="FILE", type=Path, help=text)
    text = "use it even if it is another kernel's, and a dump that was changed"
    parser.add_argument("--force", action="store_true", help=text)
    parser.add_argument("--host", metavar="NAME", help="run crash on this analysis host")
    parser.set_defaults(for_crash=ForCrash())


def take_others(options: argparse.Namespace, words: Sequence[str]) -> bool:
    """Take the options of crash, unless one is of our own but for a letter."""
    from cas.commands.mistakes import near, parser_options

    parser = Parser()
    arguments(parser)
    own = [option for option in parser_options(parser) if option.startswith("--")]
    names = (word.partition("=")[0] for word in words if word.startswith("--"))
    if any(near(name, own, ALIKE) for name in names):
        return False
    options.for_crash = for_crash(words)
    return True


def run(options: argparse.Namespace, world: World) -> Output:
    """Open a debugger and hand everything on; its exit status.

    :raises CasError: there is no such job, no kernel for it, or no debugger that opens it
    """
    from cas.commands.debug import debug
    from cas.commands.debug_order import DebugOrder
    from cas.commands.specification import SeveralJobs, list_jobs

    order = DebugOrder(
        tuple(options.words),
        engine_choice(options.debugger),
        tuple(options.inputs or ()),
        options.kernel,
        options.force,
        options.host,
        options.for_crash,
    )
    try:
        if len(options.words) > 1:  # few are, and what opens a debugger need not wait for it
            from cas.commands.debug_analyzer import analyzer_order, debug_analyzer

            if asked := analyzer_order(options.words, world):
                return debug_analyzer(asked, world)
        return debug(order, world)
    except SeveralJobs as error:
        return (yield from list_jobs(error, "cas debug", world))
    except KeyboardInterrupt:
        world.progress.warn("interrupted; the debugger has ended")
        return INTERRUPTED
