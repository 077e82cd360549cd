"""``cas-admin index``: the database is an index of the job directories, and can be made anew."""

from __future__ import annotations

import argparse

from cas.commands import Done, Output, World
from cas.text import count

PLACE = 4
HELP = "enter every job and crash into the database again"
EXAMPLE = "cas-admin index enters all jobs"
LOST = 3
UNREADABLE = 4


def arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(options: argparse.Namespace, world: World) -> Output:
    """Enter every job directory that has a result, in a database that is mended first if need be.

    :return: status 4 when some cannot be read, 3 when registered hosts are lost
    :raises ConfigError: the damaged database is none of ours
    :raises TryAgain: the database cannot be used
    """
    from cas.database.store import Store
    from cas.jobs.work_directory import WorkDirectory, is_gone
    from cas_admin.indexing import enter_jobs, index_archive, mend_database, own_archive

    has_lost = mend_database(world)
    store = Store.of(world.config)
    archive = own_archive(world, store)
    work = WorkDirectory.of(world.config)
    for line in work.skipped():
        world.progress.warn(line)
    jobs = enter_jobs(work, store, archive, world.progress)
    for directory in store.jobs.verdicts():
        if is_gone(directory):
            store.jobs.remove_job(directory)
    unreadable = jobs.unreadable
    if archive is not None:
        unreadable += index_archive(archive, world).unreadable
    yield Done(f"{count(jobs.entered, 'job')} entered")
    return UNREADABLE if unreadable else LOST if has_lost else 0
