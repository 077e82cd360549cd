"""Which kept dump or job the words of a command mean.

A ticket and whatever else names jobs of the work directory needs no database; all other words are
those of `crash_spec`, and mean one crash of the archive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cas.commands.debug_options import one_spec
from cas.commands.invocation import World
from cas.commands.specification import (
    NoJob,
    directories_of,
    find_job,
    is_job_named,
    ticket_and_stamp,
)
from cas.errors import CasError, TryAgain
from cas.files.digest import Fingerprint
from cas.frozen import dataclass
from cas.jobs.job import Job, by_age, load_job
from cas.jobs.reference import lack_of_dump
from cas.jobs.work_directory import WorkDirectory
from cas.units import utc

if TYPE_CHECKING:
    from cas.archive.archive import Archive
    from cas.archive.record import File, Info

Subject: TypeAlias = "Job | ArchivedDump"
"""What is debugged."""
_ONE = "name one crash or job; what cas debug takes behind it is an analyzer: cas analyzers"
_LISTED = 20
"""Crashes that are listed of those that words may mean."""


@dataclass(frozen=True, slots=True)
class ArchivedDump:
    """A file of the archive that no job has now."""

    crash_id: str
    path: Path
    """Of one in a store, what to call it."""
    recorded: Fingerprint
    looks: tuple[int, int, int] | None
    """While it looks so, it has the recorded content."""
    url: str | None = None
    """Where it is in a store; ``None``: it is on this machine."""
    job: Job | None = None
    """Who had it, and has told of it."""

    def __str__(self) -> str:
        return f"the crash {self.crash_id}"


def find_dump(words: Sequence[str], world: World) -> Subject:
    """The dump that words mean: a job's, or the best one of a crash, in its newest job that has it.

    :raises NoJob: they mean nothing
    :raises SeveralJobs: a ticket has several
    :raises AmbiguousSpec: they mean several crashes
    """
    work = WorkDirectory.of(world.config)
    if _names_job(words, world, work):
        job = find_job(words[0], work, lambda job: _kept_of(job, world) is not None)
        kept = _kept_of(job, world) if not job.is_answer_alone and lack_of_dump(job) else None
        return _archived(*kept, job) if kept else job
    info, archive = _meant_crash(words, world, work)
    best, told_by = info.best_file, _told_by(info, work, archive)
    having = [job for job in told_by if best and _has(job, best)]
    had = [job for job in told_by if best and best.is_moved and job.digest == best.digest]
    return having[-1] if having else _archived(info, best, archive, had[-1] if had else None)


def find_kept_job(words: Sequence[str], world: World) -> Job:
    """The job that words mean, with its dump; of a crash the newest that has come to an end.

    :raises NoJob: they mean nothing
    :raises SeveralJobs: a ticket has several
    :raises AmbiguousSpec: they mean several crashes
    """
    work = WorkDirectory.of(world.config)
    if _names_job(words, world, work):
        return find_job(words[0], work, lambda job: _kept_of(job, world) is not None)
    info, archive = _meant_crash(words, world, work)
    return _newest_ended(_told_by(info, work, archive), f"the crash {info.id}")


def find_newest_job(words: Sequence[str], world: World) -> Job:
    """The newest of the jobs that words mean which has come to an end; its dump may be gone.

    :raises NoJob: they mean nothing
    :raises AmbiguousSpec: they mean several crashes
    """
    work = WorkDirectory.of(world.config)
    if _names_job(words, world, work):
        return _newest_ended(_loaded(directories_of(words[0], work)), words[0])
    info, archive = _meant_crash(words, world, work)
    return _newest_ended(_told_by(info, work, archive), f"the crash {info.id}")


def newest_report_of(info: Info, work: WorkDirectory, archive: Archive) -> Job | None:
    """What has told of a crash last; ``None``: nothing has come to an end."""
    ended = [job for job in _told_by(info, work, archive) if job.verdict and not job.is_stopped]
    return ended[-1] if ended else None


def ended_jobs(spec: str, work: WorkDirectory) -> list[Job]:
    """The jobs that a word means which have come to an end, oldest first.

    :raises NoJob: it means none
    """
    return [
        job for job in _loaded(directories_of(spec, work)) if job.verdict and not job.is_stopped
    ]


def _newest_ended(jobs: Sequence[Job], of: str) -> Job:
    ended = [job for job in jobs if job.verdict and not job.is_stopped]
    if not ended:
        raise NoJob(
            f"{of} has neither a job that has come to an end nor an upload with an answer",
            hint="to see what there is: cas jobs; what is known of crashes: cas info SPEC",
        )
    return ended[-1]


def job_of(subject: Subject) -> Job | None:
    """The job that has told of a dump."""
    return subject if isinstance(subject, Job) else subject.job


def _told_by(info: Info, work: WorkDirectory, archive: Archive) -> list[Job]:
    """What has told of a crash: the answer of its upload, then its jobs, oldest first."""
    uploaded = archive.answer_of(info)
    return _loaded([uploaded] if uploaded else []) + jobs_of(info, work)


def jobs_of(info: Info, work: WorkDirectory) -> list[Job]:
    """The jobs of a crash that are there, oldest first."""
    tickets = dict.fromkeys(name.partition("/")[0] for name in info.jobs)
    named = {work.path / name for name in info.jobs}
    return _loaded(path for ticket in tickets for path in work.jobs(ticket) if path in named)


def _loaded(directories: Iterable[Path]) -> list[Job]:
    found = list[Job]()
    for directory in directories:
        with suppress(CasError):
            found.append(load_job(directory))
    return list(by_age(found))


def _names_job(words: Sequence[str], world: World, work: WorkDirectory) -> bool:
    """Whether the words are what names jobs, and mean nothing else.

    :raises AmbiguousSpec: they may mean something else, too
    """
    (first, *more) = words
    if more or not is_job_named(first, work):
        return False
    from cas.commands.crash_spec import chosen_crashes, may_be_no_ticket

    if ticket_and_stamp(first) and may_be_no_ticket(first):
        from cas.commands.archive_access import opened_archive

        with suppress(TryAgain):
            chosen_crashes(words, world, opened_archive(world))
    return True


def meant_crash(words: Sequence[str], world: World) -> tuple[Info, Archive]:
    """The one crash of the archive that words mean.

    :raises NoJob: they mean nothing
    :raises NotArchived: they mean a job that the archive does not know, or no crash
    :raises AmbiguousSpec: they mean several crashes
    """
    return _meant_crash(words, world, WorkDirectory.of(world.config))


def _meant_crash(words: Sequence[str], world: World, work: WorkDirectory) -> tuple[Info, Archive]:
    from cas.archive.constraints import Garbage
    from cas.archive.crash_directories import NotArchived
    from cas.commands.archive_access import opened_archive
    from cas.commands.crash_lines import HEADER, ls_line
    from cas.commands.crash_spec import AmbiguousSpec, leading_crashes

    is_word = "=" not in words[0]
    archive = opened_archive(world)
    try:
        meant = leading_crashes(words, world, archive)
    except Garbage:
        if is_word and len(words) == 1:
            find_job(words[0], work)  # says what is nearly called so
        raise
    if meant.rest:
        if meant.rest[0] == words[0]:
            find_job(words[0], work)
            raise NotArchived(
                f"the archive does not know {words[0]}", hint="to take it over: cas-admin index"
            )
        raise one_spec(meant.rest[0], _ONE)
    found = list(islice(archive.store.crashes.lines(meant.selection), _LISTED + 1))
    if not found:
        if is_word:
            find_job(words[0], work)
        raise NotArchived("no crash of the archive is meant")
    if len(found) > 1:
        number = archive.store.crashes.count(meant.selection)
        lines = [HEADER, *map(ls_line, found[:_LISTED])]
        hint = "name one of them by its id"
        hint += "; all of them: cas ls with the same words" * (number > _LISTED)
        raise AmbiguousSpec(f"{number:,} crashes are meant", lines, hint=hint)
    return archive.read(found[0].id), archive


def _has(job: Job, file: File) -> bool:
    if file.digest is None:
        return job.is_answer_alone
    return job.digest == file.digest and lack_of_dump(job) is None


def _kept_of(job: Job, world: World) -> tuple[Info, File, Archive] | None:
    """The crash of a job that has no dump, and the archive's file of it, wherever that is."""
    from cas.archive.archive import Archive
    from cas.archive.keeping import kept_file
    from cas.report.result import crash_id_of

    with suppress(CasError):  # it has come to no result, or into no archive
        archive = Archive.of(world.config)
        crash_id = crash_id_of(job.directory)
        if crash_id and (file := kept_file(archive, crash_id, job.digest)):
            return archive.read(crash_id), file, archive
    return None


def _archived(
    info: Info, best: File | None, archive: Archive, job: Job | None = None
) -> ArchivedDump:
    from cas.archive.record import NOTE

    path = archive.path_of(info, best) if best else None
    if best and best.is_moved and best.digest and best.purged_s is None:
        recorded = Fingerprint(best.size_bytes, best.digest)
        return ArchivedDump(info.id, Path(best.name), recorded, None, best.at, job)
    if best is None or path is None or best.digest is None or best.purged_s is not None:
        why = "is on its server" if best and path is None else "is not there any more"
        if best and best.purged_s is not None:
            why = f"was purged on {utc(datetime.fromtimestamp(best.purged_s, UTC))}"
        said = f"the best file of the crash {info.id} {why}"
        if info.type == NOTE:
            said = f"of the crash {info.id} there is only a note, and no dump"
        raise NoJob(said, hint=f"what is known: cas info {info.id}")
    recorded = Fingerprint(best.size_bytes, best.digest)
    return ArchivedDump(info.id, path, recorded, best.looks, job=job)
