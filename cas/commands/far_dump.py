"""A dump that is not here: on its server still, of which a job told the first answer, or in a
store, to which the archive has moved it."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cas.commands.debug_dump import OtherDump
from cas.commands.invocation import World
from cas.commands.meant_job import Subject
from cas.commands.mistakes import shell_command
from cas.dump import identify_by_ranges, is_for_ranges
from cas.errors import NotADump, TryAgain, UsageError
from cas.fetch.url import is_whole, to_fetch
from cas.frozen import dataclass
from cas.jobs.job import Job
from cas.model.dump import Dump
from cas.report.result import load as load_result

if TYPE_CHECKING:
    from cas.fetch.ranged_file import RangedFile


@dataclass(frozen=True, slots=True)
class FarPlace:
    """Where a dump is that is not here."""

    subject: Subject
    url: str
    get: str
    """The command that fetches it."""
    job: Job | None = None
    """Who has told what it says of itself."""


def far_place(subject: Subject) -> FarPlace | None:
    """Where a dump is, if it is not here.

    :raises UsageError: its URL had secrets, which are not kept
    """
    if isinstance(subject, Job):
        if not subject.is_answer_alone:
            return None
        _require_whole_url(subject)
        ticket, url = subject.order.ticket, subject.order.url or ""
        return FarPlace(subject, url, f"cas -i {ticket}", job=subject)
    if subject.url is None:
        return None
    get = f"cas move {subject.crash_id} --to local"
    return FarPlace(subject, subject.url, get, subject.job)


def _require_whole_url(job: Job) -> None:
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


def opened_far(place: FarPlace, world: World, directory: Path, session: ExitStack) -> RangedFile:
    """The dump, where it is.

    :param directory: where what is read of it may take room
    :param session: until its end it is open
    :raises NoRanges: the server does not give parts of it any more
    :raises CasError: it cannot be had any more
    """
    from cas.fetch.ranged_file import HEAD_BYTES, opened_ranged
    from cas.fetch.source import FetchPolicy
    from cas.fetch.url import parse_url

    subject, policy = place.subject, FetchPolicy.of(world.config)
    if isinstance(subject, Job):
        url = parse_url(place.url)
        return session.enter_context(opened_ranged(url, policy, directory, world.progress))
    from cas.archive.archive import Archive
    from cas.archive.keeping import kept_file
    from cas.archive.stored_copy import CopyReader

    archive = Archive.of(world.config)
    file = kept_file(archive, subject.crash_id, subject.recorded.digest)
    if file is None or not file.is_moved:
        raise TryAgain(f"{subject} is being moved")
    reader = CopyReader(archive, policy, directory, world.progress)
    opened = session.enter_context(reader.opened(subject.crash_id, file))
    if not is_for_ranges(opened.read(0, HEAD_BYTES)):
        raise UsageError(
            f"{place.url} is no dump that is read where it is", hint=f"to fetch it: {place.get}"
        )
    return opened


def require_there(job: Job, world: World) -> None:
    """Make sure that the rest of the dump can be fetched, before what the job told is withdrawn.

    :raises OtherDump: there is another one by now
    :raises CasError: it cannot be had any more, or not now
    """
    from cas.fetch.source import NoRanges

    place = FarPlace(job, job.order.url or "", f"cas -i {job.order.ticket}", job=job)
    with ExitStack() as session, suppress(NoRanges):
        file = opened_far(place, world, job.directory, session)
        try:
            far_dump(place, file, is_forced=False)
        except OtherDump as error:
            again = shell_command("cas", ["-i", job.order.ticket, "-f", job.order.url or ""])
            error.hint = f"what the job told is kept; to analyse what is there now: {again}"
            raise


def far_dump(place: FarPlace, file: RangedFile, *, is_forced: bool) -> Dump:
    """What it says of itself.

    :raises OtherDump: it is not the one that the job has read; unless that is forced
    """
    other = f"the file at {place.url} is not the dump that the job has read"
    told = None if is_forced or place.job is None else load_result(place.job.directory).dump
    try:
        dump = identify_by_ranges(Path(Path(place.url).name), file)
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
