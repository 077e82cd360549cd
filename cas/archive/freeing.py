"""What nobody needs any more goes from the archive; what was found out of it stays.

Whoever removes something has the crash to himself, and nobody uses it meanwhile.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from cas.archive.archive import Archive, Draft
from cas.archive.crash_directories import BLOCK_BYTES, FILES, INFO, NotArchived, remove_file
from cas.archive.crash_index import IndexBehind
from cas.archive.record import Change, File, Info, ToldFile, file_rank
from cas.archive.shown import told_hold
from cas.errors import CasError
from cas.files.digest import Fingerprint
from cas.files.lease import IN_USE
from cas.files.whole import PART, sync_directory
from cas.jobs.job import load_job
from cas.jobs.layout import DUMP
from cas.jobs.work_directory import is_regular

YOUNG_S = 3600.0
"""What is younger may be about to be recorded."""
LOG_FORMAT = "kernel log"
AWAITED = "its analysis waits for a kernel, or was stopped, and needs the dump"
"""Why the dump of a crash without a job stays."""


class StillNeeded(CasError):
    """Something is not purged, since somebody needs it."""

    hint = ""


@dataclass(slots=True)
class Freed:
    """What a purge came to."""

    size_bytes: int = 0
    """Of the disk, that were freed."""
    behind: IndexBehind | None = None
    """Why the index does not know of it yet."""


@contextmanager
def kept_for_nobody(archive: Archive, crash_id: str) -> Iterator[None]:
    """Make sure that nobody uses a crash's files until the end of the context.

    :raises StillNeeded: somebody does
    :raises NotArchived: there is no such crash
    """
    with archive.unused(crash_id) as is_unused:
        if not is_unused:
            raise StillNeeded(f"the crash {crash_id} is in use")
        yield


def why_needed(info: Info, *, but: str = "") -> str | None:
    """What keeps a crash's files from being purged; ``None``: nothing.

    :param but: a job, ``TICKET/STAMP``, that does not count
    """
    if info.holds:
        return f"held by {', '.join(map(told_hold, info.holds))}"
    if info.set_tickets:
        return f"the ticket {', '.join(info.set_tickets)} was set"
    others = [name for name in info.jobs if name != but]
    return f"the job {others[-1]} is on it" if others else None


def require_free(info: Info, name: str) -> None:
    """Make sure that a crash does without a job.

    :param name: ``TICKET/STAMP``
    :raises StillNeeded: it is held, or a file lies in the job alone that something else needs
    """
    if info.holds:
        raise StillNeeded(f"the crash {info.id} is {why_needed(info)}")
    why = why_needed(info, but=name)
    if why and any(_is_below(file, name) for file in info.files):
        raise StillNeeded(f"the dump of the crash {info.id} lies only here, and {why}")


def drop_job(archive: Archive, crash_id: str, name: str, note: Change) -> Freed:
    """Note that a job is purged; its crash loses its files where nothing else needs them, but what
    somebody has uploaded.

    The caller makes sure that nobody uses them.

    :param name: ``TICKET/STAMP``
    :param note: for the record of changes, where files go
    :raises StillNeeded: the job has to stay
    :raises CasError: the archive cannot be changed
    """
    freed = Freed()
    with suppress(NotArchived), changing_freed(archive, crash_id, freed) as draft:
        require_free(draft.info, name)
        info = replace(draft.info, jobs=tuple(each for each in draft.info.jobs if each != name))
        if why_needed(info) is None:
            uploads = tuple(each for each in info.files if each.is_uploaded and _is_own(each))
            info, draft.doomed = without_files(archive, info, note, uploads)
        draft.info = info
    return freed


def drop_files(archive: Archive, crash_id: str, before_s: float, note: Change) -> Freed:
    """Purge the files of a crash that nobody needs.

    :param before_s: files that came later stay, in seconds since 1970
    :raises StillNeeded: it has to stay
    :raises CasError: the archive cannot be changed
    """
    freed = Freed()
    with kept_for_nobody(archive, crash_id), changing_freed(archive, crash_id, freed) as draft:
        if why := why_needed(draft.info):
            raise StillNeeded(f"the crash {crash_id} stays: {why}")
        if youngest_s(draft.info) >= before_s:
            raise StillNeeded(f"the crash {crash_id} stays: another file of it came")
        draft.info, draft.doomed = without_files(archive, draft.info, note)
    return freed


def drop_lesser(archive: Archive, crash_id: str, before_s: float, note: Change) -> Freed:
    """Purge files of a crash of which another one has everything, once that is read and right.

    :param before_s: files that came later count for nothing, in seconds since 1970
    :raises StillNeeded: somebody uses one, or the better file is not what was stored
    :raises CasError: the archive cannot be changed
    """
    freed = Freed()
    with kept_for_nobody(archive, crash_id), changing_freed(archive, crash_id, freed) as draft:
        info = draft.info
        lesser, best = lesser_files(archive, info, before_s), info.best_file
        if not lesser or best is None or best.digest is None:
            return freed
        path = archive.path_of(info, best)
        try:
            is_right = path and Fingerprint(best.size_bytes, best.digest).fits(path)
        except OSError:
            is_right = False
        if not is_right:
            raise StillNeeded(f"the lesser files of the crash {crash_id} stay: {path} is damaged")
        draft.doomed = [_own_path(archive, info, file) for file in lesser]
        files = (_purged(file, note.at_s) if file in lesser else file for file in info.files)
        draft.info = replace(info, files=tuple(files)).noting(note.what, note.by, note.at_s)
    return freed


def lesser_files(archive: Archive, info: Info, before_s: float) -> list[File]:
    """Files that came before a time and are nobody's but the archive's, while the best one, which
    came before it too, has all that they have: whole before cut, and the same left out or less."""
    best = info.best_file
    if info.holds or info.is_weak or best is None or best.at is not None or best.purged_s:
        return []
    if not best.is_whole or best.format == LOG_FORMAT or best.added_s >= before_s:
        return []
    found = (each for each in info.files if each.purged_s is None and each.at is None)
    return [
        file
        for file in found
        if file_rank(file) < file_rank(best)
        and file.added_s < before_s
        and _has_all_of(best, file)
        and _links(_own_path(archive, info, file)) == 1
    ]


def _has_all_of(best: File, file: File) -> bool:
    # makedumpfile(8): each bit of -d names a kind of pages that is left out
    leaves_out_more = (best.dump_level or 0) & ~(file.dump_level or 0)
    is_better = not file.is_whole or best.dump_level != file.dump_level
    return is_better and not leaves_out_more and file.format != LOG_FORMAT


def youngest_s(info: Info) -> int:
    """When the newest file of a crash came, in seconds since 1970."""
    return max((file.added_s for file in info.files), default=info.added_s)


def own_files(archive: Archive, info: Info) -> list[Path]:
    """Where the files of a crash are that the archive has itself, and that are not purged."""
    return [_own_path(archive, info, file) for file in info.files if _is_own(file)]


def freeable_bytes(paths: list[Path]) -> int:
    """What removing files would free: one that has another name elsewhere frees nothing."""
    total = 0
    for path in paths:
        with suppress(OSError):
            state = path.lstat()
            total += state.st_blocks * BLOCK_BYTES if state.st_nlink == 1 else 0
    return total


def leftovers(archive: Archive, crash_id: str, now_s: float) -> list[Path]:
    """What stopped runs left of a crash, and what can become nothing any more.

    :return: files; at last the crash's directory itself, where there never was a record
    """
    directory = archive.directory_of(crash_id)
    try:
        info = archive.read(crash_id)
    except NotArchived:
        return _unborn(directory, now_s)
    except CasError:  # nobody knows whose files these are
        return []
    return leftovers_of(archive, info, now_s)


def leftovers_of(archive: Archive, info: Info, now_s: float) -> list[Path]:
    """The same of a crash whose record was read."""
    directory = archive.directory_of(info.id)
    kept = {path.name for path in own_files(archive, info)}
    purged = {file.digest.partition(":")[2] for file in info.files if file.purged_s and file.digest}
    found = [path for path in _files_in(directory) if path.name.endswith(PART)]
    found += [path for path in _files_in(directory / FILES) if path.name not in kept]
    found = [path for path in found if path.name in purged or _is_old(path, now_s)]
    return found + _purged_in_jobs(archive, info)


def _purged_in_jobs(archive: Archive, info: Info) -> list[Path]:
    """Files that lie in their jobs alone and were to go when a purge was stopped."""
    return [
        path
        for file in info.files
        if file.purged_s and file.at and not is_elsewhere(file)
        for path in (archive.work_directory / file.at,)
        if is_regular(path) and _is_purged_of(path.parents[1], path)
    ]


def _is_purged_of(directory: Path, path: Path) -> bool:
    """Whether a job says that its dump, which this is, was to be purged."""
    with suppress(CasError, OSError):
        job = load_job(directory)
        return job.dump_purged is not None and any(each.samefile(path) for each in job.dump_paths)
    return False


def remove_leftovers(archive: Archive, crash_id: str, now_s: float) -> Iterator[tuple[Path, int]]:
    """Remove them; each that went, and the bytes of the disk that this has freed.

    :raises StillNeeded: somebody uses the crash
    :raises CasError: the archive cannot be changed
    """
    with kept_for_nobody(archive, crash_id), archive.alone_with(crash_id) as directory:
        info = archive.read(crash_id) if archive.has_record(crash_id) else None
        for path in leftovers(archive, crash_id, now_s):
            if path != directory:
                in_jobs = _names_in_jobs(archive, info, path) if info else []
                yield path, sum(map(remove_file, (*in_jobs, path)))
                continue
            (directory / IN_USE).unlink(missing_ok=True)
            for each in (directory / FILES, directory):
                with suppress(FileNotFoundError):
                    each.rmdir()
            sync_directory(directory.parent)
            yield directory, 0


def _names_in_jobs(archive: Archive, info: Info, path: Path) -> list[Path]:
    """The other names of a file that was purged, in jobs that say so too."""
    return [
        Path(dump)
        for name in info.jobs
        for dump in dumps_in(f"{archive.work_directory}/{name}")
        if path.lstat().st_nlink > 1 and path.samefile(dump) and Path(dump) != path
        if _is_purged_of(archive.work_directory / name, path)
    ]


@contextmanager
def changing_freed(archive: Archive, crash_id: str, freed: Freed) -> Iterator[Draft]:
    """A crash of which files go; what that has freed is added, also by whoever is stopped."""
    draft = None
    try:
        with archive.changing(crash_id) as draft:
            yield draft
    except IndexBehind as error:  # it is done all the same
        freed.behind = error
    finally:
        freed.size_bytes += draft.freed_bytes if draft else 0


def _unborn(directory: Path, now_s: float) -> list[Path]:
    """Files of a crash that did not come to a record, and its directory."""
    found = [
        *(path for path in _files_in(directory) if path.name not in (INFO, IN_USE)),
        *_files_in(directory / FILES),
    ]
    if not all(_is_old(path, now_s) for path in (*found, directory)):
        return []
    return [*found, directory]


def _files_in(directory: Path) -> list[Path]:
    """Regular files directly in a directory of ours; nothing where a link stands in its place."""
    try:
        if not stat.S_ISDIR(directory.lstat().st_mode):
            return []
        with os.scandir(directory) as entries:
            names = [each.name for each in entries if each.is_file(follow_symlinks=False)]
    except OSError:
        return []
    return [directory / name for name in sorted(names)]


def dumps_in(job: str) -> list[str]:
    """The files in the directory of a job's dump."""
    place = f"{job}/{DUMP}"
    try:
        if not stat.S_ISDIR(os.lstat(place).st_mode):
            return []
        with os.scandir(place) as entries:
            return [each.path for each in entries if each.is_file(follow_symlinks=False)]
    except OSError:
        return []


