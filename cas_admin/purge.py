"""``cas-admin -p``: remove the program's own job directories once they are old enough."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from cas import job as jobs
from cas.catalogue import Catalogue
from cas.commands import Answer, World
from cas.errors import CasError, Refused, TryAgain
from cas.text import count, human_size
from cas.work_directory import PURGED, Entry, Kind, WorkDirectory

QUESTION = "You are about to purge data, is this what you really want to do? [Y/y/N/n]: "


def purge(days: int | None, world: World, *, sure: bool, only_list: bool) -> Answer:
    """Ask, then remove what is older than the limit.

    :param days: the limit; ``None``: purgeLimit of the configuration
    :raises Refused: nobody is there to answer, and ``--yes`` was not given
    """
    limit = world.config.purge_limit_days if days is None else days
    work = WorkDirectory.of(world.config)
    for line in work.skipped():
        world.progress.warn(line)
    old = old_jobs(work, limit, world.now)
    listed = tuple(f"{directory}  {human_size(_size_bytes(directory))}" for directory in old)
    if only_list or not old:
        world.progress.say(f"{count(len(old), 'job')} older than {count(limit, 'day')}")
        return Answer(listed)
    if not sure:
        _confirm(world, listed)
    return Answer(tuple(remove(old, work, world)), stands=True)


def old_jobs(work: WorkDirectory, days: int, now: datetime) -> list[Path]:
    """Directories of the jobs that began more than so many days ago, oldest first.

    One whose ``job.json`` cannot be read is kept: nobody knows what it is.
    """
    limit = now - timedelta(days=days)
    found = []
    for directory in work.jobs():
        with suppress(CasError):
            found.append(jobs.load(directory))
    return [job.directory for job in jobs.by_age(found) if job.started < limit]


def remove(directories: Iterable[Path], work: WorkDirectory, world: World) -> list[str]:
    """Remove job directories and their rows; one that cannot go does not keep the others.

    :return: a line for each that is gone
    :raises CasError: some could not be removed
    """
    gone, kept = [], []
    for entry in _remains(work, world.now):
        shutil.rmtree(entry.path, ignore_errors=True)  # another purge may be at it
        gone.append(f"removed {entry.path}, which {entry.kind.value}")
    catalogue = Catalogue.of(world.config)
    for directory in directories:
        try:
            _remove(directory, catalogue)
        except (OSError, TryAgain) as error:
            kept.append(f"{directory}: {error}")
        else:
            gone.append(f"removed {directory}")
    for reason in kept:
        world.progress.warn(reason)
    if kept:
        raise CasError(f"{len(kept)} of {len(kept) + len(gone)} jobs could not be removed")
    return gone


def _remains(work: WorkDirectory, now: datetime) -> Iterator[Entry]:
    """What purges and new jobs left behind when they were stopped."""
    for entry in work.entries():
        is_old = now.timestamp() - entry.modified > jobs.UNBORN_S
        if entry.kind is Kind.PURGED or (entry.kind is Kind.UNBORN and is_old):
            yield entry


def _remove(directory: Path, catalogue: Catalogue) -> None:
    with jobs.lock(directory):
        # under another name it is no job any more, even if we are stopped half-way
        doomed = directory.rename(directory.with_name(PURGED + directory.name))
    catalogue.forget_job(directory)
    shutil.rmtree(doomed)
    with suppress(OSError):  # it has other jobs, or another purge was faster
        directory.parent.rmdir()


def _confirm(world: World, listed: Iterable[str]) -> None:
    if not world.is_interactive:
        raise Refused(
            "nothing was purged: there is no terminal to ask on", hint="add --yes if you are sure"
        )
    for line in listed:
        world.progress.say(line)
    if world.ask(QUESTION).strip().lower() != "y":
        raise Refused("nothing was purged: the answer was not y", hint="")


def _size_bytes(directory: Path) -> int:
    files = (path.lstat() for path in directory.rglob("*"))
    return sum(state.st_blocks * 512 for state in files)
