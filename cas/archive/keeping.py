"""A crash into the archive: its dump gets a name there, and of one content there is no second copy.

A job's dump keeps its name in the job, too; that of an upload is moved.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from cas.archive.archive import Archive
from cas.archive.crash_directories import FOR_FILES_S, NotArchived
from cas.archive.crash_index import IndexBehind
from cas.archive.facts import facts_of
from cas.archive.places import with_place
from cas.archive.record import CRASH, File, Info, Place
from cas.choices import Verdict
from cas.database.records import JobRecord
from cas.errors import CasError, NotPermitted
from cas.files.digest import Fingerprint, dump_digest
from cas.files.whole import PART, sync_directory, writing_below
from cas.frozen import dataclass
from cas.jobs.job import Job, job_name
from cas.jobs.order import FROM_STDIN
from cas.jobs.reference import looks
from cas.model.dump import Dump
from cas.model.report import Report
from cas.text import located

SETTLED = frozenset({Verdict.COMPLETE, Verdict.PARTIAL})
"""Verdicts of those who have read a dump with its kernel, as far as that can be."""
_READ_ONLY = 0o400
_NO_SECOND_NAME = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
)
"""What link(2) says where a file cannot have another name."""

Looks = tuple[int, int, int]
IsVerified = Callable[[Path], bool]


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of an upload in the archive."""

    info: Info
    file: File
    is_known: bool
    """The archive had a file of the same content."""
    behind: IndexBehind | None = None
    """Why the index does not know of it yet."""


def enter_job(archive: Archive, report: Report, job: Job, *, is_verified: IsVerified) -> str | None:
    """Note in the archive what a job found out, and give its dump a name there.

    :param is_verified: whether a file of the job has the content that it was stored with, beyond
        doubt and without reading it
    :return: the id of the crash; ``None``: the job has no dump that could tell one
    :raises CasError: that cannot be
    """
    dump = report.dump
    if dump is None or dump.crash_id is None:
        return None
    sound = _sound_looks(archive, dump.crash_id, job)
    with archive.changing(dump.crash_id, _blank(report, dump), FOR_FILES_S) as draft:
        file = file_of(report, job, dump)
        if file.purged_s and any(each.digest == file.digest for each in draft.info.files):
            file = next(each for each in draft.info.files if each.digest == file.digest)
        elif job.stored and file.digest is not None and file.at is None:
            source, target = job.stored.vmcore, archive.file_path(dump.crash_id, file.digest)
            sure = frozenset(filter(None, (sound, *(each.looks for each in draft.info.files))))
            stays = replace(file, at=str(source.relative_to(archive.work_directory)))
            file = _linked(source, target, file, sure, is_verified) or stays
        info = with_file(draft.info, file)
        info = replace(info, jobs=tuple(dict.fromkeys((*info.jobs, job_name(job)))))
        draft.info = with_facts(info, report, file)
    return dump.crash_id


def enter_upload(archive: Archive, report: Report, job: Job, answer: str | None) -> Entered:
    """Note in the archive what an upload gave, and move its dump there.

    Where that was done before, by a run that was stopped, nothing is done twice.

    :param job: the upload, which is as a job is
    :param answer: what the directory will be called that says what was found out; ``None``: there
        is none
    :raises CasError: that cannot be
    """
    dump = report.dump
    assert dump  # noqa: S101  whoever read the dump knows its crash
    assert dump.crash_id  # noqa: S101
    sound, entered = _sound_looks(archive, dump.crash_id, job), None
    try:
        with archive.changing(dump.crash_id, _blank(report, dump), FOR_FILES_S) as draft:
            before, file = draft.info, file_of(report, job, dump)
            file = replace(file, at=None, is_uploaded=True)
            file = _moved(archive, before, job, file, sound)
            draft.info = with_facts(with_file(before, file), report, file, answer)
            had = {each.digest for each in before.files if each.at is None and not each.purged_s}
            kept = next(each for each in draft.info.files if each.digest == file.digest)
            entered = Entered(draft.info, kept, kept.digest in had)
    except IndexBehind as behind:  # it is recorded all the same
        assert entered  # noqa: S101
        return Entered(entered.info, entered.file, entered.is_known, behind)
    return entered


