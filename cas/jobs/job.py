"""One run of a ticket: its directory, what was asked, and how far it came.

The directory is authoritative. ``job.json`` names the stages that are finished; a stage that is
not named there was not finished, whatever files lie around, and is done again on the next run.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cas.choices import EngineChoice, Stage, Verdict
from cas.errors import CasError, JobBusy, Refused, UsageError
from cas.files.digest import Fingerprint
from cas.files.permission import DENIED, not_permitted
from cas.files.record import VERSION, Unreadable, decode
from cas.files.whole import (
    FULL,
    cannot_write,
    opener_below,
    read_regular,
    sync_directory,
    write_whole,
    writing_below,
)
from cas.jobs import job_record
from cas.jobs.layout import DUMP, is_for_dumps
from cas.jobs.work_directory import STAMP, STATE, UNBORN, WorkDirectory, is_ticket
from cas.model.dump import Missing, Stored

if TYPE_CHECKING:
    from cas.fetch.url import Url

STAGES = tuple(Stage)
STATE_LIMIT = 64 << 20
"""Bytes of a ``job.json``, which names every file of its job."""
LOCK = ".lock"
UNBORN_S = 3600.0
"""One that was begun longer ago belongs to a run that was stopped."""
RESULTS = ("result.json", "report.html", "report.txt")
"""What tells of a job's end, in the order in which it is withdrawn."""
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for."""

    ticket: str
    upload: Path
    email: str | None = None
    wants_kmods: bool = False
    engine: EngineChoice | None = None
    """Instead of the configuration's engine."""
    member: str | None = None
    """The dump to take from an archive that holds several."""
    more: tuple[Path, ...] = ()
    """Further parts of a split dump."""
    url: str | None = None
    """Where the upload is fetched from, fit to be shown; there is no `upload` then."""
    source: Url | None = field(default=None, repr=False, compare=False)
    """The same with its secrets, which are not kept."""
    held: Mapping[Path, int] = field(default_factory=dict, repr=False, compare=False)
    """Descriptors of uploads that this user could not open by their paths; not kept either."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of an order."""

    directory: Path
    order: Order
    started: datetime
    stages: tuple[Stage, ...] = (Stage.RECEIVED,)
    """The finished ones, in order."""
    stored: Stored | None = None
    """The dump in the directory and what came with it, once all of it is on the disk."""
    verdict: Verdict | None = None
    """How the job ended; ``None`` while it has not."""
    files: Mapping[str, Fingerprint] = field(default_factory=dict)
    """What the job keeps and has published, by path below its directory."""

    @property
    def is_unfinished(self) -> bool:
        """Whether it may be gone on with: it waits for a kernel, or was stopped on its way."""
        return self.is_stopped or self.verdict is Verdict.WAITING

    @property
    def is_stopped(self) -> bool:
        """Whether it is under way, or was stopped without a result."""
        return self.verdict in (None, Verdict.INTERRUPTED)

    def name_of(self, path: Path) -> str:
        """What a file of the job is called in ``job.json``: its path below the directory."""
        return str(path.relative_to(self.directory))

    @property
    def digest(self) -> str | None:
        """That of the dump, as it was when it was stored."""
        kept = self.files.get(self.name_of(self.stored.vmcore)) if self.stored else None
        return kept.digest if kept else None

    def having(self, stage: Stage) -> Self:
        """The job with one more stage behind it; only :meth:`save` makes that lasting."""
        stages = tuple(name for name in STAGES if name in {*self.stages, stage})
        return replace(self, stages=stages)

    def save(self) -> None:
        """Write ``job.json`` so that a power cut leaves the old state or the new one."""
        facts = asdict(replace(self, order=replace(self.order, source=None, held={})))
        del facts["order"]["source"]
        del facts["order"]["held"]
        del facts["directory"]
        facts["order"]["upload"] = str(self.order.upload)
        facts["order"]["more"] = [str(path) for path in self.order.more]
        facts["started"] = self.started.isoformat()
        if self.stored:
            facts["stored"]["vmcore"] = self.name_of(self.stored.vmcore)
            facts["stored"]["sidecars"] = [self.name_of(path) for path in self.stored.sidecars]
            facts["stored"]["parts"] = [self.name_of(path) for path in self.stored.parts]
        record = {"version": VERSION, **facts}
        write_whole(self.directory / STATE, json.dumps(record, indent=1).encode())


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


def create(work: WorkDirectory, order: Order, now: datetime) -> Job:
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


