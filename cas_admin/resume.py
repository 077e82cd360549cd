"""``cas-admin resume``: go on with the jobs that waited for a kernel, and with unsent mail."""

from __future__ import annotations

from collections.abc import Iterator

from cas import job as jobs
from cas.commands import Answer, World
from cas.errors import CasError
from cas.job import Job
from cas.triage import triage


def resume(world: World) -> Answer:
    """Go on with every waiting job.

    :return: a line for each that came to its end; status 6 while some still wait
    """
    from cas.report.outbox import deliver_all

    lines, waiting = [], 0
    deliver_all(world.config.work_directory, world.config.mail, world.progress)
    for job in waiting_jobs(world):
        line = _go_on(job, world)
        lines += [line] if line else []
        waiting += line is None
    return Answer(tuple(lines), 6 if waiting else 0)


def waiting_jobs(world: World) -> Iterator[Job]:
    """The jobs whose kernel was not in the catalogue, oldest first."""
    for directory in jobs.jobs(world.config.work_directory):
        try:
            job = jobs.load(directory)
        except CasError as error:
            world.progress.warn(str(error))
            continue
        if job.verdict == "waiting":
            yield job


def _go_on(job: Job, world: World) -> str | None:
    try:
        report, stopped = triage(job, world.config, world.progress)
    except CasError as error:
        stopped = error
    if stopped:
        world.progress.warn(f"{job.directory}: {stopped}")
        return None
    return f"{report.verdict} {job.directory}"
