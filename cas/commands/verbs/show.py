"""``cas show SPEC``: the report of a job."""

from __future__ import annotations

import argparse

from cas.commands.invocation import Output, World

PLACE = 5
HELP = "show the report of the newest job, or of an upload"
EXAMPLE = "cas show TICKET"
LIMIT = 64 << 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "a ticket, TICKET/STAMP, a job directory, or a crash of the archive"
    parser.add_argument("words", metavar="SPEC", nargs="+", help=text)


def run(options: argparse.Namespace, world: World) -> Output:
    """Print the report of the newest job that has come to an end.

    :raises CasError: there is no such job, or its report cannot be read
    """
    from cas.commands.meant_job import find_newest_job
    from cas.errors import JobFailed
    from cas.files.whole import read_regular
    from cas.jobs.layout import RESULTS

    job = find_newest_job(options.words, world)
    report = job.directory / RESULTS[-1]
    try:
        text = read_regular(report, LIMIT).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise JobFailed(
            f"cannot read {report}: {error.strerror}",
            hint=f"to write it anew: cas-admin reprocess {job.order.ticket}",
        ) from error
    yield from text.splitlines()
    return 0