def begin(job: Job) -> Job:
    """Take up a job whose lock we have; results of an earlier attempt are withdrawn first.

    :param job: as it was read before; its order counts
    :return: the job as the disk has it, with nothing finished but the storing of the dump
    :raises UsageError: another run has brought it to its end meanwhile
    :raises TryAgain: the directory cannot be written
    """
    found = load(job.directory)
    if not found.is_unfinished:
        raise UsageError(
            f"{job.directory} came to its end meanwhile: {found.verdict}",
            hint=f"to analyse a dump again: cas -i {found.order.ticket} -f FILE",
        )
    kept = found.name_of(found.stored.vmcore) if found.stored else None
    begun = replace(
        found,
        order=job.order,
        stages=tuple(name for name in found.stages if name in STAGES[:2]),
        verdict=None,
        files={name: one for name, one in found.files.items() if name == kept},
    )
    begun.save()
    withdraw(job.directory)
    return begun


def set_dump_apart(directory: Path) -> None:
    """Give the dump of an unfinished job a directory of its own, if a result may have its name.

    Jobs of earlier releases have it beside the results; where no result can be it stays.

    :raises TryAgain: the directory cannot be written
    """
    job = load(directory)
    if job.stored is None or job.stored.vmcore.parent != directory or not job.is_unfinished:
        return
    name = job.stored.vmcore.name
    if is_for_dumps(name):
        return
    apart = directory / DUMP / name
    with writing_below(directory):
        apart.parent.mkdir(mode=0o700, exist_ok=True)
        if not apart.exists():  # a run that was stopped here had moved it already
            job.stored.vmcore.rename(apart)
        sync_directory(apart.parent)
        files = {f"{DUMP}/{name}" if key == name else key: one for key, one in job.files.items()}
        replace(job, stored=replace(job.stored, vmcore=apart), files=files).save()


def withdraw(directory: Path) -> None:
    """Remove what tells of a job's end, for good.

    :raises TryAgain: the directory cannot be written
    """
    with writing_below(directory):
        for name in RESULTS:
            (directory / name).unlink(missing_ok=True)
        sync_directory(directory)


def note_interruption(directory: Path) -> None:
    """Record that a job was stopped; one that had come to its end is left as it is.

    :raises CasError: that cannot be recorded; the job can be gone on with all the same
    """
    job = load(directory)
    if job.verdict is None:
        replace(job, verdict=Verdict.INTERRUPTED).save()
        withdraw(directory)


def load(directory: Path) -> Job:
    """Read a job back.

    :raises CasError: there is no readable ``job.json``
    """
    try:
        found = decode(read_regular(directory / STATE, STATE_LIMIT), job_record.Job)
    except (OSError, Unreadable) as error:
        if isinstance(error, OSError) and error.errno in DENIED:
            raise not_permitted(directory / STATE, error, "read") from error
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise CasError(
            f"{directory} holds no usable {STATE}: {reason}",
            hint=f"run: cas -i {directory.parent.name} -f FILE",
        ) from error
    order = Order(
        found.order.ticket,
        Path(found.order.upload),
        found.order.email,
        found.order.wants_kmods,
        found.order.engine,
        found.order.member,
        tuple(map(Path, found.order.more)),
        found.order.url,
    )
    stored = None
    if found.stored:
        stored = Stored(
            directory / found.stored.vmcore,
            parts=tuple(directory / name for name in found.stored.parts),
            sidecars=tuple(directory / name for name in found.stored.sidecars),
            missing=tuple(Missing(one.what, one.offset, one.cause) for one in found.stored.missing),
            remarks=found.stored.remarks,
        )
    return Job(
        directory,
        order,
        found.started,
        tuple(found.stages),
        stored,
        found.verdict,
        {name: Fingerprint(one.size_bytes, one.digest) for name, one in found.files.items()},
    )


def by_age(found: Iterable[Job]) -> list[Job]:
    """Jobs, oldest first: by when they began, which names in local time do not tell in autumn."""
    return sorted(found, key=lambda job: (job.started, job.directory))


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Keep other runs away from a job; the kernel releases it if we die.

    :raises JobBusy: another run has it
    :raises TryAgain: the directory cannot be written
    """
    with writing_below(directory):
        descriptor = opener_below(directory)(LOCK, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JobBusy(f"another run of cas is working in {directory}") from error
        yield
    finally:
        os.close(descriptor)


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
