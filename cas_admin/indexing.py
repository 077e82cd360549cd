"""The database is an index of the job directories: it is mended, and their rows are made anew."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from cas.commands import World
from cas.database.records import JobRecord
from cas.database.repair import repair
from cas.database.store import LOCK_S
from cas.errors import CasError
from cas.jobs.job import load_job
from cas.model.answer import FirstAnswer
from cas.model.dump import Dump
from cas.model.finding import Finding, Signature
from cas.model.report import Report
from cas.report.result_record import Result
from cas.text import count
from cas.triage.rejudge import kernel_log, value_of_record


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
    """The row of a job that has a result: the one that the job made of its report.

    :param directory: where it lies now; it may have been moved since
    """
    dump, digest = (value_of_record(result.dump, Dump) if result.dump else None), None
    with suppress(CasError):  # a log or a record that cannot be read costs only this
        if dump and dump.log_digest is None:  # a result of before, or a log of a few lines
            dump = replace(dump, dmesg=kernel_log(result, directory))
    with suppress(CasError):
        digest = load_job(directory).digest
    finding = value_of_record(result.finding, Finding) if result.finding else None
    if finding and not finding.title and result.signature:
        # judged by no rules but the first, it has the one name that these gave
        finding = replace(finding, signatures=(Signature(1, "full", result.signature),))
    report = Report(
        ticket=result.ticket,
        directory=directory,
        upload=result.upload,
        server=result.server,
        started=result.started,
        verdict=result.verdict,
        stage=result.stage,
        dump=dump,
        answer=(value_of_record(result.answer, FirstAnswer) if result.answer else None),
        finding=finding,
    )
    return JobRecord.of(report, digest)
