"""A job from wherever it stopped to its end: locked, logged, and with its mail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from cas import job as jobs
from cas.config import Config
from cas.engines.workshop import Workshop
from cas.errors import CasError, JobBusy
from cas.files import writing_below
from cas.job import Job
from cas.model import Report
from cas.progress import Progress
from cas.sharing import share
from cas.work_directory import WorkDirectory


def triage(
    job: Job, config: Config, progress: Progress, workshop: Workshop
) -> tuple[Report, CasError | None]:
    """Take a job as far as it goes.

    :return: what was found out, and what stopped it before its end
    """
    with (
        _locked(job.directory),
        jobs.logged(job, config.debug_level) as log,
        _interruption_noted(job.directory),
        writing_below(job.directory),
    ):
        # drgn's process gets ready while we import the rest
        from cas.pipeline import Pipeline

        share(job, [Path(log.baseFilename)], config, progress)
        pipeline = Pipeline(jobs.begin(job), config, progress, workshop)
        error = pipeline.analyse()
        pipeline.publish(datetime.now(UTC))
    if log.lost:
        progress.warn(f"{log.baseFilename} lacks lines: {log.lost}")
    return pipeline.report, error


def send_mails(config: Config, progress: Progress) -> None:
    """Send the mails of ended jobs that wait; none that cannot be sent fails anything.

    A mail is sent at least once: who is killed between the server's answer and its record sends
    it again, under the same Message-ID.
    """
    from cas.report.outbox import waiting_mails

    for directory in waiting_mails(WorkDirectory.of(config)):
        try:
            with jobs.lock(directory):
                _send_mail(directory, config, progress)
        except JobBusy:
            continue  # the run that has it sends its mail itself
        except CasError as error:
            progress.warn(f"the mail of {directory} is not sent: {error}; {error.hint}")


def _send_mail(directory: Path, config: Config, progress: Progress) -> None:
    from cas.report.outbox import deliver

    job = jobs.load(directory)
    if not job.is_stopped and deliver(directory, config.mail):
        progress.say(f"results of {directory} mailed")
        job.having("notified").save()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Have a job to ourselves, its log and results out of the dump's way."""
    with jobs.lock(directory):
        jobs.set_dump_apart(directory)
        yield


@contextmanager
def _interruption_noted(directory: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        with suppress(CasError):  # without the note the job can be gone on with all the same
            jobs.note_interruption(directory)
        raise
