"""``cas-admin resume``: go on with unfinished jobs, and with unsent mail."""

from __future__ import annotations

from collections.abc import Iterator

from cas import job as jobs
from cas.commands import Answer, World
from cas.engines.workshop import workshop
from cas.errors import CasError
from cas.job import Job
from cas.triage import send_mails, triage

WAITING = 6


def resume(world: World) -> Answer:
    """Go on with every job that waits for a kernel or was stopped on its way.

    :return: a line for each that came to its end; status 6 while some still wait
    """
    lines = []
    for job in _unfinished(world):
        line = _go_on(job, world)
        lines += [line] if line else []
    send_mails(world.config, world.progress)
    return Answer(tuple(lines), WAITING if any(_unfinished(world)) else 0)


def _unfinished(world: World) -> Iterator[Job]:
    for directory in jobs.jobs(world.config.work_directory):
        try:
            job = jobs.load(directory)
        except CasError as error:
            world.progress.warn(str(error))
            continue
        if job.is_unfinished:
            yield job


def _go_on(job: Job, world: World) -> str | None:
    """How a job ended; ``None`` when it still waits, or another run has it."""
    try:
        with workshop(world.config) as opened:
            report, stopped = triage(job, world.config, world.progress, opened)
    except CasError as error:
        world.progress.warn(f"{job.directory}: {error}")
        return None
    if stopped:
        world.progress.warn(f"{job.directory}: {stopped}")
    return None if report.verdict == "waiting" else f"{report.verdict} {job.directory}"
