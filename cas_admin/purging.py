"""The program's own job directories are removed once they are old enough."""

from __future__ import annotations

import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path

from cas.archive.archive import Archive, with_spare_room
from cas.archive.crash_directories import BLOCK_BYTES, NotArchived
from cas.archive.freeing import (
    Freed,
    StillNeeded,
    drop_files,
    drop_job,
    drop_lesser,
    kept_for_nobody,
    leftovers,
    remove_leftovers,
)
from cas.archive.incoming import left_uploads
from cas.archive.record import Change
from cas.catalogue.cache import clock
from cas.catalogue.cache.clock import Belief, Trace
from cas.commands import World
from cas.database.store import Store
from cas.errors import CasError, JobBusy
from cas.frozen import dataclass
from cas.jobs.job import Job, job_name, load_job
from cas.jobs.lock import lock_job
from cas.jobs.mounted import require_one_file_system
from cas.jobs.work_directory import PURGED, UNBORN_S, Entry, Kind, WorkDirectory
from cas.report.result import crash_id_of
from cas.settings.person import person
from cas.text import count
from cas.units import human_size
from cas_admin import ageing
from cas_admin.ageing import Aged, Records
from cas_admin.archive_purging import LEFTOVER, AgedCrash, Kept, look_through, why_kept

INDEX = "later run: cas-admin index"
ASK = "look at the clock; cas-admin -p without --yes asks and removes them"


@dataclass(frozen=True, slots=True)
class Old:
    """What a purge is about."""

    jobs: tuple[Aged, ...]
    crashes: tuple[AgedCrash, ...]
    """Of which files go that nobody needs."""
    limit: datetime
    """All of it is older."""

    def __len__(self) -> int:
        return len(self.jobs) + len(self.crashes)

    def counted(self) -> str:
        """How much it is, in words."""
        if not self.crashes:
            return count(len(self.jobs), "job")
        crashes = f"{len(self.crashes)} {'crash' if len(self.crashes) == 1 else 'crashes'}"
        return f"{count(len(self.jobs), 'job')} and files of {crashes}"

    def without(self, others: Old) -> Old:
        """What of it is not among others."""
        jobs = tuple(one for one in self.jobs if one not in others.jobs)
        crashes = tuple(one for one in self.crashes if one not in others.crashes)
        return replace(self, jobs=jobs, crashes=crashes)


