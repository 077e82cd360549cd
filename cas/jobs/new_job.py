"""The directory of a new job, which gets its name together with its ``job.json``."""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from cas.errors import CasError, Refused
from cas.files.permission import DENIED, not_permitted
from cas.files.whole import FULL, cannot_write, sync_directory
from cas.jobs.job import Job, Order
from cas.jobs.work_directory import STAMP, UNBORN, WorkDirectory, is_ticket

_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


def check_ticket(ticket: str) -> str:
    """The ticket, if it may name a directory.

    :raises Refused: it does not fit the grammar
    """
    if not is_ticket(ticket):
        raise Refused(
            f"{ticket!r} cannot be an identifier",
            hint="use 1 to 64 letters, digits, dots, dashes and underscores, beginning with a "
            "letter or digit, without two dots in a row",
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
        unborn = _unborn_directory(work, order.ticket)
        try:
            Job(unborn, order, now).save()
            directory = _take_free_name(unborn, now)
        except BaseException:
            shutil.rmtree(unborn, ignore_errors=True)
            raise
        sync_directory(parent)
        sync_directory(work.path)
    except OSError as error:
        if error.errno in FULL:
            raise cannot_write(parent / "a new job", error, 0) from error
        if error.errno in DENIED:
            raise not_permitted(parent, error) from error
        raise CasError(
            f"cannot create a job directory in {parent}: {error.strerror}",
            hint="check `workDirectory` in cas.conf and its permissions",
        ) from error
    return Job(directory, order, now)


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