def settle_upload(
    archive: Archive, crash_id: str, digest: str | None, place: Place | None = None
) -> None:
    """Have recorded how a file looks that has lost another name of its own just now, and remove
    what uploads gave that does not count any more.

    :param place: where a sweep has found it
    :raises CasError: that cannot be done
    """
    with archive.changing(crash_id) as draft:
        info = draft.info
        files = tuple(
            _looked_at(archive, info, each) if each.digest == digest else each
            for each in info.files
        )
        draft.info = replace(info, files=files) if files != info.files else info
        if place:
            draft.info = with_place(draft.info, place)
        for name in archive.answers(crash_id):
            if name != info.answer:
                shutil.rmtree(archive.answer_path(crash_id, name))


def _looked_at(archive: Archive, info: Info, file: File) -> File:
    """A file as it looks now, where all that has changed is how many names it has."""
    try:
        path = archive.path_of(info, file)
        marks = looks(path) if path and file.looks else None
    except OSError:
        return file
    is_same = marks and file.looks and marks[:2] == file.looks[:2]
    return replace(file, looks=marks) if is_same else file


def fingerprint_of(file: File) -> Fingerprint:
    """That of a file that was read whole."""
    assert file.digest  # noqa: S101  it was
    return Fingerprint(file.size_bytes, file.digest)


def note_upload(archive: Archive, crash_id: str, digest: str | None) -> None:
    """Have it recorded that somebody has uploaded a file that the archive has already.

    :raises IndexBehind: it is recorded, and the index does not know of it yet
    :raises CasError: that cannot be done
    """
    with archive.changing(crash_id) as draft:
        files = tuple(
            replace(each, is_uploaded=True) if each.digest == digest else each
            for each in draft.info.files
        )
        if files != draft.info.files:
            draft.info = replace(draft.info, files=files)


def known_file(
    archive: Archive, info: Info, upload: Path, is_in_store: Callable[[File], bool]
) -> File | None:
    """The file of a crash in the archive that has the content of an upload, which is read whole
    where one has its size.

    :param is_in_store: whether a file that was moved to a store is there
    :raises OSError: it cannot be read
    """
    size_bytes, found = upload.stat().st_size, dict[str, str]()
    for file in info.files:
        is_own = file.purged_s is None and (file.at is None or file.is_moved)
        if not file.digest or not is_own or file.size_bytes != size_bytes:
            continue
        method = file.digest.partition(":")[0]
        if method not in found:
            found[method] = Fingerprint(size_bytes, file.digest).like(upload).digest
        is_kept = is_in_store if file.is_moved else partial(_is_sound, archive, info)
        if found[method] == file.digest and is_kept(file):
            return file
    return None


def file_of(report: Report, job: Job, dump: Dump) -> File:
    """What is recorded of the dump of a job.

    :raises OSError: it has no digest, as in jobs of before there were any, and cannot be read
    """
    stored = job.stored
    there = stored.reference if stored else None
    is_purged = stored and job.dump_purged and not stored.vmcore.exists()
    missing = (*(stored.missing if stored else ()), *dump.missing)
    digest = job.digest
    if stored and digest is None:
        digest = dump_digest(stored.vmcore)
    return File(
        name=_name_of(report.upload) or dump.path.name,
        digest=digest if stored else None,
        size_bytes=dump.size_bytes,
        format=dump.format,
        dump_level=dump.dump_level,
        is_whole=dump.is_whole and not missing,
        lacks="; ".join(located(lack.what, lack.offset) for lack in missing) or None,
        at=str(there.path) if there else None if stored else report.upload,
        added_s=int(report.started.timestamp()),
        purged_s=int(job.dump_purged.timestamp()) if job.dump_purged and is_purged else None,
    )


def _name_of(upload: str) -> str | None:
    """What was submitted, without where it lay; ``None``: it had no name."""
    if upload == str(FROM_STDIN):
        return None
    return upload.partition("?")[0].rpartition("/")[2] if "://" in upload else Path(upload).name


