"""One run of a ticket: its directory, what was asked, and how far it came.

The directory is authoritative. ``job.json`` names the stages that are finished; a stage that is
not named there was not finished, whatever files lie around, and is done again on the next run.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from cas.errors import CasError, Refused, TryAgain
from cas.files import write_whole

STATE = "job.json"
STAGES = (
    "received",
    "stored",
    "identified",
    "matched",
    "prepared",
    "analysed",
    "reported",
    "notified",
)
STAMP = "%Y.%m.%d.%H.%M.%S"
_TICKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for."""

    ticket: str
    upload: Path
    email: str | None = None
    wants_kmods: bool = False
    engine: str | None = None
    """Instead of the configuration's engine."""
    member: str | None = None
    """The dump to take from an archive that holds several."""
    more: tuple[Path, ...] = ()
    """Further parts of a split dump."""
    url: str | None = None
    """Where the upload is fetched from, without a password; `upload` is then where it goes."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of an order."""

    directory: Path
    order: Order
    started: datetime
    stages: tuple[str, ...] = ("received",)
    """The finished ones, in order."""
    vmcore: str | None = None
    """File name of the dump in the directory, once it is stored."""
    verdict: str | None = None
    """How the job ended; ``None`` while it has not."""

    @property
    def is_unfinished(self) -> bool:
        """Whether it may be gone on with: it waits for a kernel, or was stopped on its way."""
        return self.verdict in (None, "waiting")

    def having(self, stage: str, **facts: Any) -> Self:
        """The job with one more stage behind it; only :meth:`save` makes that lasting."""
        stages = tuple(name for name in STAGES if name in {*self.stages, stage})
        return replace(self, stages=stages, **facts)

    def save(self) -> None:
        """Write ``job.json`` so that a power cut leaves the old state or the new one."""
        write_whole(self.directory / STATE, json.dumps(_as_json(self), indent=1).encode())


def check_ticket(ticket: str) -> str:
    """The ticket, if it may name a directory.

    :raises Refused: it does not fit the grammar
    """
    if not _TICKET.fullmatch(ticket) or ".." in ticket:
        raise Refused(
            f"{ticket!r} cannot be an identifier",
            hint="use 1 to 64 letters, digits, dots, dashes and underscores, beginning with a "
            "letter or digit, without two dots in a row",
        )
    return ticket


def create(work_directory: Path, order: Order, now: datetime) -> Job:
    """Make the directory of a new job: ``WORK/TICKET/YYYY.MM.DD.HH.MM.SS``, local time.

    :raises CasError: the work directory cannot be written
    """
    parent = work_directory / check_ticket(order.ticket)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        directory = _free_name(parent, now)
    except OSError as error:
        raise CasError(
            f"cannot create a job directory in {parent}: {error.strerror}",
            hint="check `workDirectory` in cas.conf and its permissions",
        ) from error
    job = Job(directory, order, now)
    job.save()
    return job


def load(directory: Path) -> Job:
    """Read a job back.

    :raises CasError: there is no readable ``job.json``
    """
    try:
        facts = json.loads((directory / STATE).read_bytes())
        asked = facts["order"]
        paths = {"upload": Path(asked["upload"]), "more": tuple(map(Path, asked.get("more", ())))}
        order = Order(**{**asked, **paths})
        return Job(
            directory,
            order,
            datetime.fromisoformat(facts["started"]),
            tuple(facts["stages"]),
            facts["vmcore"],
            facts["verdict"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CasError(
            f"{directory} holds no usable {STATE}: {error}", hint="run: cas -i TICKET -f FILE"
        ) from error


def jobs(work_directory: Path, ticket: str | None = None) -> Iterator[Path]:
    """Directories of the program's own jobs, oldest first within a ticket."""
    pattern = f"{ticket or '*'}/*/{STATE}"
    for state in sorted(work_directory.glob(pattern)):
        directory = state.parent
        is_ours = _is_stamp(directory.name) and not directory.is_symlink()
        if (
            is_ours
            and not directory.parent.is_symlink()
            and _TICKET.fullmatch(directory.parent.name)
        ):
            yield directory


def started(directory: Path) -> datetime:
    """When a job began, from the name of its directory; local time."""
    return datetime.strptime(directory.name, STAMP).astimezone()


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Keep other runs away from a job; the kernel releases it if we die.

    :raises TryAgain: another run has it
    """
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def logged(job: Job, level: str) -> Iterator[None]:
    """Write what happens into the job's ``TICKET.log``, with times."""
    handler = logging.FileHandler(
        job.directory / f"{job.order.ticket}.log", errors="backslashreplace"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("cas")
    logger.setLevel(level)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


def _take(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TryAgain(f"another run of cas is working in {directory}") from error


def _free_name(parent: Path, now: datetime) -> Path:
    while True:
        directory = parent / now.astimezone().strftime(STAMP)
        try:
            directory.mkdir()
        except FileExistsError:
            now += timedelta(seconds=1)
        else:
            return directory


def _is_stamp(name: str) -> bool:
    try:
        return datetime.strptime(name, STAMP).replace(tzinfo=UTC).strftime(STAMP) == name
    except ValueError:
        return False


def _as_json(job: Job) -> dict[str, Any]:
    facts = asdict(job)
    del facts["directory"]
    facts["order"]["upload"] = str(job.order.upload)
    facts["order"]["more"] = [str(path) for path in job.order.more]
    facts["started"] = job.started.isoformat()
    return {"version": 1, **facts}
