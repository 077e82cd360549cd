"""The jobs of a site, as ``cas jobs`` lists them."""

from __future__ import annotations

from typing import Any

from cas.choices import Verdict
from cas.commands.invocation import World
from cas.database.records import ListedJob
from cas.database.store import Store
from cas.errors import CasError
from cas.jobs.job import load_job
from cas.jobs.lock import worked_on
from cas.jobs.work_directory import WorkDirectory
from cas.units import plain

RUNNING, STOPPED, UNREADABLE = "running", "stopped", "unreadable"
"""States of jobs without a verdict: a run is working on it, none is, its record is damaged."""
_OPEN = (RUNNING, STOPPED, UNREADABLE, Verdict.INTERRUPTED.value, Verdict.WAITING.value)


def listed_jobs(world: World) -> list[dict[str, Any]]:
    """What is told of each job, those that are not at their end first, newest first.

    The index has those that ended; the others are looked for in the work directory.
    """
    store, work = Store.of(world.config), WorkDirectory.of(world.config)
    indexed = store.jobs.listed()
    titles = store.crashes.titles_of_jobs()
    known = {job.directory for job in indexed}
    directories = [path for path in work.jobs() if path not in known]
    running = worked_on(directories)
    found = [_told(job, job.verdict or STOPPED, titles) for job in indexed]
    for directory in directories:
        try:
            job = load_job(directory)
        except CasError:
            continue
        state = RUNNING if directory in running else job.verdict or STOPPED
        listed = ListedJob(directory, job.started, job.verdict)
        found.append(_told(listed, state, titles))
    found.sort(key=lambda told: told["started"], reverse=True)
    return sorted(found, key=lambda told: told["state"] not in _OPEN)


def _told(job: ListedJob, state: str, titles: dict[str, str]) -> dict[str, Any]:
    name = f"{job.directory.parent.name}/{job.directory.name}"
    return {
        "name": name,
        "directory": str(job.directory),
        "state": state,
        "started": str(plain(job.started)),
        "release": job.osrelease,
        "node": job.nodename,
        "panic": job.panic_message,
        "title": titles.get(name),
    }
