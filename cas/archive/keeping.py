"""A job's crash into the archive: its dump gets a second name there, and no second copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from cas.archive.archive import FILES, Archive
from cas.archive.facts import facts_of
from cas.archive.record import File, Info
from cas.database.records import JobRecord
from cas.errors import CasError
from cas.files.digest import Fingerprint
from cas.files.whole import PART, sync_directory
from cas.jobs.job import Job, job_name
from cas.jobs.reference import looks
from cas.model.dump import Dump
from cas.model.report import Report
from cas.text import located


def enter_job(
    archive: Archive, report: Report, job: Job, *, is_verified: Callable[[Path], bool]
) -> str | None:
    """Note in the archive what a job found out, and give its dump a name there.

    :param is_verified: whether a file of the job has the content that it was stored with, beyond
        doubt and without reading it
    :return: the id of the crash; ``None``: the job has no dump that could tell one
    :raises CasError: that cannot be
    """
    dump = report.dump
    if dump is None or dump.crash_id is None:
        return None
    crash_id, now_s = dump.crash_id, int(report.started.timestamp())
    time_s = int(JobRecord.of(report, None).occurred.timestamp())

    def blank() -> Info:
        return Info(id=crash_id, is_weak=dump.is_crash_id_weak, time_s=time_s, added_s=now_s)

    with archive.changing(crash_id, blank) as draft:
        file = file_of(report, job, dump, now_s)
        if file.digest is not None and file.at is None:
            file = _kept(archive, draft.info, job, file, is_verified)
        info = with_file(draft.info, file)
        info = replace(info, jobs=tuple(dict.fromkeys((*info.jobs, job_name(job)))))
        draft.info = with_facts(info, report, file, time_s)
    return crash_id


def file_of(report: Report, job: Job, dump: Dump, added_s: int) -> File:
    """What is recorded of the dump of a job."""
    there = job.stored.reference if job.stored else None
    missing = (*(job.stored.missing if job.stored else ()), *dump.missing)
    return File(
        name=report.upload.rpartition("/")[2] or dump.path.name,
        digest=job.digest if job.stored else None,
        size_bytes=dump.size_bytes,
        format=dump.format,
        dump_level=dump.dump_level,
        is_whole=dump.is_whole and not missing,
        lacks="; ".join(located(lack.what, lack.offset) for lack in missing) or None,
        at=str(there.path) if there else None if job.stored else report.upload,
        added_s=added_s,
    )


def with_file(info: Info, file: File) -> Info:
    """A crash with one more file; of the same content there is one, which keeps its name.

    What was only read by parts is forgotten once a file is there.
    """
    same = [each for each in info.files if each.digest == file.digest]
    if file.digest is None:
        is_known = bool(same) or any(each.digest for each in info.files)
        return info if is_known else replace(info, files=(*info.files, file))
    if same:
        at = file.at if same[0].at is not None else None
        file = replace(file, name=same[0].name, added_s=same[0].added_s, at=at)
        files = tuple(file if each.digest == file.digest else each for each in info.files)
    else:
        files = (*info.files, file)
    return replace(info, files=tuple(each for each in files if each.digest is not None))


def with_facts(info: Info, report: Report, file: File, time_s: int) -> Info:
    """A crash with what a report found out, if it is of its best file, and no older one."""
    best, at_s = info.best_file, int(report.started.timestamp())
    is_of_best = best is None or best.digest in (file.digest, None)
    is_older = info.facts_of == file.digest and at_s < info.facts_at_s
    if info.facts and (not is_of_best or is_older):
        return info
    return replace(
        info, facts=facts_of(report), facts_of=file.digest, facts_at_s=at_s, time_s=time_s
    )


def _kept(
    archive: Archive, info: Info, job: Job, file: File, is_verified: Callable[[Path], bool]
) -> File:
    """The file with a name in the archive; where it cannot have one it stays in its job."""
    assert job.stored  # noqa: S101  it has a digest
    assert file.digest  # noqa: S101
    source = job.stored.vmcore
    target = archive.directory_of(info.id) / FILES / file.digest.partition(":")[2]
    before = next((each.looks for each in info.files if each.digest == file.digest), None)
    try:
        if target.exists():
            is_sure = before == looks(target)
            if not source.samefile(target):
                recorded = Fingerprint(file.size_bytes, file.digest)
                is_sure = _shared(source, target, is_sound=is_sure or recorded.fits(target))
        else:
            is_sure = is_verified(source)
            target.hardlink_to(source)
    except OSError:  # another file system, or one without such names
        return replace(file, at=str(source.relative_to(archive.work_directory)))
    target.chmod(0o400)
    sync_directory(target.parent)
    return replace(file, looks=looks(target) if is_sure else None)


def _shared(source: Path, target: Path, *, is_sound: bool) -> bool:
    """Have one content once, of which both are names.

    :param is_sound: whether the archive's is as it was stored; if not, the job's takes its place
    :return: the same
    """
    good, other = (target, source) if is_sound else (source, target)
    part = other.with_name(f".{other.name}{PART}")
    part.unlink(missing_ok=True)
    part.hardlink_to(good)
    part.replace(other)
    return is_sound


def is_as_stored(archive: Archive, crash_id: str, digest: str, dump: Path) -> bool:
    """Whether a job's dump is the archive's file of that digest, which nobody has touched since."""
    try:
        files = archive.read(crash_id).files
        return any(each.digest == digest and each.looks == looks(dump) for each in files)
    except (CasError, OSError):
        return False
