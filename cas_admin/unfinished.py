"""Jobs that wait for a kernel or were stopped, and mails that were not sent: going on with them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from cas.archive.archive import Archive
from cas.catalogue import Catalogue
from cas.choices import Verdict
from cas.commands import Done, Output, World
from cas.commands.auto_analyzers import run_auto_analyzers
from cas.errors import AmbiguousKernel, CasError, JobBusy, KernelNotFound
from cas.frozen import dataclass
from cas.jobs.job import Job, job_name, load_job
from cas.jobs.work_directory import WorkDirectory
from cas.model.kernel import KernelIdentity
from cas.progress import Advance, Progress
from cas.report.result import load
from cas.text import count
from cas.triage.triage import send_mails, triage
from cas_admin import waiting_uploads


class OfJob:
    """Progress of one job among many: a warning names it, also where no line says its beginning."""

    def __init__(self, name: str, shown: Progress) -> None:
        """Tell somebody else.

        :param name: the job's, or the id of an upload's crash
        """
        self.name = name
        self._shown = shown

    def say(self, text: str) -> None:
        """Tell it as it is: who goes on with the job has named it."""
        self._shown.say(text)

    def warn(self, text: str) -> None:
        """Tell it, and of which job."""
        self._shown.warn(f"{self.name}: {text}")

    def bar(self, text: str, total: int | None, unit: str = "B") -> AbstractContextManager[Advance]:
        """Show a step."""
        return self._shown.bar(text, total, unit)

    def note(
        self, text: str, level: int = logging.INFO, *, error: BaseException | None = None
    ) -> None:
        """Only the job's log needs it."""

    def worded(self, text: str) -> str:
        """As it is shown."""
        return self._shown.worded(text)


def go_on_with_jobs(world: World, *, is_asked: bool = True) -> Output:
    """Go on with every job that waits for a kernel that may have come, or was stopped on its way.

    :param is_asked: whether a person wants just that: the mail server is not left alone then
    :return: a line for each that came to its end, and how many wait; status 6 while some are left
    """
    work, unfinished = WorkDirectory.of(world.config), list[Job]()
    for line in work.skipped():
        world.progress.warn(line)
    for directory in work.jobs():
        try:
            job = load_job(directory)
        except CasError as error:
            world.progress.warn(str(error))
            continue
        if job.is_unfinished:
            unfinished.append(job)
    if is_asked and not unfinished:
        world.progress.say("no job waits or was stopped")
    hopeless = _hopeless([job for job in unfinished if job.is_waiting], world)
    waiting, stopped = len(hopeless), 0
    for job in unfinished:
        if job.directory in hopeless:
            continue
        with suppress(CasError):  # which is said where it is gone on with
            if not load_job(job.directory).is_unfinished:  # another run has ended it since
                continue
        verdict = _go_on_with(job, world)
        waiting += verdict is Verdict.WAITING
        stopped += verdict is None
        if verdict not in (None, Verdict.WAITING):
            yield Done(f"{verdict} {job.directory}")
    uploads = yield from _complete_uploads(world)
    send_mails(world.config, world.progress, at_once=is_asked)
    if waiting:
        yield Done(f"{count(waiting, 'job')} still waiting for a kernel")
    if uploads:
        yield Done(f"{count(uploads, 'upload')} still waiting for a kernel")
    return KernelNotFound.exit_code if waiting or stopped else 0


def _complete_uploads(world: World) -> Output:
    """Complete what is told of uploads for which a kernel may have come.

    :return: a line for each that came to its end; how many still wait
    """
    try:
        archive = Archive.of(world.config)
        found = list(waiting_uploads.incomplete(archive))
    except CasError as error:
        world.progress.warn(f"uploads that wait for a kernel cannot be told: {error}; {error.hint}")
        return 0
    hopeless, waiting = _hopeless([job for _, _, job in found if job], world), 0
    for info, file, job in found:
        if job and job.directory in hopeless:
            waiting += 1
            continue
        world.progress.say(f"Going on with the upload of {info.id}")
        told = OfJob(info.id, world.progress)
        try:
            verdict = waiting_uploads.complete(info, file, archive, world, told)
        except CasError as error:
            world.progress.warn(f"{info.id}: {error}")
            continue
        waiting += verdict is Verdict.WAITING
        if verdict is not Verdict.WAITING:
            yield Done(f"{verdict} {info.id}")
    return waiting


def _hopeless(waiting: Sequence[Job], world: World) -> set[Path]:
    """Directories of the jobs for which nothing has come.

    No dump is read and no package opened: a site may have a thousand jobs that wait. A job of which
    this cannot be told is not among them.
    """
    described = []
    for job in waiting:
        with suppress(CasError):
            result = load(job.directory)
            if (said := result.dump) is not None:
                identity = KernelIdentity(said.arch, said.osrelease, said.build_id, said.banner)
                described.append(_WaitedFor(job.directory, identity, result.rivals))
    identities = list(dict.fromkeys(each.identity for each in described))
    catalogue = Catalogue.of(world.config)
    try:
        answers = catalogue.prospects(
            identities, cache=world.config.debugs, progress=world.progress
        )
        known = dict(zip(identities, answers, strict=True))
    except CasError as error:  # of the database, or no room for what a server sends
        world.progress.warn(f"whether kernels have come cannot be told: {error}; {error.hint}")
        return set()
    return {
        each.directory
        for each in described
        if (answer := known[each.identity]) is False
        or (isinstance(answer, AmbiguousKernel) and answer.rivals == each.rivals)
    }


@dataclass(frozen=True, slots=True)
class _WaitedFor:
    """What the result of a job that waits says."""

    directory: Path
    identity: KernelIdentity
    """The kernel that it waits for."""
    rivals: tuple[str, ...]
    """The packages between which nothing decided."""


def _go_on_with(job: Job, world: World) -> str | None:
    """How a job ended; ``None`` when it did not: another run has it, or the disk is full."""
    from cas.engines.drgn.prestart import prestarted

    told = OfJob(job_name(job), world.progress)
    world.progress.say(f"Going on with {told.name}")
    try:
        with prestarted(world.config) as opened:
            report, stopped = triage(job, world.config, told, opened)
        if stopped:
            advice = f"; {stopped.hint}" if stopped.hint else ""
            world.progress.warn(f"{job.directory}: {stopped}{advice}")
        ended = load_job(job.directory)
        if ended.is_waiting:
            return Verdict.WAITING
        if ended.is_stopped:
            return None
        run_auto_analyzers(report, world)
        return report.verdict
    except JobBusy:
        world.progress.say(f"{told.name} is left to another run, which is working on it")
        return None
    except CasError as error:
        world.progress.warn(f"{job.directory}: {error}")
        return None
