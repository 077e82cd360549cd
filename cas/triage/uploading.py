"""An upload from its file to the archive: as a job, but without ticket, snippets and mail."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from cas.archive import incoming
from cas.archive.archive import Archive
from cas.archive.crash_index import IndexBehind
from cas.archive.keeping import Entered, enter_upload, fingerprint_of, settle_upload
from cas.archive.record import File, Info, Place
from cas.choices import Stage, Storage, Verdict
from cas.dump import SEARCH_BYTES, identify
from cas.errors import CasError, DiskFull, NotADump
from cas.files.whole import write_whole, writing_below
from cas.frozen import dataclass
from cas.jobs.attempt import take_up
from cas.jobs.job import Job, load_job
from cas.jobs.log import logged
from cas.jobs.work_directory import is_regular
from cas.model.dump import Dump
from cas.model.report import Report
from cas.progress import Progress
from cas.report.result import NAME as RESULT
from cas.report.result import load
from cas.settings.config import Config

if TYPE_CHECKING:
    from cas.engines.drgn.prestart import Prestart


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What came of an upload that is in the archive."""

    info: Info
    file: File
    """As the archive has it."""
    is_known: bool
    """The archive had this very file."""
    report: Report
    error: CasError | None
    """What stopped it before its end, such as that nobody has the kernel."""
    behind: IndexBehind | None
    """Why the index does not know of it yet."""


@dataclass(frozen=True, slots=True)
class Uploader:
    """What takes one upload as far as it goes."""

    archive: Archive
    config: Config
    progress: Progress
    prestart: Prestart
    again: str
    """The command that goes on with it."""

    def upload(self, job: Job) -> Uploaded:
        """What came of it: its dump is in the archive then.

        :param job: its directory, which is ours
        :raises CasError: the dump is not there, or not now; what has come of it is kept where the
            next run can use it
        """
        try:
            job, report, error = self._analysed(job)
        except BaseException as failure:
            if not _is_of_use(job, failure, datetime.now(job.started.tzinfo)):
                incoming.remove_upload(job)
            raise
        entered = _enter(self.archive, report, job, incoming.answer_name(job))
        return Uploaded(entered.info, entered.file, entered.is_known, report, error, entered.behind)

    def _analysed(self, job: Job) -> tuple[Job, Report, CasError | None]:
        """An upload whose dump and reports are whole, and what stopped it before its end.

        :raises CasError: there is no dump
        """
        config = replace(self.config, storage=Storage.COPY)
        with logged(job, config.debug_level, self.progress) as log:
            # drgn's process gets ready while we import the rest
            from cas.triage.pipeline import Pipeline

            pipeline = Pipeline(take_up(job), config, log, self.prestart, self.again)
            error = pipeline.analyse()
            if error and (pipeline.job.stored is None or pipeline.report.dump is None):
                raise error
            report = pipeline.completed_report()
            job = replace(pipeline.job.having(Stage.REPORTED), verdict=report.verdict)
            return job, _write_reports(report, job, self.archive), error


def enter_fetched(
    job: Job, archive: Archive, config: Config, progress: Progress, place: Place | None
) -> Entered:
    """Have a dump that was fetched in the archive, without an answer: many are fetched first.

    It is identified. The answer comes as for uploads that were stopped.

    :param job: the upload; what was fetched lies in it as a file of its URL does
    :param place: where it was found
    :raises CasError: it is no dump, and is gone, or it cannot be stored now
    """
    from cas.triage.upload import Arrival

    config = replace(config, storage=Storage.COPY)
    try:
        with writing_below(job.directory), Arrival(job, config, progress) as arrival:
            arrival.begin()
            stored, files = arrival.kept()
            job = replace(job.having(Stage.STORED), stored=stored, files=files)
            job.save()
            arrival.clear_away()
        dump = identify(stored.vmcore, config.buffer_size_bytes or SEARCH_BYTES)
    except NotADump:
        incoming.remove_upload(job)
        raise
    return _enter(archive, _report_of(dump, job), job, None, place)


