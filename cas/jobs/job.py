"""One run of a ticket: what was asked, how far it came, and the ``job.json`` that says so.

The directory is authoritative. ``job.json`` names the stages that are finished; a stage that is
not named there was not finished, whatever files lie around, and is done again on the next run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, field, replace
from datetime import datetime
from pathlib import Path
from typing import Self

from cas.choices import Stage, Verdict
from cas.errors import CasError
from cas.files.digest import Fingerprint
from cas.files.permission import DENIED, not_permitted
from cas.files.record import VERSION, Unreadable, decode
from cas.files.whole import read_regular, write_whole
from cas.frozen import dataclass
from cas.jobs import job_record
from cas.jobs.order import Order
from cas.jobs.work_directory import STATE
from cas.model.dump import Missing, Reference, Stored

STAGES = tuple(Stage)
STATE_LIMIT = 64 << 20
"""Bytes of a ``job.json``, which names every file of its job."""


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
    lacks_kernel: bool = False
    """Whether a kernel log was judged without its kernel, since nobody has that."""
    files: Mapping[str, Fingerprint] = field(default_factory=dict)
    """What the job keeps and has published, by path below its directory."""
    dump_purged: datetime | None = None
    """When a purge was to remove its dump; where that is still there, it did not come to it."""

    @property
    def is_unfinished(self) -> bool:
        """Whether it may be gone on with: it waits for a kernel, or was stopped on its way."""
        return self.is_stopped or self.is_waiting

    @property
    def is_waiting(self) -> bool:
        """Whether it comes to more once somebody has its kernel."""
        is_log = self.verdict is Verdict.PARTIAL and self.lacks_kernel
        return self.verdict is Verdict.WAITING or is_log

    @property
    def is_answer_alone(self) -> bool:
        """Whether it ended with the first answer, and the dump is still on its server."""
        return self.verdict is Verdict.PARTIAL and self.stored is None

    @property
    def can_go_on(self) -> bool:
        """Whether somebody may go on with it; what is `is_unfinished` programs may, too."""
        return self.is_unfinished or self.is_answer_alone

    @property
    def is_stopped(self) -> bool:
        """Whether it is under way, or was stopped without a result."""
        return self.verdict in (None, Verdict.INTERRUPTED)

    def name_of(self, path: Path) -> str:
        """What a file of the job is called in ``job.json``: its path below the directory."""
        return str(path.relative_to(self.directory))

    @property
    def fingerprint(self) -> Fingerprint | None:
        """That of the dump, as it was when it was stored."""
        if self.stored is None:
            return None
        if (there := self.stored.reference) is not None:
            return Fingerprint(there.size_bytes, there.digest)
        return self.files.get(self.dump_name or "")

    @property
    def dump_name(self) -> str | None:
        """What the dump is called in `files`; ``None``: the job has none there."""
        if self.stored is None or self.stored.reference:
            return None
        return self.name_of(self.stored.vmcore)

    @property
    def dump_paths(self) -> tuple[Path, ...]:
        """The dump below the directory, or all parts of it; none where it stays elsewhere."""
        if self.stored is None or self.stored.reference:
            return ()
        return tuple(dict.fromkeys((self.stored.vmcore, *self.stored.parts)))

    @property
    def digest(self) -> str | None:
        """The digest of the dump, as it was when it was stored."""
        kept = self.fingerprint
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
        facts["dump_purged"] = self.dump_purged and self.dump_purged.isoformat()
        if self.stored:
            there = facts["stored"].pop("reference")
            name = self.dump_name or {**there, "path": str(self.stored.vmcore)}
            facts["stored"]["vmcore"] = name
            facts["stored"]["sidecars"] = [self.name_of(path) for path in self.stored.sidecars]
            facts["stored"]["parts"] = [self.name_of(path) for path in self.stored.parts]
        record = {"version": VERSION, **facts}
        write_whole(self.directory / STATE, json.dumps(record, indent=1).encode())


def load_job(directory: Path) -> Job:
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
        found.order.takes,
        found.order.url,
        found.order.fetch,
    )
    stored = None
    if found.stored:
        dump = found.stored.vmcore
        there = None if isinstance(dump, str) else _reference(dump)
        stored = Stored(
            there.path if there else directory / str(dump),
            parts=tuple(directory / name for name in found.stored.parts),
            sidecars=tuple(directory / name for name in found.stored.sidecars),
            missing=tuple(Missing(one.what, one.offset, one.cause) for one in found.stored.missing),
            remarks=found.stored.remarks,
            reference=there,
        )
    return Job(
        directory,
        order,
        found.started,
        tuple(found.stages),
        stored,
        found.verdict,
        found.lacks_kernel,
        {name: Fingerprint(one.size_bytes, one.digest) for name, one in found.files.items()},
        found.dump_purged,
    )


def _reference(there: job_record.Reference) -> Reference:
    marks = there.inode, there.modified_ns, there.changed_ns
    return Reference(Path(there.path), there.size_bytes, there.digest, *marks)


def job_name(job: Job) -> str:
    """What to call a job: ``TICKET/STAMP``."""
    return f"{job.directory.parent.name}/{job.directory.name}"


def by_age(found: Iterable[Job]) -> list[Job]:
    """Jobs, oldest first: by when they began, which names in local time do not tell in autumn."""
    return sorted(found, key=lambda job: (job.started, job.directory))
