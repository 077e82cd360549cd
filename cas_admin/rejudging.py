"""A kept job judged by the rules of this release, without a debugger."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from cas.archive.archive import Archive
from cas.archive.keeping import enter_job
from cas.commands import World
from cas.database.records import Crashed, JobRecord
from cas.database.store import Store
from cas.errors import (
    CasError,
    DatabaseDamaged,
    DiskFull,
    JobBusy,
    JobFailed,
    NotPermitted,
    TryAgain,
)
from cas.findings.signature import VERSION
from cas.jobs import seal
from cas.jobs.job import Job, load_job
from cas.jobs.layout import RESULTS
from cas.jobs.lock import lock_job
from cas.jobs.sharing import share
from cas.jobs.work_directory import is_gone
from cas.model.finding import Finding
from cas.model.occurrence import Tally
from cas.model.report import Report
from cas.report.report import drawn
from cas.report.result import NAME, load
from cas.report.result_record import Result
from cas.settings import users
from cas.text import count
from cas.triage.rejudge import log_section, revived
from cas.triage.verdict import Judge


class _Left(Exception):
    """A job that keeps its verdict; the text says why."""


@dataclass
class Rejudging:
    """Judges jobs, one after the other, and counts what came of it."""

    world: World
    only_list: bool
    changed: int = 0
    unchanged: int = 0
    left: int = 0
    unreadable: int = 0

    def __post_init__(self) -> None:
        warn = self.world.progress.warn
        self.store = Store.of(self.world.config)
        self.judge = Judge(self.world.config, warn, warn)

    def judge_job(self, directory: Path) -> str | None:
        """Judge a job; what is wrong with one does not keep the others.

        :return: what changes; ``None``: nothing, or it cannot be judged, which is told
        :raises CasError: it would be wrong with all
        """
        try:
            with lock_job(directory):
                change = self._judge_locked(directory)
        except JobBusy:
            self._leave_as_it_is(directory, "another run is working in it")
        except _Left as reason:
            self._leave_as_it_is(directory, str(reason))
        except (DatabaseDamaged, DiskFull, TryAgain):
            if not is_gone(directory):  # else a purge was faster
                raise
        except CasError as error:
            hint = users.hint(error, self.world.config) if isinstance(error, NotPermitted) else ""
            self.world.progress.warn(f"{directory}: {error}" + (f"; {hint}" if hint else ""))
            self.unreadable += 1
        else:
            self.unchanged += change is None
            self.changed += change is not None
            return change
        return None

    def counts_line(self) -> str:
        """What came of all of them."""
        total = self.changed + self.unchanged + self.left + self.unreadable
        said = [f"{self.changed} {'would change' if self.only_list else 'changed'}"]
        said.append(f"{self.unchanged} unchanged")
        said += [f"{self.left} left as they are"] if self.left else []
        said += [f"{self.unreadable} that cannot be judged"] if self.unreadable else []
        return f"{count(total, 'job')}: {', '.join(said)}"

    def _leave_as_it_is(self, directory: Path, why: str) -> None:
        self.world.progress.say(f"{directory} is left as it is: {why}")
        self.left += 1

    def _judge_locked(self, directory: Path) -> str | None:
        """What changes of a job; ``None``: nothing."""
        job = load_job(directory)
        if not self.only_list:
            seal.finish_replacing(job)
        if job.is_stopped:
            raise _Left("it was stopped on its way, and is judged when it goes on")
        result = load(directory)
        if result.dump is None:
            raise _Left("nothing of a dump was read")
        _require_sealed(job, result, {NAME, log_section(result)})
        before = revived(result, job)
        if before.dump is None or before.dump.dmesg is None:
            raise _Left("its whole kernel log was not kept")
        finding = self._new_finding(job, before)
        after = replace(before, finding=finding)
        change = _change_line(before.finding, finding)
        if change is not None:  # the reports are drawn from all of them
            _require_sealed(job, result, {section.path for section in result.sections})
        if self.only_list:
            return change
        if change is not None:
            seal.put_in_place(job, drawn(after))
        # also of a job that was left half-way
        names = (directory / name for name in RESULTS)
        share(job, names, self.world.config, self.world.progress)
        self.store.jobs.put(JobRecord.of(after, job.digest))
        self._note_in_archive(after, job)
        return change

    def _note_in_archive(self, report: Report, job: Job) -> None:
        try:
            archive = Archive.of(self.world.config, self.store)
            enter_job(archive, report, job, is_verified=lambda _: False)
        except CasError as error:
            self.world.progress.warn(f"the archive has what it had: {error}; {error.hint}")

    def _new_finding(self, job: Job, report: Report) -> Finding:
        """The verdict; what was seen before is looked up again.

        Jobs of before that are not judged anew yet are compared by what this one was called then.
        """
        assert report.dump  # noqa: S101  who calls has looked
        old = report.finding
        judged = self.judge.judged(report.dump, report.answer, report.match)
        new = self.judge.advised(replace(report, finding=judged)) or judged
        of_before = [each for each in old.signatures if each.version != VERSION] if old else []
        crash = Crashed.of(replace(report, finding=new), job.digest, until=job.started)
        named = (*new.signatures, *of_before)
        seen = self.store.jobs.seen(replace(crash, signatures=named))
        if old and old.seen and (old.signatures, old.former) == (new.signatures, new.former):
            # those that were purged since stay told
            more = max(
                seen,
                old.seen,
                key=lambda seen: (
                    sum(each.count for each in (seen.same, seen.similar) if each)
                    + len({*seen.same_dump, *seen.same_log})
                ),
            )
            seen = replace(
                more,
                host=_larger_tally(seen.host, old.seen.host),
                model=_larger_tally(seen.model, old.seen.model),
            )
        return replace(new, seen=seen)


def _larger_tally(new: Tally | None, old: Tally | None) -> Tally | None:
    """What counts more; of the same name."""
    if new is None or old is None or new.name != old.name:
        return new
    return max(new, old, key=lambda each: each.count)


def _require_sealed(job: Job, result: Result, read: Collection[str | None]) -> None:
    """Refuse to judge by files, and to draw reports from files, that are not what the job left.

    :param read: files whose content is compared, too, not only their size
    :raises JobFailed: they were changed, or are gone
    """
    for name in (NAME, *(section.path for section in result.sections if section.size_bytes)):
        sealed, path = job.files.get(name), job.directory / name
        try:
            is_like = sealed is None or path.stat().st_size == sealed.size_bytes
            if sealed and is_like and name in read:
                is_like = sealed.fits(path)
        except OSError as error:
            raise JobFailed(f"cannot read {path}: {error.strerror}") from error
        if not is_like:
            anew = f"analyse the dump again: cas -i {job.order.ticket} -f FILE"
            raise JobFailed(f"{name} has another content than was sealed; {anew}")


def _change_line(old: Finding | None, new: Finding) -> str | None:
    """How a verdict changes, in a line."""
    if old == new:
        return None
    said = []
    title = old.title if old else ""
    if title != new.title:
        said.append(f"title {title or '-'} → {new.title}")
    was = old.signature if old else None
    if was != new.signature:
        said.append(f"signature {was or '-'} → {new.signature or '-'}")
    return "; ".join(said) or "the same title and signature, other words or facts"
