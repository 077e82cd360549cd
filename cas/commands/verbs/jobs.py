"""``cas jobs``: what was analysed, and what is under way or waits."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World

PLACE = 4
HELP = "list jobs, unfinished ones first"
EXAMPLE = "cas jobs; those of one ticket: cas ls TICKET jobs"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="print everything, as JSON")


def run(options: argparse.Namespace, world: World) -> Output:
    """Print a line for each job: those that are not at their end, then all others, newest first.

    :raises TryAgain: the database is of no use now
    """
    from cas.commands.answers import VERSION
    from cas.commands.crash_lines import UNSET, fitting, table_lines
    from cas.commands.job_listing import listed_jobs
    from cas.text import json_text

    found = listed_jobs(world)
    if options.json:
        yield json_text({"version": VERSION, "jobs": found}, indent=1)
        return 0
    head = ("job", "state", "started", "kernel", "crash")
    cells = (
        (
            job["name"],
            job["state"],
            job["started"][:19],
            job["release"],
            job["title"] or job["panic"],
        )
        for job in found
    )
    rows = ([UNSET if cell is None else cell for cell in row] for row in cells)
    yield from fitting(table_lines(head, rows))
    return 0
