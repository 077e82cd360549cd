"""A finished report into the job directory and the index of jobs, and its mail into the queue."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from cas.archive.archive import Archive
from cas.archive.crash_index import IndexBehind
from cas.archive.keeping import enter_job
from cas.choices import Stage, Verdict
from cas.database.records import JobRecord
from cas.errors import CasError, NotPermitted
from cas.jobs import seal
from cas.jobs.job import Job
from cas.jobs.layout import DEEP_TRACE, RESULTS
from cas.jobs.sharing import share
from cas.model.report import Report
from cas.report.mail import compose
from cas.report.outbox import queue
from cas.report.report import write_report
from cas.triage.context import Context


def publish(report: Report, job: Job, digest: str | None, now: datetime, context: Context) -> None:
    """Make a job count as ended; one whose verdict is ``interrupted`` goes on later.

    :param digest: the dump's, where it is known
    :param now: for the mail
    :raises DiskFull: no room; the job has no result then
    :raises TryAgain: the job directory cannot be written
    """
    with context.timed("report"):
        seal.settle(job)
        if report.verdict is not Verdict.INTERRUPTED:
            _archive(report, job, context)  # first, since it changes when the dump was changed last
        write_report(report)
    told = [job.directory / name for name in RESULTS]
    told += [section.path for section in report.sections]
    told += [job.directory / name for name in DEEP_TRACE if report.glide]
    share(job, told, context.config, context.progress)
    try:
        context.store.jobs.put(JobRecord.of(report, digest))
    except CasError as error:  # the directory counts, so a busy database is only said
        context.progress.warn(f"the job is not in the index: {error}; later run: cas-admin index")
    if report.verdict is Verdict.INTERRUPTED:
        replace(job, verdict=Verdict.INTERRUPTED).save()
        return
    if email := context.order.email:  # it is sent once the job's lock is released
        try:
            queue(compose(report, email, context.config.mail, now), context.directory)
        except CasError as error:
            context.progress.warn(f"there is no mail to {email}: {error}")
    seal.seal(replace(job.having(Stage.REPORTED), verdict=report.verdict)).save()


def _archive(report: Report, job: Job, context: Context) -> None:
    """Enter the crash into the archive; that fails no job."""
    later = "later run: cas-admin index"
    try:
        archive = Archive.of(context.config, context.store)
        enter_job(archive, report, job, is_verified=lambda _: True)
    except IndexBehind as error:
        context.progress.warn(f"{error}; {error.hint}")
    except NotPermitted as error:  # it is another user's
        context.progress.note(f"the crash is not in the archive: {error}")
    except CasError as error:
        context.progress.warn(f"the crash is not in the archive: {error}; {later}")
