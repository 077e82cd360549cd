"""``cas-admin index``: the database is an index of the job directories, and can be made anew."""

from __future__ import annotations

import argparse

from cas.commands import Done, Output, World
from cas.errors import CasError
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
    from cas.archive.archive import Archive, ForeignArchive
    from cas.database.store import Store
    from cas.jobs.work_directory import WorkDirectory, is_gone, is_regular
    from cas.report.result import NAME, load
    from cas.triage.uploading import finish_uploads
    from cas_admin.indexing import (
        archive_job,
        finish_moves,
        index_archive,
        job_record_of,
        mend_database,
    )

    has_lost = mend_database(world)
    store, entered, unreadable = Store.of(world.config), 0, 0
    archive: Archive | None = None
    try:
        archive = Archive.of(world.config, store)
    except ForeignArchive as error:
        world.progress.warn(f"{error}: its crashes are not entered; {error.hint}")
    work = WorkDirectory.of(world.config)
    for line in work.skipped():
        world.progress.warn(line)
    for directory in work.jobs():
        if not is_regular(directory / NAME):  # it has not come to a result yet
            continue
        try:
            result = load(directory)
            record = job_record_of(result, directory)
        except CasError as error:
            world.progress.warn(f"{directory}: {error}")
            unreadable += 1
            continue
        store.jobs.put(record)
        entered += 1
        if archive is None:
            continue
        try:
            archive_job(archive, result, directory)
        except CasError as error:
            world.progress.warn(f"the crash of {directory} is not in the archive: {error}")
            unreadable += 1
    for directory in store.jobs.verdicts():
        if is_gone(directory):
            store.jobs.remove_job(directory)
    if archive is not None:
        finish_uploads(archive, world.config, world.now, world.progress)
        finish_moves(archive, world)
        archive.index.catch_up()
        crashes = index_archive(archive, world)
        unreadable += crashes.unreadable
        number = crashes.entered
        world.progress.say(f"{number:,} {'crash' if number == 1 else 'crashes'} in the archive")
    yield Done(f"{count(entered, 'job')} entered")
    return UNREADABLE if unreadable else LOST if has_lost else 0
