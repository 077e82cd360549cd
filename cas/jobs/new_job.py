"""The directory of a new job, which gets its name together with its ``job.json``."""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from cas.errors import CasError, Refused
from cas.files.permission import DENIED, not_permitted
from cas.files.whole import FULL, cannot_write, sync_directory
from cas.jobs.job import Job
from cas.jobs.lock import lock_job
from cas.jobs.order import Order
from cas.jobs.work_directory import STAMP, TICKET_RULE, UNBORN, WorkDirectory, is_ticket
from cas.model.dump import Stored

_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


def check_ticket(ticket: str) -> str:
    """The ticket, if it may name a directory.

    :raises Refused: it does not fit the grammar
    """
    if not is_ticket(ticket):
        raise Refused(
            f"{ticket!r} cannot be an identifier",
            hint=TICKET_RULE,
        )
    return ticket


def create_job(work: WorkDirectory, order: Order, now: datetime) -> Job:
    """Make the directory of a new job: ``WORK/TICKET/YYYY.MM.DD.HH.MM.SS``, local time.

    It gets this name together with its ``job.json``: a job is there whole or not at all.

    :raises DiskFull: there is no room
    :raises Refused: what has the ticket's name there is not ours
    :raises CasError: the work directory cannot be written
    """
    parent = work.path / check_ticket(order.ticket)
    try:
        return _made(Job(work.path, order, now), work)
    except OSError as error:
        if error.errno in FULL:
            raise cannot_write(parent / "a new job", error, 0) from error
        if error.errno in DENIED:
            raise not_permitted(parent, error) from error
        raise CasError(
            f"cannot create a job directory in {parent}: {error.strerror}",
            hint="check `workDirectory` in cas.conf and its permissions",
        ) from error


@contextlib.contextmanager
def making_job(
    work: WorkDirectory, order: Order, now: datetime, stored: Stored | None = None
) -> Iterator[Job]:
    """The same as a context in which no other run can have the job, from its beginning on.

    :param stored: its dump, where that is kept already
    :raises OSError: it cannot be made
    :raises Refused: what has the ticket's name there is not ours
    """
    with contextlib.ExitStack() as stack:
        job = Job(work.path, order, now, stored=stored)
        yield _made(job, work, lambda unborn: stack.enter_context(lock_job(unborn)))


def _made(job: Job, work: WorkDirectory, prepare: Callable[[Path], object] = lambda _: None) -> Job:
    """A job with a directory of its own.

    :param prepare: called with that before it has its name
    """
    unborn = _unborn_directory(work, job.order.ticket)
    try:
        prepare(unborn)
        replace(job, directory=unborn).save()
        directory = _take_free_name(unborn, job.started)
    except BaseException:
        shutil.rmtree(unborn, ignore_errors=True)
        raise
    sync_directory(directory.parent)
    sync_directory(work.path)
    return replace(job, directory=directory)


def _unborn_directory(work: WorkDirectory, ticket: str) -> Path:
    for _ in range(2):
        with contextlib.suppress(FileNotFoundError):  # a purge removed the empty directory
            return Path(tempfile.mkdtemp(prefix=UNBORN, dir=work.make_ticket(ticket)))
    return Path(tempfile.mkdtemp(prefix=UNBORN, dir=work.make_ticket(ticket)))


def _take_free_name(unborn: Path, now: datetime) -> Path:
    """Rename a directory to the first second that no job has."""
    while True:
        directory = unborn.with_name(now.astimezone().strftime(STAMP))
        try:
            return unborn.rename(directory)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            now += timedelta(seconds=1)
