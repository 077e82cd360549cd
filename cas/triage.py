"""A job from wherever it stopped to its end: locked, logged, and with its mail."""

from __future__ import annotations

from datetime import UTC, datetime

from cas import job as jobs
from cas.config import Config
from cas.engines.workshop import Workshop
from cas.errors import CasError
from cas.job import Job
from cas.model import Report
from cas.progress import Progress


def triage(
    job: Job, config: Config, progress: Progress, workshop: Workshop
) -> tuple[Report, CasError | None]:
    """Take a job as far as it goes.

    :return: what was found out, and what stopped it before its end
    """
    with jobs.lock(job.directory), jobs.logged(job, config.debug_level):
        # drgn's process gets ready while we import the rest
        from cas.pipeline import Pipeline

        pipeline = Pipeline(job, config, progress, workshop)
        error = pipeline.analyse()
        pipeline.publish(datetime.now(UTC))
        return pipeline.report, error


def send_mails(config: Config, progress: Progress) -> None:
    """Send the mails that wait in job directories; none that cannot be sent fails anything."""
    from cas.report.outbox import deliver_all

    for directory in deliver_all(config.work_directory, config.mail, progress):
        try:
            with jobs.lock(directory):
                jobs.load(directory).having("notified").save()
        except CasError as error:
            progress.warn(f"the mail of {directory} is sent, but that is not recorded: {error}")
