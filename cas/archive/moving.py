"""Files of the archive to a store and back: what is told of a crash stays here all the while.

A file goes from this machine only after all of its copy was read back, and ``info.json`` says
where that is. While a crash is being moved ``moves/ID`` says so, and is locked: what a run leaves
that was stopped is finished, or undone, by the next one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field
from pathlib import Path

from msgspec.structs import replace

from cas.archive.archive import Archive
from cas.archive.crash_directories import NotArchived, remove_file
from cas.archive.crash_index import IndexBehind
from cas.archive.freeing import AWAITED, LOG_FORMAT, is_elsewhere, youngest_s
from cas.archive.keeping import (
    fingerprint_of,
    note_flaw,
    put_in_place,
    same_file,
    with_record,
)
from cas.archive.move_notes import (
    LOCAL,
    MOVES,
    LeftMove,
    StaysHere,
    StillUsed,
    left_moves,
    noted_move,
)
from cas.archive.record import File, Info, StoreCopy
from cas.archive.stored_copy import PUT_BACK, OtherObject, absence_noted
from cas.choices import UNFINISHED
from cas.errors import CasError, JobBusy, TryAgain, UsageError
from cas.fetch.fetch import fetch
from cas.fetch.objects import object_pieces, object_size, put_object
from cas.fetch.source import FetchPolicy
from cas.fetch.url import Url, parse_url
from cas.files.digest import Fingerprint, StreamedDigest
from cas.files.lease import IN_USE, is_held
from cas.files.whole import sync_directory, writing_below
from cas.frozen import dataclass
from cas.jobs.job import Job, load_job
from cas.jobs.lock import lock_job
from cas.jobs.reference import looks
from cas.progress import Progress
from cas.settings.rules import STORE_PREFIX

_COMING = ".coming"
"""How a directory of `MOVES` ends: in it a file comes back."""
_KEPT_S = 24 * 60 * 60.0
"""So long what has come of a file is kept that nobody goes on with."""
_PIECE_BYTES = 1 << 20


@dataclass(slots=True)
class Moved:
    """What has become of one crash."""

    files: int = 0
    """That are where they were to be."""
    freed_bytes: int = 0
    """Of the disk."""
    behind: IndexBehind | None = None
    """Why the index does not know of it yet."""
    remarks: list[str] = field(default_factory=list)


def store_prefix(text: str) -> str:
    """A store and a prefix in it, below which files are put.

    :raises UsageError: it is no ``s3://BUCKET/PREFIX``, nor one of another store
    """
    if not STORE_PREFIX.fullmatch(text):
        raise UsageError(
            "--to takes a store and a prefix of letters, digits, dots and dashes, or local",
            hint="for example: --to s3://BUCKET/dumps; where it is, cas.conf says in [stores]",
        )
    return text.rstrip("/")


def object_of(info: Info, file: File, prefix: str) -> str:
    """The URL of a file in a store: of one content it is one, whoever puts it there."""
    return f"{prefix}/{info.id}/{fingerprint_of(file).digest.partition(':')[2]}"


def movable_files(archive: Archive, info: Info) -> list[File]:
    """The files of a crash that are on this machine, and the archive's or its jobs'."""
    return [
        file
        for file in info.files
        if file.purged_s is None
        and file.digest is not None
        and file.format != LOG_FORMAT
        and not is_elsewhere(file)
    ]


def moved_files(info: Info) -> list[File]:
    """The files of a crash that are in stores."""
    return [file for file in info.files if file.is_moved and file.purged_s is None]


def why_stays(archive: Archive, info: Info) -> str | None:
    """Why the files of a crash are not moved now; ``None``: nothing keeps them."""
    if info.facts.get("verdict") in UNFINISHED:
        return AWAITED
    for name in info.jobs:
        with suppress(CasError):
            if load_job(archive.work_directory / name).is_unfinished:
                return f"the job {name} is not finished, and needs the dump"
    return None


def last_used_s(archive: Archive, info: Info) -> float:
    """When a crash came, or somebody used its files, whichever was later; in seconds since 1970."""
    used_s = 0.0
    with suppress(OSError):
        used_s = (archive.directory_of(info.id) / IN_USE).stat().st_mtime
    return max(used_s, youngest_s(info))


@dataclass(frozen=True, slots=True)
class Mover:
    """Moves crashes, one at a time."""

    archive: Archive
    policy: FetchPolicy
    progress: Progress
    by: str
    """Who wants it."""

    def move_away(self, crash_id: str, prefix: str) -> Moved:
        """Have the files of a crash in a store alone.

        :param prefix: see `store_prefix`
        :raises StaysHere: somebody needs them here
        :raises OtherObject: the store has something else under the name of one
        :raises CasError: a file cannot be copied, or the archive cannot be changed
        """
        info = self.archive.read(crash_id)
        if movable_files(self.archive, info):
            require_movable(self.archive, info)
        done = Moved()
        with self._noted(crash_id, prefix):
            done.freed_bytes += self._remove_left(crash_id)
            info = self.archive.read(crash_id)
            for file in movable_files(self.archive, info):
                with self.archive.using(crash_id):
                    copy = self._copied(info, file, prefix)
                self._let_go(crash_id, file, copy, done)
        return done

    def bring_back(self, crash_id: str) -> Moved:
        """Have the files of a crash on this machine again; their copies stay where they are.

        :raises OtherObject: what a store has is not what was moved there, which is recorded
        :raises NotThere: it has nothing there any more, which is recorded
        :raises CasError: a file cannot be fetched, or there is no room
        """
        done = Moved()
        with self._noted(crash_id, LOCAL):
            if self._left_names(self.archive.read(crash_id)):
                self._remove_left(crash_id)
            with self.archive.using(crash_id):
                info = self.archive.read(crash_id)
                for file in moved_files(info):
                    path = self._fetched(info, file)
                    with _although_behind(done):
                        self._take_in(crash_id, file, path, done)
            shutil.rmtree(self._coming(crash_id), ignore_errors=True)
        return done

    def finish_moves(self, but: Container[str] = ()) -> None:
        """Finish, or undo, what runs left that were stopped; it is told.

        :param but: ids of crashes that are moved anyway
        """
        for left in left_moves(self.archive.path):
            if left.crash_id in but:
                continue
            try:
                with self._noted(left.crash_id, left.to, is_new=False):
                    self._settle(left)
            except (CasError, OSError) as error:  # which keeps nobody from something else
                self.progress.warn(f"a move of {left.crash_id} was stopped, and stays so: {error}")

    def _copied(self, info: Info, file: File, prefix: str) -> StoreCopy:
        """A file's copy in a store, which was read back."""
        path, kept = self.archive.path_of(info, file), fingerprint_of(file)
        assert path  # noqa: S101  it is movable
        url = parse_url(object_of(info, file, prefix))
        try:
            is_sound = file.looks == looks(path) or kept.fits(path)
        except OSError as error:
            raise CasError(f"cannot read {path}: {error.strerror}") from error
        if not is_sound:
            raise CasError(
                f"{path} is not what was stored: it is not moved", hint="see: cas-admin check"
            )
        size_bytes = object_size(url, self.policy)
        if size_bytes is None:
            with self.progress.bar(f"Copying {file.name} to {url}", kept.size_bytes) as advance:
                pieces = _pieces(path, advance)
                put_object(url, pieces, kept.size_bytes, self.policy)
        elif size_bytes != kept.size_bytes:
            raise OtherObject(f"{url} has {size_bytes:,} bytes, {file.name} {kept.size_bytes:,}")
        if (found := self._read_back(url, kept)) != kept:
            raise OtherObject(
                f"{url} is not what {file.name} is: {found}, and not {kept}; the file stays here"
            )
        return StoreCopy(url=str(url), at_s=int(time.time()), by=self.by)

    def _read_back(self, url: Url, kept: Fingerprint) -> Fingerprint:
        digest, told = StreamedDigest(kept), 0
        with self.progress.bar(f"Reading {url} back", kept.size_bytes) as advance:
            for offset, data in object_pieces(url, self.policy, self.progress):
                if offset != digest.size_bytes:
                    digest = StreamedDigest(kept)
                digest.add(data)
                if digest.size_bytes > kept.size_bytes:
                    raise OtherObject(f"{url} has more than the {kept.size_bytes:,} bytes of it")
                advance(max(0, digest.size_bytes - told))
                told = max(told, digest.size_bytes)
        return digest.found

    def _let_go(self, crash_id: str, file: File, copy: StoreCopy, done: Moved) -> None:
        """Record where a file's copy is, and remove the file."""
        used = f"the crash {crash_id} is in use: its files stay; a copy is in {copy.url} by now"
        draft = None
        try:
            with _although_behind(done), ExitStack() as stack:
                if not stack.enter_context(self.archive.unused(crash_id)):
                    raise StillUsed(used)
                info = self.archive.read(crash_id)
                for job in _jobs_with(self.archive, info, file):
                    try:
                        stack.enter_context(lock_job(job.directory))
                    except JobBusy as error:
                        raise StillUsed(f"{error}: {used}") from error
                draft = stack.enter_context(self.archive.changing(crash_id))
                now = same_file(draft.info, file)
                path = self.archive.path_of(draft.info, now) if now else None
                if why := why_stays(self.archive, draft.info):
                    raise StaysHere(f"the crash {crash_id} stays here: {why}")
                if now is None or path is None or now.purged_s is not None:
                    return  # somebody was quicker
                moved = replace(now, at=copy.url, copy=copy, looks=None)
                what = f"move to {copy.url}"
                draft.info = with_record(draft.info, moved).noting(what, self.by, copy.at_s)
                draft.doomed = [*_job_names(self.archive, info, file, path), path]
                others = path.stat().st_nlink - len(draft.doomed)
                if others > 0:
                    names = "another name" if others == 1 else f"{others} other names"
                    done.remarks.append(f"{path} had {names}: its bytes stay on the disk there")
                done.files += 1
        finally:
            done.freed_bytes += draft.freed_bytes if draft else 0

    def _fetched(self, info: Info, file: File) -> Path:
        """A file that has come from its store, and is what it was."""
        assert file.copy  # noqa: S101  it is moved
        place, kept, url = self._coming(info.id), fingerprint_of(file), parse_url(file.copy.url)
        with writing_below(self.archive.path):
            place.mkdir(mode=0o700, exist_ok=True)
        with absence_noted(self.archive, info.id, file):
            path = fetch(url, place, self.policy, self.progress)
        with self.progress.bar("Comparing it with its recorded digest", None):
            is_right = kept.fits(path)
        if not is_right:
            found = kept.like(path)
            path.unlink()
            note_flaw(self.archive, info.id, file, "it has another content")
            raise OtherObject(
                f"{url} is not what was moved there: {found}, and not {kept}",
                hint=PUT_BACK,
            )
        return path

    def _take_in(self, crash_id: str, file: File, path: Path, done: Moved) -> None:
        """Give a file that has come its names, in the archive and in jobs."""
        assert file.digest  # noqa: S101  it was stored
        with self.archive.changing(crash_id) as draft:
            now = same_file(draft.info, file)
            if now is None or not now.is_moved:
                return  # somebody was quicker
            with writing_below(self.archive.path):
                target = self.archive.file_path(crash_id, file.digest)
                put_in_place(path, target)
                for job in _jobs_with(self.archive, draft.info, file):
                    _give_name(job, target, done.remarks)
                back = replace(now, at=None, looks=looks(target))
            copy = now.copy and replace(now.copy, flaw=None)
            info = with_record(draft.info, replace(back, copy=copy))
            draft.info = info.noting(f"move to {LOCAL}", self.by, int(time.time()))
            done.files += 1

    def _settle(self, left: LeftMove) -> None:
        """What a stopped move left: names of files that are in a store, and what has come back."""
        crash_id, coming, moved = left.crash_id, self._coming(left.crash_id), list[File]()
        with suppress(NotArchived):
            self._remove_left(crash_id)
            moved = moved_files(self.archive.read(crash_id))
        if coming.is_dir() and time.time() - _newest(coming) < _KEPT_S:
            raise TryAgain(
                f"what has come of it is kept for a day; to go on: cas move {crash_id} --to local"
            )
        shutil.rmtree(coming, ignore_errors=True)
        said = f"a move of {crash_id} to {left.to}, by {left.by}, was stopped:"
        if left.to != LOCAL and moved:
            self.progress.say(f"{said} finished now")
        else:
            copied = "; what it had copied may be there still" if left.to != LOCAL else ""
            self.progress.say(f"{said} undone{copied}")

    def _remove_left(self, crash_id: str) -> int:
        """Remove names on this machine of files that are in a store; the bytes that this freed.

        :raises StillUsed: somebody uses them
        """
        with self.archive.unused(crash_id) as is_unused:
            if not is_unused:
                raise StillUsed(f"the crash {crash_id} is in use")
            with self.archive.changing(crash_id) as draft, writing_below(self.archive.path):
                return sum(map(remove_file, self._left_names(draft.info)))

    def _left_names(self, info: Info) -> list[Path]:
        """Names on this machine of files that are in a store."""
        found = list[Path]()
        for file in moved_files(info):
            path = self.archive.file_path(info.id, fingerprint_of(file).digest)
            if path.exists():
                found += (*_job_names(self.archive, info, file, path), path)
        return found

    def _coming(self, crash_id: str) -> Path:
        return self.archive.path / MOVES / f"{crash_id}{_COMING}"

    @contextmanager
    def _noted(self, crash_id: str, to: str, *, is_new: bool = True) -> Iterator[None]:
        """Have it noted where a crash is being moved; whoever is stopped leaves the note."""
        with noted_move(self.archive.path, LeftMove(crash_id, to, self.by), is_new=is_new) as note:
            try:
                yield
                note.unlink(missing_ok=True)
            except CasError:
                with suppress(OSError):  # of which nothing has come
                    self._coming(crash_id).rmdir()
                if is_new and not self._is_left(crash_id):
                    note.unlink(missing_ok=True)
                raise

    def _is_left(self, crash_id: str) -> bool:
        """Whether there is something to finish or to undo."""
        with suppress(CasError):
            if self._left_names(self.archive.read(crash_id)):
                return True
        return self._coming(crash_id).exists()


