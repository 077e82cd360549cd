"""``cas signature SPEC``: what a job's crash is called, and which frames its names are made of."""

from __future__ import annotations

from cas.commands import specification
from cas.commands.invocation import Answer, World
from cas.findings.outline import naming, outline_of
from cas.jobs.work_directory import WorkDirectory
from cas.text import json_text
from cas.triage.rejudge import evidence


def signature(which: str, world: World, *, as_json: bool) -> Answer:
    """Print title, signatures and frames, by the rules of this release.

    :param which: the SPEC of a job
    :raises CasError: there is no such job, or it was not finished
    """
    try:
        job = specification.find_job(which, WorkDirectory.of(world.config))
    except specification.SeveralJobs as error:
        world.progress.warn(f"{error}; {error.hint}")
        newest = f"the newest: cas signature {specification.name_of(error.found[-1])}"
        return Answer(
            tuple(map(specification.described, error.found)), error.exit_code, next_step=newest
        )
    told = outline_of(*evidence(job.directory))
    return Answer((json_text(told, indent=1),) if as_json else tuple(naming(told)))