def finish_uploads(archive: Archive, config: Config, now: datetime, progress: Progress) -> None:
    """Finish what runs left that were stopped, or remove it; what came of it is told."""
    for job in incoming.left_uploads(archive):
        try:
            entered = _finished(job, archive, config, now)
        except (CasError, OSError) as error:  # which keeps nobody from something else
            progress.warn(f"{job.directory}, an upload that was stopped, is left as it is: {error}")
            continue
        if entered:
            name = entered.file.name
            progress.say(
                f"the upload of {name} was stopped: it is in the archive now, as one of"
                f" {entered.info.id}"
            )
    incoming.remove_remains(archive, now)


def _finished(job: Job, archive: Archive, config: Config, now: datetime) -> Entered | None:
    """What became of an upload that was stopped; ``None``: nothing of it is of use, or not yet."""
    kept = job.stored
    if kept is None or (kept.reference and not is_regular(job.directory / RESULT)):
        if not incoming.is_begun(job, now):
            incoming.remove_upload(job)
        return None
    if is_regular(job.directory / RESULT):
        from cas.triage.rejudge import revived

        report, answer = revived(load(job.directory), job), incoming.answer_name(job)
        job = replace(job.having(Stage.REPORTED), verdict=report.verdict)
    else:
        try:
            dump = identify(kept.vmcore, config.buffer_size_bytes or SEARCH_BYTES)
        except NotADump:
            incoming.remove_upload(job)
            return None
        report, answer = _report_of(dump, job), None
    return _enter(archive, report, job, answer)


def _report_of(dump: Dump, job: Job) -> Report:
    """What a dump alone says, of an upload that was stopped before anybody had judged it."""
    return Report(
        ticket=job.order.ticket,
        directory=job.directory,
        upload=job.order.url or str(job.order.upload),
        server="",
        started=job.started,
        verdict=Verdict.INTERRUPTED,
        stage=job.stages[-1],
        dump=dump,
    )


def _write_reports(report: Report, job: Job, archive: Archive) -> Report:
    """Write the reports as they are to be read below the crash; the report with its own paths."""
    # the template engine is loaded only now: the first answer does not wait for it
    from cas.report.report import drawn

    dump = report.dump
    assert dump  # noqa: S101  it is identified
    assert dump.crash_id  # noqa: S101
    assert job.digest  # noqa: S101  it is stored
    crash_id = dump.crash_id
    place = archive.answer_path(crash_id, incoming.answer_name(job))
    # no snippet ran, and what the dump says alone is not all that is known
    report = replace(report, engine=None, ladder=())
    dump = replace(dump, path=archive.file_path(crash_id, job.digest))
    told = replace(report, ticket=crash_id, directory=place, dump=dump)
    for name, content in drawn(told).items():
        write_whole(job.directory / name, content)
    return report


def _enter(
    archive: Archive, report: Report, job: Job, answer: str | None, place: Place | None = None
) -> Entered:
    """Have an upload in the archive, and its directory in its place there or gone."""
    entered = enter_upload(archive, report, job, answer)
    if answer and entered.info.answer == answer:
        incoming.keep_answer(archive, entered.info.id, job, fingerprint_of(entered.file))
    else:
        incoming.remove_upload(job)
    try:
        settle_upload(archive, entered.info.id, entered.file.digest, place)
    except IndexBehind as behind:  # it is recorded all the same
        return replace(entered, behind=behind)
    return entered


def _is_of_use(job: Job, error: BaseException, now: datetime) -> bool:
    """Whether the next run can use what there is of an upload that was stopped."""
    with suppress(CasError):
        job = load_job(job.directory)
    if job.stored and not job.stored.reference:
        # of what cannot be read nobody learns more the next time
        is_final = isinstance(error, CasError) and error.exit_code == CasError.exit_code
        return not is_final
    return not isinstance(error, DiskFull) and incoming.is_begun(job, now)
