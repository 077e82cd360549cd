"""How long a mail server that took nothing is left alone: a file in the work directory tells.

It is longer after each failure in a row. Whoever cannot write the file tries again in each run.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime

from cas.errors import CasError
from cas.files.whole import read_regular, write_whole
from cas.frozen import dataclass
from cas.jobs.work_directory import WorkDirectory
from cas.report.smtp import server_of
from cas.settings.rules import Mail
from cas.units import told_time

NAME = ".mail-server.json"
SIZE_LIMIT = 4096
LONGEST = 12
"""Times `Mail.retry_s`."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A server that was down, and when it is tried again."""

    server: str
    """With its port: another one in cas.conf is not left alone."""
    failures: int
    """In a row."""
    since: float
    """The last one, in seconds since 1970."""
    until: float

    def holds(self) -> bool:
        """Whether the server is left alone now; never by a clock that was set back since."""
        return self.since <= time.time() < self.until

    def __str__(self) -> str:
        """E.g. ``was of no use at 08:41, and is tried again from 08:46 on``."""
        since, until = (
            told_time(datetime.fromtimestamp(stamp, UTC)) for stamp in (self.since, self.until)
        )
        return f"mail server {self.server} was of no use at {since}, and is tried again at {until}"


def pause(work: WorkDirectory, settings: Mail) -> Pause | None:
    """What is noted of the configured server; ``None`` when nothing is."""
    path = work.path.resolve() / NAME  # the work directory itself may be a symbolic link
    try:
        if path.lstat().st_uid not in work.owners:
            return None
        found = Pause(**json.loads(read_regular(path, SIZE_LIMIT)))
        is_sane = 0 < found.until - found.since <= settings.retry_s * LONGEST
        return (
            found
            if is_sane and found.failures > 0 and found.server == _note_name(settings)
            else None
        )
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def begin(work: WorkDirectory, settings: Mail) -> None:
    """Note that the server was of no use now."""
    before = pause(work, settings)
    failures = before.failures + 1 if before else 1
    now = time.time()
    wait_s = settings.retry_s * min(2 ** min(failures - 1, 8), LONGEST)
    noted = Pause(_note_name(settings), failures, now, now + wait_s)
    with suppress(CasError):
        write_whole(work.path / NAME, json.dumps(asdict(noted)).encode())


def end(work: WorkDirectory) -> None:
    """Note that the server has taken a mail."""
    with suppress(OSError):
        (work.path / NAME).unlink()


def _note_name(settings: Mail) -> str:
    host, port = server_of(settings)
    return f"{host} port {port}"
