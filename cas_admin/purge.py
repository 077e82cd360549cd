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

QUESTION = "You are about to purge data, is this what you really want to do? [Y/y/N/n]: "
PURGED = ".purged-"


def purge(days: int | None, world: World, *, sure: bool, only_list: bool) -> Answer:
    """Ask, then remove what is older than the limit.

    :param days: the limit; ``None``: purgeLimit of the configuration
    :raises Refused: nobody is there to answer, and ``--yes`` was not given
    """
    limit = world.config.purge_limit_days if days is None else days
    old = old_jobs(world.config.work_directory, limit, world.now)
    listed = tuple(f"{directory}  {human_size(_size_bytes(directory))}" for directory in old)
    if only_list or not old:
        world.progress.say(f"{count(len(old), 'job')} older than {count(limit, 'day')}")
        return Answer(listed)
    if not sure:
        _confirm(world, listed)
    return Answer(tuple(remove(old, world)), stands=True)


def old_jobs(work_directory: Path, days: int, now: datetime) -> list[Path]:
    """Job directories that began more than so many days ago, oldest first."""
    limit = now - timedelta(days=days)
    ours = [path for path in jobs.jobs(work_directory) if jobs.started(path) < limit]
    return sorted(ours, key=lambda path: path.name)


def remove(directories: Iterable[Path], world: World) -> list[str]:
    """Remove job directories and their rows; one that cannot go does not keep the others.

    :return: a line for each that is gone
    :raises CasError: some could not be removed
    """
    for half_gone in _remains(world.config.work_directory, world.now):
        shutil.rmtree(half_gone, ignore_errors=True)  # another purge may be at it
    gone, kept = [], []
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


def _remains(work_directory: Path, now: datetime) -> Iterator[Path]:
    """What purges and new jobs left behind when they were stopped."""
    yield from work_directory.glob(f"*/{PURGED}*")
    for unborn in work_directory.glob(f"*/{jobs.UNBORN}*"):
        if now.timestamp() - unborn.stat().st_mtime > jobs.UNBORN_S:
            yield unborn


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