@dataclass(frozen=True, slots=True)
class Remains:
    """What whoever was stopped has left behind."""

    entries: tuple[Entry, ...]
    """In the work directory."""
    crashes: tuple[str, ...]
    """Ids of crashes that have something of it."""


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
    archive: Archive | None
    """``None``: it cannot be used, which was told."""
    kept: Kept
    """What of it may go for its age, and what was left there."""
    freed: Freed
    """So far."""

    @classmethod
    def of(cls, world: World, *, looks_at_archive: bool = True) -> Purging:
        """Look at the traces of what was done here, before something is done now.

        :param looks_at_archive: every record of it is read then
        :raises CasError: the work directory cannot be used
        """
        work, store = WorkDirectory.of(world.config), Store.of(world.config)
        records = Records.of(store, world.progress)
        archive, kept = None, Kept()
        try:
            archive = Archive.of(world.config, store)
            kept = look_through(archive, world.now) if looks_at_archive else kept
        except CasError as error:
            world.progress.warn(f"nothing of the archive is purged: {error}")
        traces = (*ageing.traces(work, records), *kept.traces)
        belief = clock.believed(traces, world.now, world.config.purge_limit_days)
        return cls(work, store, records, world, traces, belief, archive, kept, Freed())

    def by_itself(self) -> Iterator[str]:
        """Remove what is older than purgeLimit beyond doubt, and has come to its end."""
        days = self.world.config.purge_limit_days
        old = self.old(days, with_unfinished=False)
        sure = self.beyond_doubt(old)
        if len(sure) < len(old):
            said = f"{old.without(sure).counted()} older than {count(days, 'day')} kept"
            self.world.progress.warn(f"{self.belief.doubt}: {said}; {ASK}")
        elif self.belief.is_of_now:
            self.world.progress.warn(f"{self.belief.doubt}: nothing is purged for its age")
        with with_spare_room(self.world.config):
            yield from self.remove(sure, self.remains(), [])

    def old(self, days: int, *, with_unfinished: bool) -> Old:
        """What is older than the limit, oldest first; jobs that their crash needs are left out."""
        limit = ageing.older_than(days, self.world.now)
        jobs = (
            one
            for one in ageing.all_aged(self.work, self.records)
            if one.youngest < limit and (with_unfinished or one.held_for is None)
        )
        return Old(
            tuple(one for one in jobs if self.why_needed(one.job) is None),
            tuple(one for one in self.kept.aged if one.youngest < limit),
            limit,
        )

    def needed(self, days: int) -> Iterator[str]:
        """A line for each job that is old and stays, since its crash needs it or is in use."""
        limit = ageing.older_than(days, self.world.now)
        for one in ageing.all_aged(self.work, self.records):
            if one.youngest < limit and (why := self.why_needed(one.job)):
                yield f"{one.job.directory} stays: {why}"

    def why_needed(self, job: Job) -> str | None:
        """Why a job stays for the sake of its crash, whatever its age; ``None``: it does not."""
        return why_kept(self.archive, job) if self.archive else None

    def leave_trace(self, *, is_answered: bool) -> None:
        """Leave a trace of this purge for later ones.

        :param is_answered: somebody has looked at the clock: what is of later than now was of a
            wrong one
        """
        with suppress(CasError):
            if is_answered:
                self.store.builds.forget_after(self.world.now + clock.SLACK)
            self.store.builds.note_purge(is_answered=is_answered)

    def beyond_doubt(self, old: Old) -> Old:
        """Those that are as old as they seem."""
        since = self.belief.since
        return replace(
            old,
            jobs=tuple(one for one in old.jobs if one.youngest >= since),
            crashes=tuple(one for one in old.crashes if one.youngest >= since),
        )

    def remains(self) -> Remains:
        """What was left behind by purges, new jobs and whoever else was stopped."""
        found = list[Entry]()
        for entry in self.work.entries():
            is_left = self.world.now.timestamp() - entry.modified > UNBORN_S
            if entry.kind is Kind.PURGED or (entry.kind is Kind.UNBORN and is_left):
                found.append(entry)
        return Remains(tuple(found), self.kept.leftovers)

    def leftovers(self) -> Iterator[Path]:
        """What stopped runs left in the archive."""
        for crash_id in self.kept.leftovers:
            yield from leftovers(self._archive(), crash_id, self._now_s)

    def remove(self, old: Old, remains: Remains, kept: list[str]) -> Iterator[str]:
        """Remove it; what cannot go does not keep the others.

        :param kept: takes those that could not be removed, with the reason, which is told
        :return: a line for each that has gone, and at last what that has freed
        """
        is_any = False
        for line in chain(
            self._remove_entries(remains.entries, kept),
            self.remove_jobs(old.jobs, kept),
            self._remove_files(old, kept),
            self._remove_leftovers(remains.crashes, kept),
        ):
            is_any = True
            yield line
        if is_any:
            yield f"{human_size(self.freed.size_bytes)} freed"

    def remove_jobs(self, old: Iterable[Aged], kept: list[str]) -> Iterator[str]:
        """Remove jobs and their rows; for the rest see `remove`."""
        for one in old:
            directory = one.job.directory
            with self._telling(str(directory), kept, is_there=partial(os.path.lexists, directory)):
                self._remove_job(one)
                yield f"removed {directory}"

    def _remove_entries(self, entries: Iterable[Entry], kept: list[str]) -> Iterator[str]:
        for entry in entries:
            with self._telling(str(entry.path), kept):
                self.freed.size_bytes += _remove_tree(entry.path)
                yield f"removed {entry.path}, which {entry.kind.value}"

    def _remove_files(self, old: Old, kept: list[str]) -> Iterator[str]:
        for one in old.crashes:
            with self._telling(str(one), kept):
                drop = drop_lesser if one.is_lesser else drop_files
                self._note(drop(self._archive(), one.crash_id, old.limit.timestamp(), self._change))
                yield f"removed {one}"

    def _remove_leftovers(self, crashes: Iterable[str], kept: list[str]) -> Iterator[str]:
        for crash_id in crashes if self._are_uploads_finished() else ():
            with self._telling(f"what was left of the crash {crash_id}", kept):
                found = remove_leftovers(self._archive(), crash_id, self._now_s)
                for path, freed_bytes in found:
                    self.freed.size_bytes += freed_bytes
                    yield f"removed {path}, {LEFTOVER}"

    def _are_uploads_finished(self) -> bool:
        """Finish uploads that were stopped; whether no file can be that of one any more."""
        from cas.triage.uploading import finish_uploads

        archive = self._archive()
        finish_uploads(archive, self.world.config, self.world.now, self.world.progress)
        return not any(job.stored for job in left_uploads(archive))

    @contextmanager
    def _telling(
        self, name: str, kept: list[str], is_there: Callable[[], bool] = lambda: True
    ) -> Iterator[None]:
        """Tell why something has not gone, unless it has gone meanwhile."""
        try:
            yield
        except StillNeeded as error:
            self.world.progress.warn(f"{name} stays: {error}")
        except NotArchived:  # another purge was faster
            pass
        except OSError as error:
            kept.append(f"{name}: {error.strerror}")
            self.world.progress.warn(kept[-1])
        except CasError as error:
            if is_there():  # else another purge was faster
                kept.append(f"{name}: {error}")
                self.world.progress.warn(kept[-1])

    def _remove_job(self, one: Aged) -> None:
        directory = one.job.directory
        with lock_job(directory), ExitStack() as leases:
            job = load_job(directory)
            if job != one.job or ageing.held_for(job) != one.held_for:
                raise JobBusy("it was gone on with meanwhile")
            require_one_file_system(directory)
            self._drop_from_archive(job, leases)
            # under another name it is no job any more, even if we are stopped half-way
            doomed = directory.rename(directory.with_name(PURGED + directory.name))
        try:
            self.store.jobs.remove_job(directory)
        except CasError as error:
            self.world.progress.warn(f"{directory} stays in the database: {error}; {INDEX}")
        self.freed.size_bytes += _remove_tree(doomed)
        with suppress(OSError):  # it has other jobs, or another purge was faster
            directory.parent.rmdir()

    def _drop_from_archive(self, job: Job, leases: ExitStack) -> None:
        """First, so that whoever is stopped leaves a job that is purged once more.

        :param leases: until its end nobody can begin to use the crash
        """
        try:
            crash_id = crash_id_of(job.directory)
        except CasError:  # it has come to no result, and into no archive
            return
        if crash_id is None:
            return
        archive = self._archive()
        with suppress(NotArchived):
            leases.enter_context(kept_for_nobody(archive, crash_id))
            self._note(drop_job(archive, crash_id, job_name(job), self._change))

    def _note(self, freed: Freed) -> None:
        self.freed.size_bytes += freed.size_bytes
        if freed.behind:
            self.world.progress.warn(f"{freed.behind}; {freed.behind.hint}")

    def _archive(self) -> Archive:
        return self.archive or Archive.of(self.world.config, self.store)

    @property
    def _change(self) -> Change:
        """What is recorded of a crash whose files go."""
        by = person(self.world.environment, self.world.config)
        return Change(at_s=self._now_s, by=by, what="purge")

    @property
    def _now_s(self) -> int:
        return int(self.world.now.timestamp())


def _remove_tree(directory: Path) -> int:
    """Remove a directory and what is below it; symbolic links go, not what they lead to.

    :return: bytes of the disk that this has freed
    :raises OSError: something cannot be removed, or another file system is mounted there
    """
    with suppress(FileNotFoundError):  # another purge was faster
        require_one_file_system(directory)
        freed_bytes = _own_bytes(directory)
        shutil.rmtree(directory)
        return freed_bytes
    return 0


def _own_bytes(directory: Path) -> int:
    """Bytes of the disk that only names below a directory have."""
    names, taken = Counter[tuple[int, int]](), dict[tuple[int, int], os.stat_result]()
    for path in (directory, *directory.rglob("*")):
        with suppress(OSError):
            state = path.lstat()
            file = state.st_dev, state.st_ino
            names[file] += 1
            taken[file] = state
    own = (
        state
        for file, state in taken.items()
        if stat.S_ISDIR(state.st_mode) or names[file] >= state.st_nlink
    )
    return sum(state.st_blocks * BLOCK_BYTES for state in own)