def with_file(info: Info, file: File) -> Info:
    """A crash with one more file; of the same content there is one, which keeps its name.

    What was only read by parts is forgotten once a file is there.
    """
    same = next((each for each in info.files if each.digest == file.digest), None)
    if file.digest is None:
        is_known = same is not None or any(each.digest for each in info.files)
        return info if is_known else replace(info, type=CRASH, files=(*info.files, file))
    if same:
        is_here = same.at is None and same.purged_s is None
        at, marks = (None, file.looks or same.looks) if is_here else (file.at, file.looks)
        file = replace(
            file,
            name=same.name,
            added_s=same.added_s,
            at=at,
            looks=marks,
            copy=same.copy,
            is_uploaded=file.is_uploaded or (same.is_uploaded and same.purged_s is None),
        )
        files = tuple(file if each.digest == file.digest else each for each in info.files)
    else:
        files = (*info.files, file)
    files = tuple(each for each in files if each.digest is not None)
    return replace(info, type=CRASH, files=files)


def with_facts(info: Info, report: Report, file: File, answer: str | None = None) -> Info:
    """A crash with what a report found out, if it is of its best file, and no older one.

    Who had no kernel takes nothing back that was found out with it.

    :param answer: see `Info.answer`; ``None``: the report is that of a job, or is none
    """
    best, at_s = info.best_file, int(report.started.timestamp())
    is_of_best = best is None or best.digest in (file.digest, None)
    is_of_same = info.facts_of == file.digest
    is_older = at_s < info.facts_at_s
    is_poorer = report.verdict not in SETTLED and info.facts.get("verdict") in SETTLED
    if info.facts and (not is_of_best or (is_of_same and (is_older or is_poorer))):
        return info
    return replace(
        info,
        facts=facts_of(report),
        facts_of=file.digest,
        facts_at_s=at_s,
        time_s=_crashed_s(report) or info.time_s,
        answer=answer or (info.answer if is_of_same else None),
    )


def _blank(report: Report, dump: Dump) -> Callable[[], Info]:
    """What is recorded of a crash that is not there yet."""
    assert dump.crash_id  # noqa: S101
    added_s = int(report.started.timestamp())
    time_s = _crashed_s(report) or added_s
    blank = Info(id=dump.crash_id, is_weak=dump.is_crash_id_weak, time_s=time_s, added_s=added_s)
    return lambda: blank


def _crashed_s(report: Report) -> int | None:
    """When a machine crashed, in seconds since 1970; ``None``: it does not tell, or cannot know."""
    occurred = JobRecord.of(report, None).occurred
    return None if occurred == report.started else int(occurred.timestamp())


def _sound_looks(archive: Archive, crash_id: str, job: Job) -> Looks | None:
    """How the archive's file of a job's content looks that has this content beyond doubt.

    That may take reading it, so nobody is kept waiting meanwhile.
    """
    kept = job.fingerprint
    if job.stored is None or job.stored.reference or kept is None:
        return None
    target = archive.file_path(crash_id, kept.digest)
    with writing_below(archive.path):
        try:
            marks = looks(target)
            if job.stored.vmcore.exists() and job.stored.vmcore.samefile(target):
                return None
        except FileNotFoundError:
            return None
        try:
            is_recorded = any(each.looks == marks for each in archive.read(crash_id).files)
        except NotArchived:
            is_recorded = False
        return marks if is_recorded or kept.fits(target) else None


def _is_sound(archive: Archive, info: Info, file: File) -> bool:
    """Whether a file of the archive has the content that is recorded; it is read if need be."""
    kept = fingerprint_of(file)
    path = archive.file_path(info.id, kept.digest)
    try:
        return file.looks == looks(path) or kept.fits(path)
    except OSError:
        return False


