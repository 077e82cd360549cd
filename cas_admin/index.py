"""``cas-admin index``: the database is an index of the job directories, and can be made anew."""

from __future__ import annotations

from pathlib import Path

from cas.catalogue import Catalogue, JobRecord
from cas.commands import Answer, World
from cas.errors import CasError
from cas.report.result import NAME, load
from cas.report.result_record import Result
from cas.text import count
from cas.work_directory import WorkDirectory, is_gone, is_regular

LOST = 3
UNREADABLE = 4


def index(world: World) -> Answer:
    """Enter every job directory that has a result, in a database that is mended first if need be.

    :return: status 4 when some cannot be read, 3 when registered hosts are lost
    :raises ConfigError: the damaged database is none of ours
    :raises TryAgain: the database cannot be used
    """
    catalogue, entered, unreadable = Catalogue.of(world.config), 0, 0
    has_lost = _mended(catalogue, world)
    work = WorkDirectory.of(world.config)
    for line in work.skipped():
        world.progress.warn(line)
    for directory in work.jobs():
        if not is_regular(directory / NAME):  # it has not come to a result yet
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
        if is_gone(directory):
            catalogue.forget_job(directory)
    told = f"{count(entered, 'job')} entered"
    return Answer((told,), UNREADABLE if unreadable else LOST if has_lost else 0, stands=True)


def _mended(catalogue: Catalogue, world: World) -> bool:
    """Mend the database, and tell what came of it; whether that lost what is nowhere else."""
    repair = catalogue.repair(world.now, world.progress)
    if repair is None:
        return False
    tell = world.progress
    tell.warn(repair.fault)
    if repair.aside:
        tell.warn(f"the damaged file is kept as {repair.aside}, and a new one is in its place")
    else:
        tell.say("the tables that were gone are made anew")
    if repair.hosts:
        tell.say(f"{count(len(repair.hosts), 'registered analysis host')} taken over")
    if repair.has_lost_hosts:
        others = "others" if repair.hosts else "the registered analysis hosts"
        tell.warn(f"{others} may be lost; register them again: cas-admin -s, or host add NAME")
    if repair.has_lost_packages:
        tell.warn("the packages are not catalogued any more; run: cas-admin -b")
    return repair.has_lost_hosts


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
