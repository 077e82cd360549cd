"""``cas-admin index``: the database is an index of the job directories, and can be made anew."""

from __future__ import annotations

from pathlib import Path

from cas.catalogue import Catalogue, JobRecord
from cas.commands import Answer, World
from cas.errors import CasError
from cas.report.result import NAME, load
from cas.report.result_record import Result
from cas.text import count
from cas.work_directory import STATE, WorkDirectory


def index(world: World) -> Answer:
    """Enter every job directory that has a result; status 4 when some cannot be read.

    :raises TryAgain: the database cannot be used
    """
    catalogue, entered, unreadable = Catalogue.of(world.config), 0, 0
    work = WorkDirectory.of(world.config)
    for line in work.skipped():
        world.progress.warn(line)
    for directory in work.jobs():
        if not (directory / NAME).exists():  # it has not come to a result yet
            continue
        try:
            record = _record(load(directory), directory)
        except CasError as error:
            world.progress.warn(f"{directory}: {error}")
            unreadable += 1
            continue
        catalogue.record_job(record)
        entered += 1
    for directory in catalogue.indexed():
        if not (directory / STATE).exists():
            catalogue.forget_job(directory)
    told = f"{count(entered, 'job')} entered"
    return Answer((told,), 4 if unreadable else 0, stands=True)


def _record(result: Result, directory: Path) -> JobRecord:
    dump = result.dump
    return JobRecord(
        ticket=result.ticket,
        directory=directory,  # which may have been moved since
        started=result.started,
        verdict=result.verdict,
        osrelease=dump.osrelease if dump else None,
        build_id=dump.build_id if dump else None,
        signature=result.signature,
        panic_message=dump.panic_message if dump else None,
    )
