"""What nobody needs of the archive any more, and how old it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from cas.archive.archive import Archive
from cas.archive.crash_directories import NotArchived
from cas.archive.freeing import (
    StillNeeded,
    freeable_bytes,
    leftovers,
    leftovers_of,
    lesser_files,
    own_files,
    require_free,
    why_needed,
    youngest_s,
)
from cas.archive.record import Info
from cas.catalogue.cache.clock import SLACK, Trace
from cas.errors import CasError
from cas.files.lease import is_held
from cas.frozen import dataclass
from cas.jobs.job import Job, job_name
from cas.report.result import crash_id_of

_TRACE_S = 3600
"""Of the crashes that came within so many seconds one is a trace."""
LESSER = "of which a better file has everything"
LEFTOVER = "which a stopped run left in the archive"


@dataclass(frozen=True, slots=True)
class AgedCrash:
    """Files of a crash that nobody needs."""

    crash_id: str
    youngest: datetime
    """When the newest of them came; of lesser files: of these and the better one."""
    size_bytes: int
    """Of the disk, that go with them."""
    is_lesser: bool = False
    """A better file of the crash stays."""

    def __str__(self) -> str:
        """What it is, for people."""
        return f"files of the crash {self.crash_id}{f', {LESSER}' if self.is_lesser else ''}"


@dataclass(frozen=True, slots=True)
class Kept:
    """What the archive has, as far as a purge is concerned."""

    aged: tuple[AgedCrash, ...] = ()
    """What may go for its age, however young it is."""
    leftovers: tuple[str, ...] = ()
    """Ids of crashes of which stopped runs left something."""
    traces: tuple[Trace, ...] = ()


def look_through(archive: Archive, now: datetime) -> Kept:
    """Look at every crash once; one whose record cannot be read is nobody's to purge."""
    aged, left = list[AgedCrash](), list[str]()
    traces = dict[int, Trace]()
    for crash_id in archive.ids():
        with suppress(CasError):
            try:
                info = archive.read(crash_id)
            except NotArchived:
                left += [crash_id] if leftovers(archive, crash_id, now.timestamp()) else []
                continue
            left += [crash_id] if leftovers_of(archive, info, now.timestamp()) else []
            found = list(_aged_of(archive, info, now))
            aged += found
            came = _time(youngest_s(info))
            # one of later than now is of a wrong clock; it counts while it can be purged
            if came <= now + SLACK or any(not each.is_lesser for each in found):
                number = youngest_s(info) // _TRACE_S
                traces[number] = Trace(came, f"the crash {crash_id}")
    aged.sort(key=lambda one: (one.youngest, one.crash_id))
    return Kept(tuple(aged), tuple(left), tuple(traces.values()))


def _aged_of(archive: Archive, info: Info, now: datetime) -> Iterator[AgedCrash]:
    youngest = _time(youngest_s(info))
    if why_needed(info) is None:
        if paths := own_files(archive, info):
            yield AgedCrash(info.id, youngest, freeable_bytes(paths))
    elif lesser := lesser_files(archive, info, now.timestamp() + SLACK.total_seconds()):
        paths = [path for file in lesser if (path := archive.path_of(info, file))]
        youngest = max(map(_time, (each.added_s for each in (*lesser, info.best_file) if each)))
        yield AgedCrash(info.id, youngest, freeable_bytes(paths), is_lesser=True)


def why_kept(archive: Archive, job: Job) -> str | None:
    """Why a purge leaves a job for the sake of its crash; ``None``: it does not."""
    with suppress(CasError):  # it has come to no result, or into no archive
        if crash_id := crash_id_of(job.directory):
            info = archive.read(crash_id)
            try:
                require_free(info, job_name(job))
            except StillNeeded as error:
                return str(error)
            if is_held(archive.directory_of(crash_id)):
                return f"the crash {crash_id} is in use"
    return None


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