@contextmanager
def _although_behind(done: Moved) -> Iterator[None]:
    """Go on where the index does not know of it: it is done all the same."""
    try:
        yield
    except IndexBehind as error:
        done.behind = error


def require_movable(archive: Archive, info: Info) -> None:
    """Make sure that nobody needs the files of a crash on this machine.

    :raises StaysHere: somebody does
    """
    if is_held(archive.directory_of(info.id)):
        raise StillUsed(f"the crash {info.id} is in use")
    if why := why_stays(archive, info):
        raise StaysHere(f"the crash {info.id} stays here: {why}")


def _pieces(path: Path, advance: Callable[[int], None]) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as file:
            while data := file.read(_PIECE_BYTES):
                yield data
                advance(len(data))
    except OSError as error:
        raise CasError(f"cannot read {path}: {error.strerror}") from error


def _jobs_with(archive: Archive, info: Info, file: File) -> list[Job]:
    """The jobs of a crash whose own dump has the content of a file."""
    found = list[Job]()
    for name in info.jobs:
        with suppress(CasError):
            job = load_job(archive.work_directory / name)
            if job.stored and not job.stored.reference and job.digest == file.digest:
                found.append(job)
    return found


def _job_names(archive: Archive, info: Info, file: File, path: Path) -> list[Path]:
    """Other names that a file of the archive has in jobs."""
    found = list[Path]()
    for job in _jobs_with(archive, info, file):
        assert job.stored  # noqa: S101  it has a dump
        with suppress(OSError):
            if job.stored.vmcore != path and job.stored.vmcore.samefile(path):
                found.append(job.stored.vmcore)
    return found


def _give_name(job: Job, target: Path, remarks: list[str]) -> None:
    """Let a job have its dump again, where it can be another name of the archive's file."""
    assert job.stored  # noqa: S101  it has a dump
    own = job.stored.vmcore
    if own.exists():
        return
    try:
        own.parent.mkdir(mode=0o700, exist_ok=True)
        own.hardlink_to(target)
        sync_directory(own.parent)
    except OSError:
        remarks.append(f"{job.directory} has no dump of its own: {target} is another file system's")


def _newest(directory: Path) -> float:
    times = [directory.stat().st_mtime]
    with suppress(OSError):
        times += [path.stat().st_mtime for path in directory.iterdir()]
    return max(times)
