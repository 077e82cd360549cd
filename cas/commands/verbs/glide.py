"""``cas glide SPEC``: the deep trace of a crashed kernel, every stack with its variables."""

from __future__ import annotations

import argparse
from pathlib import Path

from cas.commands.invocation import Output, World

PLACE = 3
HELP = "print every stack of a crashed kernel, with its variables"
EXAMPLE = "cas glide TICKET, or the task that panicked: cas glide TICKET --tasks panic"
EXAMPLES = """\
examples:
  cas glide T-1234                       every task
  cas glide T-1234/latest --tasks cpus   what was on the CPUs
  cas glide T-1234 --tasks 1,47 --depth 2
"""
DEEPEST = 6


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    text = "a ticket, TICKET/STAMP, TICKET/latest, a job directory, or a crash of the archive"
    parser.add_argument("words", metavar="SPEC", nargs="+", help=text)
    text = "panic, cpus, blocked, all (the default), or process ids between commas"
    parser.add_argument("--tasks", metavar="WHICH", default="all", help=text)
    text = "pointers to follow, one through the other; without it 2 in the panic task, else 0"
    parser.add_argument("--depth", metavar="N", type=int, choices=range(DEEPEST + 1), help=text)
    text = "use this vmlinux instead of the one that is found"
    parser.add_argument("--kernel", metavar="FILE", type=Path, help=text)
    text = "use it even if it is another kernel's, and a dump that was changed"
    parser.add_argument("--force", action="store_true", help=text)
    text = "print the records of the trace as JSON, one a line"
    parser.add_argument("--json", action="store_true", help=text)


def run(options: argparse.Namespace, world: World) -> Output:
    """Print the trace, as it is found.

    :raises CasError: there is no such job, no kernel for it, or drgn does not come to the end
    """
    from cas.commands.debug_order import DebugOrder
    from cas.commands.glide import glide_order, records_of
    from cas.commands.specification import SeveralJobs, list_jobs
    from cas.engines.drgn.glide_text import lines_of_record
    from cas.text import json_text

    order = glide_order(options.tasks, options.depth, world)
    asked = DebugOrder(tuple(options.words), kernel=options.kernel, is_forced=options.force)
    try:
        for record in records_of(asked, order, world):
            if options.json:
                yield json_text(record)
            else:
                yield from lines_of_record(record)
    except SeveralJobs as error:
        return (yield from list_jobs(error, "cas glide", world))
    return 0
