"""``cas signature SPEC``: what a job's crash is called, and which frames its names are made of."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World

PLACE = 6
HELP = "tell what a job's crash is called, and why"
EXAMPLE = "cas signature TICKET"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "a ticket, TICKET/STAMP, TICKET/latest, a job directory, or a crash of the archive"
    parser.add_argument("words", metavar="SPEC", nargs="+", help=text)
    parser.add_argument("--json", action="store_true", help="print everything, as JSON")


def run(options: argparse.Namespace, world: World) -> Output:
    """Print title, signatures and frames, by the rules of this release.

    :raises CasError: there is no such job, or it was not finished
    """
    from cas.commands.meant_job import find_kept_job
    from cas.commands.specification import SeveralJobs, list_jobs
    from cas.findings.outline import naming, outline_of
    from cas.text import json_text
    from cas.triage.rejudge import evidence

    try:
        job = find_kept_job(options.words, world)
    except SeveralJobs as error:
        return (yield from list_jobs(error, "cas signature", world))
    told = outline_of(*evidence(job.directory))
    yield from (json_text(told, indent=1),) if options.json else naming(told)
    return 0
