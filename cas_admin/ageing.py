"""How old jobs are, which of them wait for something, and whether the clock can be believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from cas.catalogue.cache.clock import Trace, file_time
from cas.choices import Verdict
from cas.database.records import BuildRecord, RunKind
from cas.database.store import Store
from cas.errors import CasError
from cas.frozen import dataclass
from cas.jobs.job import Job, load_job
from cas.jobs.work_directory import WorkDirectory, is_regular
from cas.progress import Progress
from cas.report import mail_files
from cas.text import count
from cas.units import human_size

WAITING = "waiting"
UNFINISHED = "unfinished"
UNSENT = "unsent"
HELD = {
    WAITING: "waiting for a kernel",
    UNFINISHED: "stopped or under way",
    UNSENT: "with a mail that is not sent",
}
"""What keeps a job from being purged by itself."""
_MAILS = (mail_files.WAITING, mail_files.SENT, mail_files.REFUSED)
_AGES_DAYS = 365_000
"""Further back than this no calendar goes."""


@dataclass(frozen=True, slots=True)
class Aged:
    """A job, with what counts when it comes to its removal."""

    job: Job
    youngest: datetime
    """The latest of when it began, by ``job.json`` and by its row, and when its directory was
    changed: it is as old as that."""
    held_for: str | None
    """A key of `HELD`; ``None`` for a job that has come to its end."""


@dataclass(frozen=True, slots=True)
class Held:
    """Jobs that wait for the same, and what they take."""

    jobs: int = 0
    size_bytes: int = 0


def aged(directory: Path, row: datetime | None) -> Aged:
    """A job and its age.

    :param row: when it began, as the database has it
    :raises CasError: there is no readable ``job.json``
    """
    job = load_job(directory)
    times = [job.started, file_time(_change_time(directory))] + ([row] if row else [])
    return Aged(job, max(times), held_for(job))


def held_for(job: Job) -> str | None:
    """What a job waits for, of `HELD`."""
    if job.is_stopped:
        return UNFINISHED
    if job.verdict is Verdict.WAITING:
        return WAITING
    return UNSENT if is_regular(job.directory / mail_files.WAITING) else None


@dataclass(frozen=True, slots=True)
class Records:
    """What the database knows of the time."""

    jobs: Mapping[Path, datetime] = field(default_factory=dict)
    """When jobs began, by directory."""
    builds: tuple[BuildRecord, ...] = ()

    @classmethod
    def of(cls, store: Store, progress: Progress) -> Self:
        """Read them; a database that cannot be read is told, and leaves the directories."""
        try:
            return cls(store.jobs.times(), store.builds.all_runs())
        except CasError as error:
            progress.warn(f"ages are told by the jobs alone: {error}")
            return cls()


def all_aged(work: WorkDirectory, records: Records) -> list[Aged]:
    """Our jobs, oldest first; one whose ``job.json`` cannot be read is nobody's to remove."""
    found = []
    for directory in work.jobs():
        with suppress(CasError):
            found.append(aged(directory, records.jobs.get(directory)))
    return sorted(found, key=lambda one: (one.youngest, one.job.directory))


def older_than(days: int, now: datetime) -> datetime:
    """The time so many days ago."""
    return now - timedelta(days=min(days, _AGES_DAYS))


def traces(work: WorkDirectory, records: Records) -> list[Trace]:
    """What was done here, and when: jobs, their mails and rows, runs of the build."""
    found = list(build_traces(records))
    for one in all_aged(work, records):
        directory = one.job.directory
        name = f"{directory.parent.name}/{directory.name}"
        found += [Trace(one.job.started, name), Trace(one.youngest, name)]
        for mail in _MAILS:
            if is_regular(directory / mail):
                found.append(
                    Trace(file_time(_change_time(directory / mail)), f"the mail of {name}")
                )
    return found


def build_traces(records: Records) -> Iterator[Trace]:
    """When builds and purges ran."""
    for build in records.builds:
        if build.kind is not RunKind.BUILD:
            is_sure = build.kind is RunKind.ANSWERED_PURGE
            yield Trace(build.started, "a purge", is_sure=is_sure)
            continue
        yield Trace(build.started, "a build")
        if build.ended:
            yield Trace(build.ended, "a build")


def row_traces(records: Records) -> Iterator[Trace]:
    """The same as `traces` as far as the database alone has it: no directory is looked at."""
    yield from build_traces(records)
    for directory, began in records.jobs.items():
        yield Trace(began, f"{directory.parent.name}/{directory.name}")


def held_jobs(work: WorkDirectory) -> dict[str, Held]:
    """How many jobs are kept for what they wait for, and what they take, by the keys of `HELD`."""
    number, size = Counter[str](), Counter[str]()
    for directory in work.jobs():
        with suppress(CasError):
            if why := held_for(load_job(directory)):
                number[why] += 1
                size[why] += disk_bytes(directory)
    return {why: Held(number[why], size[why]) for why in HELD if number[why]}


def held_line(found: Mapping[str, Held]) -> Iterator[str]:
    """The same for people, in a line; none when there are none."""
    if found:
        each = ", ".join(
            f"{one.jobs} {HELD[why]} ({human_size(one.size_bytes)})" for why, one in found.items()
        )
        total = sum(one.jobs for one in found.values())
        yield f"kept whatever their age: {count(total, 'job')}: {each}"


def disk_bytes(directory: Path) -> int:
    """What a directory takes on the disk; files that go meanwhile count as nothing."""
    total = 0
    for path in directory.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_blocks * 512
    return total


def _change_time(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:  # it went meanwhile
        return 0.0
