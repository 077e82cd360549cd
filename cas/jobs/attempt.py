"""How a run takes up a job and leaves it: what an earlier attempt left is withdrawn or kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cas.choices import Verdict
from cas.errors import UsageError
from cas.files.whole import sync_directory, writing_below
from cas.jobs.job import STAGES, Job, load_job
from cas.jobs.layout import DUMP, RESULTS, is_for_dumps


def take_up(job: Job, *, is_new: bool = False) -> Job:
    """Take up a job whose lock we have; results of an earlier attempt are withdrawn first.

    A first answer alone is kept: until `begin_anew` the job stays on the disk what it was.

    :param job: as it was read before; its order counts
    :param is_new: it was made by this run: then it has nothing that could be withdrawn
    :return: the job as the disk has it, with nothing finished but the storing of the dump
    :raises UsageError: another run has brought it to its end meanwhile
    :raises TryAgain: the directory cannot be written
    """
    found = load_job(job.directory)
    if not found.can_go_on:
        raise UsageError(
            f"{job.directory} came to its end meanwhile: {found.verdict}",
            hint=f"to analyse a dump again: cas -i {found.order.ticket} -f FILE",
        )
    if is_new and found.stages == job.stages and found.verdict is None:
        return job
    begun = replace(
        found,
        order=job.order,
        stages=tuple(name for name in found.stages if name in STAGES[:2]),
        lacks_kernel=False,
        files={name: one for name, one in found.files.items() if name == found.dump_name},
    )
    return begun if begun.is_answer_alone else begin_anew(begun)


def begin_anew(job: Job) -> Job:
    """The job without what an earlier attempt found out, which is withdrawn.

    :raises TryAgain: the directory cannot be written
    """
    begun = replace(job, verdict=None)
    begun.save()
    withdraw(job.directory)
    return begun


def set_dump_apart(directory: Path) -> None:
    """Give the dump of an unfinished job a directory of its own, if a result may have its name.

    Jobs of earlier releases have it beside the results; where no result can be it stays.

    :raises TryAgain: the directory cannot be written
    """
    job = load_job(directory)
    if job.stored is None or job.stored.vmcore.parent != directory or not job.is_unfinished:
        return
    name = job.stored.vmcore.name
    if is_for_dumps(name):
        return
    apart = directory / DUMP / name
    with writing_below(directory):
        apart.parent.mkdir(mode=0o700, exist_ok=True)
        if not apart.exists():  # a run that was stopped here had moved it already
            job.stored.vmcore.rename(apart)
        sync_directory(apart.parent)
        files = {f"{DUMP}/{name}" if key == name else key: one for key, one in job.files.items()}
        replace(job, stored=replace(job.stored, vmcore=apart), files=files).save()


def withdraw(directory: Path) -> None:
    """Remove what tells of a job's end, for good.

    :raises TryAgain: the directory cannot be written
    """
    with writing_below(directory):
        for name in RESULTS:
            (directory / name).unlink(missing_ok=True)
        sync_directory(directory)


def note_interruption(directory: Path) -> None:
    """Record that a job was stopped; one that had come to its end is left as it is.

    :raises CasError: that cannot be recorded; the job can be gone on with all the same
    """
    job = load_job(directory)
    if job.verdict is None:
        replace(job, verdict=Verdict.INTERRUPTED).save()
        withdraw(directory)
