"""``cas-admin -p``: remove the program's own job directories once they are old enough."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cas.catalogue.cache import clock
from cas.catalogue.cache.clock import Belief, Trace
from cas.commands import Answer, World
from cas.database.store import Store
from cas.errors import CasError, JobBusy, Refused
from cas.jobs import job as jobs
from cas.jobs.work_directory import PURGED, Entry, Kind, WorkDirectory
from cas.text import count
from cas.units import human_size
from cas_admin import ageing
from cas_admin.ageing import Aged, Records

QUESTION = "You are about to purge data, is this what you really want to do? [Y/y/N/n]: "
INDEX = "later run: cas-admin index"
ASK = "look at the clock; cas-admin -p without --yes asks and removes them"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which jobs a purge is about."""

    days: int | None = None
    """The limit; ``None``: purgeLimit of the configuration."""
    with_unfinished: bool = False
    """Whether jobs that wait, were stopped, or have an unsent mail are among them."""


def purge(choice: Choice, world: World, *, sure: bool, only_list: bool) -> Answer:
    """Ask, then remove what is older than the limit.

    :param sure: do not ask; then only that goes whose age is beyond doubt
    :raises Refused: nobody is there to answer, and ``--yes`` was not given
    """
    purging = Purging.of(world)
    for line in purging.work.skipped():
        world.progress.warn(line)
    days = world.config.purge_limit_days if choice.days is None else choice.days
    old = list(purging.old(days, with_unfinished=choice.with_unfinished))
    doubtful = purging.doubtful(old)
    remains = list(purging.remains())
    listed = [*map(_listed, old), *map(_listed_remains, remains)]
    if not choice.with_unfinished:
        _tell_kept(purging, days, world)
    if doubtful:
        world.progress.warn(f"{purging.belief.doubt}: {count(len(doubtful), 'job')} may be young")
    if sure and not only_list:
        purging.leave_trace(is_answered=False)
    if only_list or not listed:
        world.progress.say(f"{count(len(old), 'job')} older than {count(days, 'day')}")
        return Answer(tuple(listed))
    if sure:
        old = [one for one in old if one not in doubtful]
        if not old and not remains:
            raise Refused(f"nothing was purged: {purging.belief.doubt}", hint=ASK)
    else:
        _confirm(world, listed)
        purging.leave_trace(is_answered=True)
    removed = purging.remove(old, remains)
    if removed.kept:
        for line in removed.gone:
            world.progress.say(line)
        total = len(removed.kept) + len(removed.gone)
        raise CasError(f"{len(removed.kept)} of {total} could not be removed")
    return Answer(removed.gone, stands=True)


@dataclass(frozen=True, slots=True)
class Removed:
    """What came of a removal, a line each."""

    gone: tuple[str, ...]
    kept: tuple[str, ...]
    """With the reason, which was told."""


@dataclass(frozen=True, slots=True)
class Purging:
    """What is needed to decide and to remove."""

    work: WorkDirectory
    store: Store
    records: Records
    world: World
    traces: tuple[Trace, ...]
    """Of what was done here before."""
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

    def by_itself(self) -> Removed:
        """Remove what is older than purgeLimit beyond doubt, and has come to its end."""
        days = self.world.config.purge_limit_days
        old = list(self.old(days, with_unfinished=False))
        doubtful = self.doubtful(old)
        if doubtful:
            kept = f"{count(len(doubtful), 'job')} older than {count(days, 'day')} kept"
            self.world.progress.warn(f"{self.belief.doubt}: {kept}; {ASK}")
        elif self.belief.is_of_now:
            self.world.progress.warn(f"{self.belief.doubt}: nothing is purged for its age")
        return self.remove([one for one in old if one not in doubtful], list(self.remains()))

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
            is_left = self.world.now.timestamp() - entry.modified > jobs.UNBORN_S
            if entry.kind is Kind.PURGED or (entry.kind is Kind.UNBORN and is_left):
                yield entry

    def remove(self, old: Iterable[Aged], remains: Iterable[Entry]) -> Removed:
        """Remove jobs and their rows; one that cannot go does not keep the others."""
        gone, kept = [], []
        for entry in remains:
            try:
                _remove_tree(entry.path)
            except OSError as error:
                kept.append(f"{entry.path}: {error.strerror}")
            else:
                gone.append(f"removed {entry.path}, which {entry.kind.value}")
        for one in old:
            try:
                self._remove(one)
            except OSError as error:
                kept.append(f"{one.job.directory}: {error.strerror}")
            except CasError as error:
                if os.path.lexists(one.job.directory):  # else another purge was faster
                    kept.append(f"{one.job.directory}: {error}")
            else:
                gone.append(f"removed {one.job.directory}")
        for reason in kept:
            self.world.progress.warn(reason)
        return Removed(tuple(gone), tuple(kept))

    def _remove(self, one: Aged) -> None:
        directory = one.job.directory
        with jobs.lock(directory):
            job = jobs.load(directory)
            if job != one.job or ageing.held_for(job) != one.held_for:
                raise JobBusy("it was gone on with meanwhile")
            _require_one_file_system(directory)
            # under another name it is no job any more, even if we are stopped half-way
            doomed = directory.rename(directory.with_name(PURGED + directory.name))
        try:
            self.store.jobs.remove(directory)
        except CasError as error:
            self.world.progress.warn(f"{directory} stays in the database: {error}; {INDEX}")
        _remove_tree(doomed)
        with suppress(OSError):  # it has other jobs, or another purge was faster
            directory.parent.rmdir()


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


def _tell_kept(purging: Purging, days: int, world: World) -> None:
    unfinished = [one for one in purging.old(days, with_unfinished=True) if one.held_for]
    if unfinished:
        world.progress.say(
            f"{count(len(unfinished), 'job')} older than {count(days, 'day')} kept, because "
            "they wait, were stopped, or have an unsent mail: --unfinished is for these"
        )


def _listed(one: Aged) -> str:
    size = human_size(ageing.size_bytes(one.job.directory))
    held = f"  {ageing.HELD[one.held_for]}" if one.held_for else ""
    return f"{one.job.directory}  {size}{held}"


def _listed_remains(entry: Entry) -> str:
    return f"{entry.path}  {human_size(ageing.size_bytes(entry.path))}  {entry.kind.value}"


def _confirm(world: World, listed: Iterable[str]) -> None:
    if not world.is_interactive:
        raise Refused(
            "nothing was purged: there is no terminal to ask on", hint="add --yes if you are sure"
        )
    for line in listed:
        world.progress.say(line)
    if world.ask(QUESTION).strip().lower() != "y":
        raise Refused("nothing was purged: the answer was not y", hint="")
