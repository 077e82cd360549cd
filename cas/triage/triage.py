"""A job from wherever it stopped to its end: locked, logged, and with its mail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cas.choices import Stage
from cas.errors import CasError, JobBusy
from cas.files.whole import writing_below
from cas.jobs.attempt import note_interruption, set_dump_apart, take_up
from cas.jobs.job import Job, load_job
from cas.jobs.lock import lock_job
from cas.jobs.log import logged
from cas.jobs.sharing import share
from cas.jobs.work_directory import WorkDirectory
from cas.model.report import Report
from cas.progress import Progress
from cas.report.mail_files import waiting_mails
from cas.settings.config import Config
from cas.text import count

if TYPE_CHECKING:
    from cas.engines.drgn.prestart import Prestart


def triage(
    job: Job, config: Config, progress: Progress, prestart: Prestart, *, is_new: bool = False
) -> tuple[Report, CasError | None]:
    """Take a job as far as it goes.

    :param is_new: it was made by this run
    :return: what was found out, and what stopped it before its end
    """
    with (
        _locked(job.directory),
        logged(job, config.debug_level, progress) as log,
        _interruption_noted(job.directory),
        writing_below(job.directory),
    ):
        # drgn's process gets ready while we import the rest
        from cas.triage.pipeline import Pipeline

        share(job, [log.path], config, log)
        pipeline = Pipeline(take_up(job, is_new=is_new), config, log, prestart)
        error = pipeline.analyse()
        if error and pipeline.job.is_answer_alone:
            from cas.triage.kept_answer import keep_answer

            return keep_answer(job.directory, error, pipeline.context), error
        report = pipeline.completed_report()
        # the template engine is loaded only now: the first answer does not wait for it
        from cas.triage.publish import publish

        publish(report, pipeline.job, pipeline.digest, datetime.now(UTC), pipeline.context)
    if log.lost:
        progress.warn(f"{log.path} lacks lines: {log.lost}")
    return report, error


def send_mails(config: Config, progress: Progress, *, at_once: bool = False) -> None:
    """Send the mails of ended jobs that wait; none that cannot be sent fails anything.

    A server that is of no use ends it: the others would wait for it as long. After that it is left
    alone for a while. A mail is sent at least once: who is killed between the server's answer and
    its record sends it again, under the same Message-ID.

    :param at_once: try also a server that is to be left alone
    """
    work = WorkDirectory.of(config)
    waiting = list(waiting_mails(work))
    if not waiting:
        return
    from cas.report import pause  # and what sends mails, only where there are any

    if config.mail.host is None:
        progress.warn(f"{count(len(waiting), 'mail')} waiting: there is no `smtphost` in cas.conf")
        return
    paused = None if at_once else pause.pause(work, config.mail)
    if paused and paused.holds():
        progress.warn(f"{paused}: {count(len(waiting), 'mail')} waiting; now: cas-admin resume")
        return
    _send_all(waiting, work, config, progress)


def _send_all(
    waiting: Sequence[Path], work: WorkDirectory, config: Config, progress: Progress
) -> None:
    from cas.report import pause
    from cas.report.outbox import deliver  # before the server's time begins
    from cas.report.smtp import Allowance, MailDeferred, MailServerDown, MailServerUnfit

    allowance = Allowance(config.mail.timeout_s)
    send = partial(deliver, settings=config.mail, allowance=allowance)
    for number, directory in enumerate(waiting):
        left = f"; {count(len(waiting) - number - 1, 'more mail')} waiting"
        if allowance.is_over:  # of a server that is slow, not of one that is down
            progress.warn(
                f"{len(waiting) - number} of {len(waiting)} mails are left to the next run"
            )
            return
        try:
            with lock_job(directory):
                if _send_mail(directory, send, progress):
                    pause.end(work)
        except JobBusy:
            continue  # the run that has it sends its mail itself
        except CasError as error:
            tell = f"the mail of {directory} is not sent: {error}; {error.hint}"
            is_server = isinstance(error, MailServerDown | MailServerUnfit)
            if is_server and not isinstance(error, MailDeferred):
                pause.begin(work, config.mail)
                progress.warn(tell + (left if number < len(waiting) - 1 else ""))
                return
            progress.warn(tell)


def _send_mail(directory: Path, send: Callable[[Path], bool], progress: Progress) -> bool:
    """Send the mail of a job, if it has ended; whether the server took it."""
    job = load_job(directory)
    if job.is_stopped or not send(directory):
        return False
    progress.say(f"results of {directory} mailed")
    job.having(Stage.NOTIFIED).save()
    return True


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Have a job to ourselves, its log and results out of the dump's way."""
    with lock_job(directory):
        set_dump_apart(directory)
        yield


@contextmanager
def _interruption_noted(directory: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        with suppress(CasError):  # without the note the job can be gone on with all the same
            note_interruption(directory)
        raise
