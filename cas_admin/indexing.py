"""The database is an index of the job directories: it is mended, and their rows are made anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from msgspec import structs

from cas.archive.archive import Archive, ForeignArchive
from cas.archive.crash_directories import NotArchived
from cas.archive.crash_index import IndexBehind
from cas.archive.keeping import enter_job
from cas.archive.move_notes import MOVES
from cas.archive.record import Info
from cas.commands import World
from cas.database.records import JobRecord
from cas.database.repair import repair
from cas.database.store import LOCK_S, Store
from cas.dump import SEARCH_BYTES, identify
from cas.errors import CasError
from cas.frozen import dataclass
from cas.jobs.job import Job, job_name, load_job
from cas.jobs.work_directory import WorkDirectory, is_gone, is_regular
from cas.model.answer import FirstAnswer
from cas.model.archived import IndexedCrash
from cas.model.dump import Dump
from cas.model.finding import Finding, Signature
from cas.model.report import Report
from cas.progress import Progress
from cas.report.result import NAME, load
from cas.report.result_record import Result
from cas.settings.person import person
from cas.text import count
from cas.triage.rejudge import kernel_log, value_of_record
from cas.triage.uploading import finish_uploads


@dataclass(frozen=True, slots=True)
class Indexed:
    """How many jobs, or crashes, are in the database by now."""

    entered: int
    unreadable: int


def mend_database(world: World) -> bool:
    """Mend the database, and tell what came of it; whether that lost what is nowhere else."""
    wait = partial(world.progress.say, "Waiting for another build of the catalogue")
    done = repair(world.config.database, LOCK_S, world.now, wait)
    if done is None:
        return False
    tell = world.progress
    tell.warn(done.fault)
    if done.aside:
        tell.warn(f"the damaged file is kept as {done.aside}, and a new one is in its place")
    else:
        tell.say("the tables that were gone are made anew")
    if done.hosts:
        tell.say(f"{count(len(done.hosts), 'registered analysis host')} taken over")
    if done.has_lost_hosts:
        others = "others" if done.hosts else "the registered analysis hosts"
        tell.warn(f"{others} may be lost; register them again: cas-admin -s, or host add NAME")
    if done.has_lost_packages:
        tell.warn("the packages are not catalogued any more; run: cas-admin -b")
    return done.has_lost_hosts


def enter_jobs(
    work: WorkDirectory, store: Store, archive: Archive | None, progress: Progress
) -> Indexed:
    """Enter every job directory that has a result, and take it over into the archive.

    :param archive: ``None``: it is not ours to change
    :raises TryAgain: the database cannot be used
    """
    entered = unreadable = 0
    for directory in work.jobs():
        if not is_regular(directory / NAME):  # it has not come to a result yet
            continue
        try:
            result = load(directory)
            record = job_record_of(result, directory)
        except CasError as error:
            progress.warn(f"{directory}: {error}")
            unreadable += 1
            continue
        store.jobs.put(record)
        entered += 1
        try:
            if archive is not None:
                archive_job(archive, result, directory)
        except CasError as error:
            progress.warn(f"the crash of {directory} is not in the archive: {error}")
            unreadable += 1
    return Indexed(entered, unreadable)


def job_record_of(result: Result, directory: Path) -> JobRecord:
    """The row of a job that has a result: the one that the job made of its report.

    :param directory: where it lies now; it may have been moved since
    """
    digest = None
    with suppress(CasError):  # a record that cannot be read costs only this
        digest = load_job(directory).digest
    return JobRecord.of(report_of(result, directory), digest)


def report_of(result: Result, directory: Path) -> Report:
    """The report of a job, as far as indexes are made of it."""
    dump = value_of_record(result.dump, Dump) if result.dump else None
    with suppress(CasError):  # a log that cannot be read costs only this
        if dump and dump.log_digest is None:  # a result of before, or a log of a few lines
            dump = replace(dump, dmesg=kernel_log(result, directory))
    finding = value_of_record(result.finding, Finding) if result.finding else None
    if finding and not finding.title and result.signature:
        # judged by no rules but the first, it has the one name that these gave
        finding = replace(finding, signatures=(Signature(1, "full", result.signature),))
    return Report(
        ticket=result.ticket,
        directory=directory,
        upload=result.upload,
        server=result.server,
        started=result.started,
        verdict=result.verdict,
        stage=result.stage,
        engine=result.engine,
        dump=dump,
        answer=(value_of_record(result.answer, FirstAnswer) if result.answer else None),
        finding=finding,
    )


def own_archive(world: World, store: Store) -> Archive | None:
    """The archive; ``None`` where it is another user's, which is told.

    :raises Refused: others may change it
    """
    try:
        return Archive.of(world.config, store)
    except ForeignArchive as error:
        world.progress.warn(f"{error}: its crashes are not entered; {error.hint}")
        return None


def archive_job(archive: Archive, result: Result, directory: Path) -> None:
    """Take a job over into the archive, if it is not there yet: its dump gets a second name.

    :raises CasError: its dump or its records cannot be read
    """
    job, report = load_job(directory), report_of(result, directory)
    dump = report.dump
    if dump is None or job.is_stopped:
        return
    if dump.crash_id and _is_archived(archive, dump.crash_id, job):
        return
    if dump.crash_id is None and job.stored:  # a result of before there were ids
        named = identify(job.stored.vmcore, SEARCH_BYTES)
        dump = replace(dump, crash_id=named.crash_id, is_crash_id_weak=named.is_crash_id_weak)
    ended_ns = (directory / NAME).stat().st_mtime_ns

    def is_older(dump: Path) -> bool:
        # nobody can set the time of a file's last change of any kind, st_ctime
        return dump.stat().st_ctime_ns <= ended_ns

    enter_job(archive, replace(report, dump=dump), job, is_verified=is_older)


def _is_archived(archive: Archive, crash_id: str, job: Job) -> bool:
    try:
        info = archive.read(crash_id)
    except NotArchived:
        return False
    digests = {file.digest for file in info.files}  # also of one that made room for a better one
    return job_name(job) in info.jobs and job.digest in digests


def finish_moves(archive: Archive, world: World) -> None:
    """Finish, or undo, moves that were stopped."""
    if (archive.path / MOVES).is_dir():  # few sites have a store
        from cas.archive.moving import Mover
        from cas.fetch.source import FetchPolicy

        by = person(world.environment, world.config)
        Mover(archive, FetchPolicy.of(world.config), world.progress, by).finish_moves()


def index_archive(archive: Archive, world: World) -> Indexed:
    """Finish what runs left in the archive that were stopped, and make its index anew.

    :raises TryAgain: the database is of no use now
    """
    finish_uploads(archive, world.config, world.now, world.progress)
    finish_moves(archive, world)
    archive.index.catch_up()
    crashes = enter_crashes(archive, world)
    number = crashes.entered
    world.progress.say(f"{number:,} {'crash' if number == 1 else 'crashes'} in the archive")
    return crashes


def enter_crashes(archive: Archive, world: World) -> Indexed:
    """Enter every crash into the index, and take out what the archive has not.

    Jobs that are gone go from their crashes, too; not where all seem to be, and the archive is
    elsewhere: then the work directory may not be mounted.

    :raises TryAgain: the database is of no use now
    """
    counts = Counter[str]()
    has_jobs = archive.path.is_relative_to(archive.work_directory) or any(
        WorkDirectory.of(world.config).jobs()
    )

    def entries() -> Iterator[IndexedCrash]:
        for crash_id in archive.ids():
            try:
                info = without_gone_jobs(archive, crash_id) if has_jobs else archive.read(crash_id)
                counts["jobless"] += bool(info.jobs and not has_jobs)
                entry = archive.index.entry_of(info)
            except NotArchived:  # a directory that was made by somebody who was stopped
                continue
            except CasError as error:
                world.progress.warn(str(error))
                counts["unreadable"] += 1
            else:
                counts["entered"] += 1
                yield entry

    archive.store.crashes.put(entries())
    for crash_id in archive.store.crashes.all_ids():
        if not archive.has_record(crash_id):
            archive.store.crashes.remove_crash(crash_id)
    archive.index.note_complete()
    if number := counts["jobless"]:
        crashes = "1 crash names" if number == 1 else f"{number:,} crashes name"
        world.progress.warn(
            f"{archive.work_directory} has no job, and {crashes} some, which are kept: is it "
            "mounted? they go with the next cas-admin index once there is a job"
        )
    return Indexed(counts["entered"], counts["unreadable"])


def without_gone_jobs(archive: Archive, crash_id: str) -> Info:
    """What is recorded of a crash, once the jobs that are gone are not any more.

    :raises CasError: its record cannot be read, or not be changed
    """
    info = archive.read(crash_id)
    if not gone_jobs(archive, info):
        return info
    with suppress(IndexBehind), archive.changing(crash_id) as draft:
        gone = gone_jobs(archive, draft.info)
        left = tuple(name for name in draft.info.jobs if name not in gone)
        draft.info = structs.replace(draft.info, jobs=left)
    return archive.read(crash_id)


def gone_jobs(archive: Archive, info: Info) -> list[str]:
    """The jobs of a crash that are not there any more."""
    return [name for name in info.jobs if is_gone(archive.work_directory / name)]
