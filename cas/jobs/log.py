"""A job's ``TICKET.log``: what was told and noted while it ran, with times."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from cas.files.whole import opener_below, writing_below
from cas.jobs.job import Job
from cas.progress import Advance, Progress
from cas.text import LogLines


class JobLog:
    """Progress of one job: what it tells stands in the job's log, and goes on to who watches.

    Nothing of it is the process's: jobs that run beside one another have a log each. It is handed
    down to whoever has something to tell, also in threads.
    """

    def __init__(self, path: Path, level: str, shown: Progress) -> None:
        """Open the file, or make it.

        :param level: ``DEBUG`` or ``INFO``, as in cas.conf
        :raises OSError: it cannot be opened
        """
        self.path = path
        self._shown = shown
        self._file = _File(path, encoding="utf-8")
        self._file.setFormatter(LogLines())
        # getLogger() would give one that all jobs of the process share
        self._logger = logging.Logger(path.name, level)
        self._logger.addHandler(self._file)

    @property
    def lost(self) -> Exception | None:
        """The first reason why lines are missing."""
        return self._file.lost

    def worded(self, text: str) -> str:
        """A sentence as it is told."""
        return self._shown.worded(text)

    def say(self, text: str) -> None:
        """Tell a fact or the start of a short step."""
        self.note(self.worded(text))
        self._shown.say(text)

    def warn(self, text: str) -> None:
        """Tell something that went wrong without ending the job."""
        self.note(self.worded(text), logging.WARNING)
        self._shown.warn(text)

    @contextlib.contextmanager
    def bar(self, text: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        """Show a step that may take more than two seconds."""
        self.note(self.worded(text))
        with self._shown.bar(text, total, unit) as advance:
            yield advance

    def note(
        self, text: str, level: int = logging.INFO, *, error: BaseException | None = None
    ) -> None:
        """Write a line that nobody is shown."""
        self._logger.log(level, "%s", text, exc_info=error)

    def close(self) -> None:
        """Write the rest."""
        self._file.close()


class _File(logging.FileHandler):
    """A disk that does not take a line costs the log, not the job."""

    lost: Exception | None = None

    def _open(self) -> io.TextIOWrapper:
        path = Path(self.baseFilename)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK
        descriptor = opener_below(path.parent)(path.name, flags)
        return os.fdopen(descriptor, "a", encoding=self.encoding, errors=self.errors)

    def handleError(self, record: logging.LogRecord) -> None:
        """Remember that the log is not whole."""
        error = sys.exception()
        if self.lost is None and isinstance(error, Exception):
            self.lost = error

    def close(self) -> None:
        """Write the rest."""
        try:
            super().close()
        except OSError as error:
            self.lost = self.lost or error


@contextlib.contextmanager
def logged(job: Job, level: str, shown: Progress) -> Iterator[JobLog]:
    """Progress that the job's log has, too.

    :raises TryAgain: the file cannot be opened
    """
    with writing_below(job.directory):
        log = JobLog(job.directory / log_name(job), level, shown)
    try:
        yield log
    finally:
        log.close()


def log_name(job: Job) -> str:
    """What a job's log is called."""
    return f"{job.order.ticket}.log"
