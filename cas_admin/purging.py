"""The program's own job directories are removed once they are old enough."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cas.archive.archive import Archive, IndexBehind
from cas.archive.freeing import drop_job
from cas.catalogue.cache import clock
from cas.catalogue.cache.clock import Belief, Trace
from cas.commands import World
from cas.database.store import Store
from cas.errors import CasError, JobBusy
from cas.jobs.job import Job, job_name, load_job
from cas.jobs.lock import lock_job
from cas.jobs.work_directory import PURGED, UNBORN_S, Entry, Kind, WorkDirectory
from cas.report.result import load as load_result
from cas.text import count
from cas_admin import ageing
from cas_admin.ageing import Aged, Records

INDEX = "later run: cas-admin index"
ASK = "look at the clock; cas-admin -p without --yes asks and removes them"


@dataclass(frozen=True, slots=True)
class Purging:
    """What is needed to decide and to remove."""

    work: WorkDirectory
    store: Store
    records: Records
    world: World
    traces: tuple[Trace, ...]
    """What was done here before, and when: by it the clock is judged."""
    belief: Belief
    """How far back the clock is believed."""

    @classmethod
    def of(cls, world: World) -> Purging:
        """Look at the traces of what was done here, before something is done now.

        :raises CasError: the work directory cannot be used
        """
        work, store = WorkDirectory.of(world.config), Store.of(world.config)
        records = Records.of(store, world.progress)
        traces = tuple(ageing.traces(work, records))
        belief = clock.believed(traces, world.now, world.config.purge_limit_days)
        return cls(work, store, records, world, traces, belief)

    def by_itself(self) -> Iterator[str]:
        """Remove what is older than purgeLimit beyond doubt, and has come to its end."""
        days = self.world.config.purge_limit_days
        old = list(self.old(days, with_unfinished=False))
        doubtful = self.doubtful(old)
        if doubtful:
            said = f"{count(len(doubtful), 'job')} older than {count(days, 'day')} kept"
            self.world.progress.warn(f"{self.belief.doubt}: {said}; {ASK}")
        elif self.belief.is_of_now:
            self.world.progress.warn(f"{self.belief.doubt}: nothing is purged for its age")
        kept = list[str]()
        yield from self.remove_jobs(
            [one for one in old if one not in doubtful], self.remains(), kept
        )

    def old(self, days: int, *, with_unfinished: bool) -> Iterator[Aged]:
        """Jobs that are older than the limit, oldest first."""
        limit = ageing.older_than(days, self.world.now)
        for one in ageing.all_aged(self.work, self.records):
            if one.youngest < limit and (with_unfinished or one.held_for is None):
                yield one

    def leave_trace(self, *, is_answered: bool) -> None:
        """Leave a trace of this purge for later ones.

        :param is_answered: somebody has looked at the clock: what is of later than now was of a
            wrong one
        """
        with suppress(CasError):
            if is_answered:
                self.store.builds.forget_after(self.world.now + clock.SLACK)
            self.store.builds.note_purge(is_answered=is_answered)

    def doubtful(self, old: Iterable[Aged]) -> list[Aged]:
        """Those that may be younger than they seem."""
        return [one for one in old if one.youngest < self.belief.since]

    def remains(self) -> Iterator[Entry]:
        """What purges and new jobs left behind when they were stopped."""
        for entry in self.work.entries():
            is_left = self.world.now.timestamp() - entry.modified > UNBORN_S
            if entry.kind is Kind.PURGED or (entry.kind is Kind.UNBORN and is_left):
                yield entry

    def remove_jobs(
        self, old: Iterable[Aged], remains: Iterable[Entry], kept: list[str]
    ) -> Iterator[str]:
        """Remove jobs and their rows; one that cannot go does not keep the others.

        :param kept: takes those that could not be removed, with the reason, which is told
        :return: a line for each that has gone
        """
        for entry in remains:
            try:
                _remove_tree(entry.path)
            except OSError as error:
                kept.append(f"{entry.path}: {error.strerror}")
                self.world.progress.warn(kept[-1])
            else:
                yield f"removed {entry.path}, which {entry.kind.value}"
        for one in old:
            try:
                self._remove_job(one)
            except (CasError, OSError) as error:
                # else another purge was faster
                if isinstance(error, OSError) or os.path.lexists(one.job.directory):
                    said = error.strerror if isinstance(error, OSError) else error
                    kept.append(f"{one.job.directory}: {said}")
                    self.world.progress.warn(kept[-1])
            else:
                yield f"removed {one.job.directory}"

    def _remove_job(self, one: Aged) -> None:
        directory = one.job.directory
        with lock_job(directory):
            job = load_job(directory)
            if job != one.job or ageing.held_for(job) != one.held_for:
                raise JobBusy("it was gone on with meanwhile")
            _require_one_file_system(directory)
            self._drop_from_archive(job)
            # under another name it is no job any more, even if we are stopped half-way
            doomed = directory.rename(directory.with_name(PURGED + directory.name))
        try:
            self.store.jobs.remove_job(directory)
        except CasError as error:
            self.world.progress.warn(f"{directory} stays in the database: {error}; {INDEX}")
        _remove_tree(doomed)
        with suppress(OSError):  # it has other jobs, or another purge was faster
            directory.parent.rmdir()

    def _drop_from_archive(self, job: Job) -> None:
        """First, so that whoever is stopped leaves a job that is purged once more."""
        try:
            dump = load_result(job.directory).dump
        except CasError:  # it has come to no result, and into no archive
            return
        if dump and dump.crash_id:
            archive = Archive.of(self.world.config, self.store)
            try:
                drop_job(archive, dump.crash_id, job_name(job), int(self.world.now.timestamp()))
            except IndexBehind as error:
                self.world.progress.warn(f"{error}; {error.hint}")


def _remove_tree(directory: Path) -> None:
    """Remove a directory and what is below it; symbolic links go, not what they lead to.

    :raises OSError: something cannot be removed, or another file system is mounted there
    """
    with suppress(FileNotFoundError):  # another purge was faster
        _require_one_file_system(directory)
        shutil.rmtree(directory)


def _require_one_file_system(directory: Path) -> None:
    place = directory.resolve()
    if any(place == mount or place in mount.parents for mount in _mount_points()):
        raise OSError(errno.EXDEV, "something is mounted in it", str(directory))
    device = directory.lstat().st_dev
    for parent, names, _ in os.walk(directory):
        for name in names:
            path = Path(parent, name)
            if path.lstat().st_dev != device:
                raise OSError(errno.EXDEV, "another file system is mounted in it", str(path))


def _mount_points() -> Iterator[Path]:
    """Where something is mounted; a part of the same file system is only known by this.

    /proc/self/mountinfo: proc_pid_mountinfo(5), white space and backslashes in octal.
    """
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        name = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), line.split()[4])
        yield Path(os.fsdecode(name))