def _is_old(path: Path, now_s: float) -> bool:
    try:
        state = path.lstat()
    except OSError:
        return False
    # a second name changes the first time only, st_ctime, which nobody can set
    return now_s - max(state.st_mtime, state.st_ctime) > YOUNG_S


def _is_own(file: File) -> bool:
    return file.purged_s is None and file.at is None


def _is_below(file: File, name: str) -> bool:
    """Whether a file lies in a job, and nowhere else."""
    return file.purged_s is None and file.at is not None and file.at.startswith(f"{name}/")


def _own_path(archive: Archive, info: Info, file: File) -> Path:
    path = archive.path_of(info, file)
    assert path  # noqa: S101  it is in the archive
    return path


def _links(path: Path) -> int:
    try:
        return path.lstat().st_nlink
    except OSError:
        return 0


def _purged(file: File, now_s: int) -> File:
    return replace(file, purged_s=now_s, looks=None)


def is_elsewhere(file: ToldFile) -> bool:
    """Whether it stays where it was submitted: it is not ours to purge."""
    return file.at is not None and (file.at.startswith("/") or "://" in file.at)


def without_files(
    archive: Archive, info: Info, note: Change, but: tuple[File, ...] = ()
) -> tuple[Info, list[Path]]:
    """A crash whose files are noted as purged, and those of the archive itself, to be removed.

    :param but: files that stay
    """
    files = tuple(
        file if file.purged_s or is_elsewhere(file) or file in but else _purged(file, note.at_s)
        for file in info.files
    )
    if files == info.files:
        return info, []
    purged = replace(info, files=files).noting(note.what, note.by, note.at_s)
    doomed = (file for file in info.files if _is_own(file) and file not in but)
    return purged, [_own_path(archive, info, file) for file in doomed]
