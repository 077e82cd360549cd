"""The dump of a job that ended with the first answer: it is still on its server."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cas.commands.debug_dump import OtherDump
from cas.commands.invocation import World
from cas.commands.mistakes import shell_command
from cas.dump import identify_by_ranges
from cas.errors import NotADump, UsageError
from cas.fetch.url import is_whole, to_fetch
from cas.jobs.job import Job
from cas.model.dump import Dump
from cas.report.result import load as load_result

if TYPE_CHECKING:
    from cas.fetch.ranged_file import RangedFile


def require_whole_url(job: Job) -> None:
    """Make sure that the dump can be asked for without its user.

    :raises UsageError: its URL had secrets
    """
    url = job.order.url or ""
    if not is_whole(url):
        raise UsageError(
            f"{job.directory} has no dump, which is still on its server, and of its URL the"
            " password or query is not kept",
            hint=f"fetch it, with the whole URL: {to_fetch(job.order.ticket, url)}",
        )


def opened_far(job: Job, world: World, directory: Path, session: ExitStack) -> RangedFile:
    """The dump, where it is.

    :param directory: where what is read of it may take room
    :param session: until its end it is open
    :raises NoRanges: the server does not give parts of it any more
    :raises CasError: it cannot be had any more
    """
    from cas.fetch.ranged_file import opened_ranged
    from cas.fetch.source import FetchPolicy
    from cas.fetch.url import parse_url

    url, policy = parse_url(job.order.url or ""), FetchPolicy.of(world.config)
    return session.enter_context(opened_ranged(url, policy, directory, world.progress))


def require_there(job: Job, world: World) -> None:
    """Make sure that the rest of the dump can be fetched, before what the job told is withdrawn.

    :raises OtherDump: there is another one by now
    :raises CasError: it cannot be had any more, or not now
    """
    from cas.fetch.source import NoRanges

    with ExitStack() as session, suppress(NoRanges):
        file = opened_far(job, world, job.directory, session)
        try:
            far_dump(job, file, is_forced=False)
        except OtherDump as error:
            again = shell_command("cas", ["-i", job.order.ticket, "-f", job.order.url or ""])
            error.hint = f"what the job told is kept; to analyse what is there now: {again}"
            raise


def far_dump(job: Job, file: RangedFile, *, is_forced: bool) -> Dump:
    """What it says of itself.

    :raises OtherDump: it is not the one that the job has read; unless that is forced
    """
    assert job.order.url  # noqa: S101  or nothing would be open
    other = f"the file at {job.order.url} is not the dump that the job has read"
    told = None if is_forced else load_result(job.directory).dump
    try:
        dump = identify_by_ranges(Path(Path(job.order.url).name), file)
    except NotADump as error:
        if told is None:
            raise
        raise OtherDump(f"{other}: {error}") from error
    if told is None:
        return dump
    here = (dump.size_bytes, dump.build_id, dump.log_digest)
    if here != (told.size_bytes, told.build_id, told.log_digest):
        raise OtherDump(other)
    return dump