def _linked(
    source: Path, target: Path, file: File, sound: frozenset[Looks], is_verified: IsVerified
) -> File | None:
    """A job's file with a name in the archive; ``None``: it cannot have one.

    :param sound: how files look that have their content beyond doubt
    """
    try:
        if not target.exists():
            is_sure = is_verified(source)
            target.hardlink_to(source)
        elif source.samefile(target):
            is_sure = looks(target) in sound or is_verified(source)
        elif looks(target) in sound:
            is_sure = True
            _put_name(target, source)
        else:
            is_sure = is_verified(source) or fingerprint_of(file).fits(source)
            if is_sure:  # what the archive has was damaged
                _put_name(source, target)
    except OSError as error:
        if error.errno not in _NO_SECOND_NAME | {errno.ENOENT}:
            raise
        return None
    return _settled(file, target, is_sure=is_sure)


def _moved(archive: Archive, info: Info, job: Job, file: File, sound: Looks | None) -> File:
    """An upload's file with a name in the archive; its own goes once that is recorded."""
    assert job.stored  # noqa: S101
    assert file.digest  # noqa: S101
    source, target = job.stored.vmcore, archive.file_path(info.id, file.digest)
    if job.stored.reference or (target.exists() and looks(target) == sound):
        return _settled(file, target, is_sure=True)  # it is there
    try:
        if not target.exists():
            target.hardlink_to(source)
        elif not source.samefile(target):  # what the archive has was damaged
            _put_name(source, target)
    except FileNotFoundError:  # a run was stopped that had moved it
        if not target.exists():
            raise
    except OSError as error:
        if error.errno not in _NO_SECOND_NAME:
            raise
        source.rename(target)
    return _settled(file, target, is_sure=True)


def _settled(file: File, target: Path, *, is_sure: bool) -> File:
    if target.stat().st_mode & 0o777 != _READ_ONLY:
        target.chmod(_READ_ONLY)
    sync_directory(target.parent)
    return replace(file, looks=looks(target) if is_sure else None)


def put_in_place(path: Path, target: Path) -> None:
    """Give a whole file that is on the disk its name in the archive.

    :raises OSError: that cannot be
    """
    path.chmod(_READ_ONLY)
    path.rename(target)
    sync_directory(target.parent)
    sync_directory(path.parent)


def _put_name(good: Path, other: Path) -> None:
    """Have one content once, of which both are names."""
    part = other.with_name(f".{other.name}{PART}")
    part.unlink(missing_ok=True)
    part.hardlink_to(good)
    part.replace(other)


def kept_file(archive: Archive, crash_id: str, digest: str | None) -> File | None:
    """The file of a crash with that digest that a job can do without: it was moved to a store, or
    has come back into the archive."""
    try:
        files = archive.read(crash_id).files
    except CasError:
        return None
    had = (each for each in files if each.digest == digest and not each.purged_s)
    return next((each for each in had if each.copy and digest), None)


def note_flaw(archive: Archive, crash_id: str, file: File, flaw: str | None) -> None:
    """Have it recorded what was found of a copy in a store; who may not write leaves it.

    :param flaw: what is wrong with it; ``None``: nothing any more
    """
    if file.copy is None or file.copy.flaw == flaw:
        return
    with suppress(IndexBehind, NotPermitted), archive.changing(crash_id) as draft:
        now = same_file(draft.info, file)
        if now and now.copy:
            draft.info = with_record(draft.info, replace(now, copy=replace(now.copy, flaw=flaw)))


def same_file(info: Info, file: File) -> File | None:
    """What is recorded now of the file with the content of an earlier record."""
    return next((each for each in info.files if each.digest == file.digest), None)


def with_record(info: Info, file: File) -> Info:
    """A crash with another record of a file of the same content."""
    files = (file if each.digest == file.digest else each for each in info.files)
    return replace(info, files=tuple(files))


def is_as_stored(archive: Archive, crash_id: str, digest: str, dump: Path) -> bool:
    """Whether a job's dump is the archive's file of that digest, which nobody has touched since."""
    try:
        files = archive.read(crash_id).files
        return any(each.digest == digest and each.looks == looks(dump) for each in files)
    except (CasError, OSError):
        return False
