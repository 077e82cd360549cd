"""``cas signature SPEC``: what a job's crash is called, and which frames its names are made of."""

from __future__ import annotations

import argparse
from pathlib import Path

from cas.commands.invocation import Once, Output, World, file_of

PLACE = 6
HELP = "tell what a job's crash is called, and why"
EXAMPLE = "cas signature TICKET"
STDIN = "-"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "a ticket, TICKET/STAMP, TICKET/latest, a job directory, or a crash of the archive"
    parser.add_argument("words", metavar="SPEC", nargs="*", help=text)
    text = "of a kernel log instead; - for standard input"
    parser.add_argument("--log", metavar="FILE", action=Once, help=text)
    parser.add_argument("--json", action="store_true", help="print everything, as JSON")


def reads(options: argparse.Namespace) -> tuple[Path, ...]:
    """The kernel log."""
    return () if options.log in (None, STDIN) else (file_of(options.log),)


def run(options: argparse.Namespace, world: World) -> Output:
    """Print title, signatures and frames, by the rules of this release.

    :raises CasError: there is no such job, or it was not finished
    """
    from cas.commands.meant_job import find_kept_job
    from cas.commands.specification import SeveralJobs, list_jobs
    from cas.errors import UsageError
    from cas.findings.outline import naming, outline, outline_of
    from cas.text import json_text
    from cas.triage.rejudge import evidence

    if (options.log is None) == (not options.words):
        raise UsageError("it takes either SPEC or --log FILE", hint=f"for example: {EXAMPLE}")
    if options.log is not None:
        told = outline(_log(options.log, world))
        yield from (json_text(told, indent=1),) if options.json else naming(told)
        return 0
    try:
        job = find_kept_job(options.words, world)
    except SeveralJobs as error:
        return (yield from list_jobs(error, "cas signature", world))
    told = outline_of(*evidence(job.directory))
    yield from (json_text(told, indent=1),) if options.json else naming(told)
    return 0


def _log(word: str, world: World) -> str:
    """The text of a kernel log.

    :raises UsageError: it cannot be read
    """
    import sys

    from cas.errors import UsageError
    from cas.files.whole import read_open
    from cas.klog.lines import LOG_LIMIT

    path = file_of(word)
    try:
        if word == STDIN:
            content = sys.stdin.buffer.read(LOG_LIMIT)
        elif path in world.held:
            content = read_open(world.held[path], LOG_LIMIT)
        else:
            with path.open("rb") as file:
                content = file.read(LOG_LIMIT)
    except OSError as error:
        said = f"cannot read {path}: {error.strerror}"
        raise UsageError(said, hint="give a kernel log: cas signature --log FILE") from error
    return content.replace(b"\r", b"").decode("utf-8", "replace")
