"""The dump of a job that ended with the first answer: it is still on its server."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cas.commands.debug_dump import OtherDump
from cas.commands.invocation import World
from cas.dump import identify_by_ranges
from cas.jobs.job import Job
from cas.model.dump import Dump
from cas.report.result import load as load_result

if TYPE_CHECKING:
    from cas.fetch.ranged_file import RangedFile


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

    :raises CasError: it cannot be had any more, or not now
    """
    from cas.fetch.source import NoRanges

    with ExitStack() as session, suppress(NoRanges):
        opened_far(job, world, Path(tempfile.gettempdir()), session)


def far_dump(job: Job, file: RangedFile, *, is_forced: bool) -> Dump:
    """What it says of itself.

    :raises OtherDump: it is not the one that the job has read; unless that is forced
    """
    assert job.order.url  # noqa: S101  or nothing would be open
    dump = identify_by_ranges(Path(Path(job.order.url).name), file)
    told = load_result(job.directory).dump
    if told is None or is_forced:
        return dump
    here = (dump.size_bytes, dump.build_id, dump.log_digest)
    if here != (told.size_bytes, told.build_id, told.log_digest):
        raise OtherDump(f"the file at {job.order.url} is not the dump that the job has read")
    return dump
