"""Uploads on their way into the archive: a directory each, as a job's, until their dumps are there.

Who works on one holds its lock. What a run left that was stopped has none: the next one finishes it
if its dump had come, and removes it otherwise.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from cas.archive.archive import Archive
from cas.errors import CasError
from cas.files.digest import Fingerprint
from cas.files.whole import sync_directory, writing_below
from cas.jobs import seal
from cas.jobs.job import Job, load_job
from cas.jobs.layout import DOWNLOAD, DUMP
from cas.jobs.lock import lock_job
from cas.jobs.new_job import making_job
from cas.jobs.order import Order
from cas.jobs.reference import looks
from cas.jobs.work_directory import PURGED, UNBORN_S, Kind, WorkDirectory
from cas.model.dump import Reference, Stored

NAME = "incoming"
"""Below the archive; uploads have it in the place of a ticket."""
KEPT_S = 24 * 60 * 60.0
"""So long the beginning of a file of a server is kept that nobody goes on with."""
_ANSWER = "%Y.%m.%d.%H.%M.%S.%f"


@contextmanager
def new_upload(
    archive: Archive, order: Order, now: datetime, stored: Stored | None = None
) -> Iterator[Job]:
    """The directory of a new upload, which is ours for that long.

    :param stored: its dump, where the archive has that already
    :raises CasError: it cannot be made
    """
    with ExitStack() as stack:
        with writing_below(archive.path):
            making = making_job(_incoming(archive), replace(order, ticket=NAME), now, stored)
            job = stack.enter_context(making)
        yield job


def left_uploads(archive: Archive) -> Generator[Job, None, None]:
    """What runs left that were stopped; each is ours until the next one is asked for."""
    for directory in list(_incoming(archive).jobs(NAME)):
        with suppress(CasError, FileNotFoundError), ExitStack() as stack:
            stack.enter_context(lock_job(directory))
            job = load_job(directory)
            yield job


def begun_upload(archive: Archive, url: str, stack: ExitStack) -> Job | None:
    """One of this URL that was stopped while it was fetched; it is ours as long as the stack is."""
    for job in (uploads := left_uploads(archive)):
        if job.stored is None and job.order.url == url:
            stack.callback(uploads.close)
            return job
    return None


def remove_remains(archive: Archive, now: datetime) -> None:
    """Remove directories that runs were about to make uploads of, or to remove, when stopped."""
    for entry in list(_incoming(archive).entries(NAME)):
        is_old = now.timestamp() - entry.modified > UNBORN_S
        is_left = entry.kind in (Kind.UNBORN, Kind.BARE) and is_old
        if is_left or entry.kind is Kind.PURGED:
            shutil.rmtree(entry.path, ignore_errors=True)


def is_begun(job: Job, now: datetime) -> bool:
    """Whether an upload has a part of a file of a server, which is not fetched twice."""
    place = job.directory / DOWNLOAD
    with suppress(OSError):
        newest = max((path.stat().st_mtime for path in place.iterdir()), default=0.0)
        return job.order.url is not None and now.timestamp() - newest < KEPT_S
    return False


def remove_upload(job: Job) -> None:
    """Remove an upload of which nothing is kept.

    :raises NotPermitted: this user may not do that
    """
    with writing_below(job.directory.parent):
        # under its own name others would lock it anew, once its lock is gone
        doomed = job.directory.rename(job.directory.with_name(PURGED + job.directory.name))
        shutil.rmtree(doomed)


def answer_name(job: Job) -> str:
    """What the directory will be called that says what an upload gave."""
    return job.started.astimezone(UTC).strftime(_ANSWER)


def reference_to(archive: Archive, crash_id: str, kept: Fingerprint) -> Stored:
    """A file of the archive as the dump of an upload.

    :raises OSError: it is not there
    """
    path = archive.file_path(crash_id, kept.digest)
    return Stored(path, reference=Reference(path, kept.size_bytes, kept.digest, *looks(path)))


def keep_answer(archive: Archive, crash_id: str, job: Job, kept: Fingerprint) -> None:
    """Put the directory of an upload in its place below its crash, without the dump itself.

    :param kept: the dump's, which the archive has
    :raises CasError: that cannot be done; the next run does it
    """
    directory = job.directory
    target = archive.answer_path(crash_id, answer_name(job))
    with writing_below(archive.path):
        for name in (DUMP, DOWNLOAD):
            shutil.rmtree(directory / name, ignore_errors=True)
        seal.settle(job)
        stored = reference_to(archive, crash_id, kept)
        stored = replace(stored, sidecars=job.stored.sidecars if job.stored else ())
        seal.seal(replace(job, stored=stored, files={})).save()
        target.parent.mkdir(exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)  # of the same microsecond
        directory.rename(target)
        sync_directory(target.parent)
        sync_directory(directory.parent)


def _incoming(archive: Archive) -> WorkDirectory:
    return WorkDirectory(archive.path, archive.owners)
