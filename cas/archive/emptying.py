"""The files of a crash go, with those of its jobs that have ended; records and reports stay.

First ``job.json`` of each job says that its dump goes, then the crash's record; then the names in
the jobs go, and at last those in the archive: whoever is stopped leaves files that are recorded as
purged, and the next purge removes them (`remove_leftovers`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cas.archive.archive import Archive
from cas.archive.freeing import (
    AWAITED,
    Freed,
    StillNeeded,
    changing_freed,
    kept_for_nobody,
    without_files,
    youngest_s,
)
from cas.archive.record import Change, Info
from cas.archive.retention import foreign
from cas.archive.shown import told_hold
from cas.choices import UNFINISHED
from cas.errors import JobBusy
from cas.files.whole import writing_below
from cas.jobs.job import Job, load_job
from cas.jobs.lock import lock_job
from cas.jobs.mounted import require_one_file_system
from cas.jobs.work_directory import WorkDirectory, is_gone


def empty_crash(
    archive: Archive, work: WorkDirectory, crash_id: str, newest_s: int, note: Change
) -> Freed:
    """Purge all files of a crash that are ours, whatever jobs have a name for them.

    :param newest_s: where a file came later nothing goes, in seconds since 1970
    :raises StillNeeded: it has to stay
    :raises OSError: something is mounted in one of its jobs
    :raises CasError: the archive or a job cannot be changed
    """
    freed = Freed()
    with kept_for_nobody(archive, crash_id), ExitStack() as locks:
        jobs = _locked_jobs(archive, work, archive.read(crash_id), locks)
        with changing_freed(archive, crash_id, freed) as draft:
            _require_unneeded(archive, draft.info, jobs, newest_s)
            info, own = without_files(archive, draft.info, note)
            if info == draft.info:
                return freed
            for job in jobs:
                _note_in_job(job, note.at_s)
            dumps = [path for job in jobs for path in job.dump_paths]
            draft.info, draft.doomed = info, [*dict.fromkeys((*dumps, *own))]
    return freed


def _locked_jobs(archive: Archive, work: WorkDirectory, info: Info, locks: ExitStack) -> list[Job]:
    """The jobs of a crash that are there, which nobody works in until the end of the context."""
    found = []
    for name in info.jobs:
        directory = archive.work_directory / name
        if is_gone(directory):
            continue
        if why := foreign(work, directory):
            raise StillNeeded(f"the job {name} is left alone: {why}")
        require_one_file_system(directory)
        try:
            locks.enter_context(lock_job(directory))
        except JobBusy as error:
            raise StillNeeded(f"a run is working in the job {name}") from error
        job = load_job(directory)
        if job.is_unfinished:
            raise StillNeeded(f"the job {name} waits, was stopped or is under way")
        found.append(job)
    return found


def _require_unneeded(archive: Archive, info: Info, jobs: Sequence[Job], newest_s: int) -> None:
    if info.holds:
        raise StillNeeded(f"held by {', '.join(map(told_hold, info.holds))}")
    if info.set_tickets:
        raise StillNeeded(f"the ticket {', '.join(info.set_tickets)} was set")
    if info.facts.get("verdict") in UNFINISHED and not info.jobs:
        raise StillNeeded(AWAITED)
    if youngest_s(info) > newest_s:
        raise StillNeeded("another file of it came")
    known = {job.directory for job in jobs}
    for name in info.jobs:
        directory = archive.work_directory / name
        if directory not in known and not is_gone(directory):
            raise StillNeeded(f"the job {name} came")


def _note_in_job(job: Job, now_s: int) -> None:
    """Have the job say that its dump goes; it is as old as before all the same."""
    if not job.dump_paths or job.dump_purged:
        return
    with _as_old_as_before(job.directory):
        replace(job, dump_purged=datetime.fromtimestamp(now_s, UTC)).save()


@contextmanager
def _as_old_as_before(directory: Path) -> Iterator[None]:
    state = directory.lstat()
    yield
    with writing_below(directory):
        os.utime(directory, ns=(state.st_atime_ns, state.st_mtime_ns), follow_symlinks=False)
