"""The database is an index of the job directories: it is mended, and their rows are made anew."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from msgspec.structs import asdict

from cas.commands import World
from cas.database.records import JobRecord, machine_name
from cas.database.repair import repair
from cas.database.store import LOCK_S
from cas.errors import CasError
from cas.jobs import job as jobs
from cas.model import Signature
from cas.report.result_record import Result
from cas.text import count


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


def job_record_of(result: Result, directory: Path) -> JobRecord:
    """The row of a job that has a result."""
    dump, answer = result.dump, result.answer
    told = answer.crash_time if answer else None
    return JobRecord(
        ticket=result.ticket,
        directory=directory,  # which may have been moved since
        started=result.started,
        verdict=result.verdict,
        osrelease=dump.osrelease if dump else None,
        build_id=dump.build_id if dump else None,
        panic_message=dump.panic_message if dump else None,
        crashed=told or (dump.crash_time if dump else None),
        nodename=machine_name(answer.nodename if answer else None, dump.nodename if dump else None),
        digest=_dump_digest(directory) if dump else None,
        signatures=_crash_names(result),
        model=result.finding.machine.model if result.finding and result.finding.machine else None,
        bios=result.finding.machine.bios if result.finding and result.finding.machine else None,
    )


def _crash_names(result: Result) -> tuple[Signature, ...]:
    """What the crash is called; by the first version of the rules if no later one judged it."""
    finding = result.finding
    if finding is None or finding.title:
        return tuple(Signature(**asdict(each)) for each in (finding.signatures if finding else ()))
    return (Signature(1, "full", result.signature),) if result.signature else ()


def _dump_digest(directory: Path) -> str | None:
    """The digest of the kept dump; a broken record of the job costs only this."""
    try:
        return jobs.load(directory).digest
    except CasError:
        return None
