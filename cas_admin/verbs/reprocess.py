"""``cas-admin reprocess``: kept jobs judged by the rules of this release, without a debugger."""

from __future__ import annotations

import argparse

from cas.commands import Done, Output, World
from cas.errors import CasError
from cas.text import count, short_line

PLACE = 7
HELP = "judge kept jobs by the rules of this release, without a debugger"
EXAMPLE = "cas-admin reprocess TICKET"
ALL = "all"
UNREADABLE = 4


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "a ticket, TICKET/STAMP or the path of a job directory (default: all)"
    parser.add_argument("spec", metavar="SPEC", nargs="?", default=ALL, help=text)
    text = "only list what would change"
    parser.add_argument("-n", "--dry-run", dest="only_list", action="store_true", help=text)


def run(options: argparse.Namespace, world: World) -> Output:
    """Judge jobs anew, and have reports, ``result.json`` and rows say the same; nobody gets a mail.

    :return: a line for each job that changes; status 4 when some cannot be judged
    :raises CasError: there is no such job, the database or the disk is of no use now
    """
    from cas.commands.specification import directories_of
    from cas.findings.signature import VERSION
    from cas.jobs.work_directory import WorkDirectory, is_regular
    from cas.report.result import NAME
    from cas_admin.rejudging import Rejudging

    work = WorkDirectory.of(world.config)
    if options.spec == ALL:
        for line in work.skipped():
            world.progress.warn(line)
        found = [path for path in work.jobs() if is_regular(path / NAME)]
    else:
        found = list(directories_of(options.spec, work))
    rejudging = Rejudging(world, only_list=options.only_list)
    done = rejudging.store.jobs.named_by(VERSION)
    verb = "Judging" if options.only_list else "Reprocessing"
    with world.progress.bar(f"{verb} {count(len(found), 'job')}", len(found), "jobs") as advance:
        # after an interruption those that are left come first; by their names they are in the
        # order of their time, so that what was seen before a job is judged before it
        for directory in sorted(found, key=lambda path: (path in done, path.name, path)):
            try:
                change = rejudging.judge_job(directory)
            except (CasError, KeyboardInterrupt):  # what was changed is changed
                world.progress.say(rejudging.counts_line())
                raise
            if change is not None:
                line = short_line(f"{directory}: {change}")
                yield line if options.only_list else Done(line)
            advance(1)
    summary = rejudging.counts_line()
    yield summary if options.only_list else Done(summary)
    return UNREADABLE if rejudging.unreadable else 0
