"""The crashes of the archive on the disk: a directory for each, with ``info.json`` and its files.

``info.json`` is the truth. Who changes a crash has its directory locked; who uses its files has a
lease on it, and nothing of it is purged.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cas.archive.record import NOTE, File, Info, info_of
from cas.choices import Presence
from cas.errors import CasError, TryAgain, UsageError
from cas.files import lease
from cas.files.permission import DENIED, not_permitted
from cas.files.record import Unreadable
from cas.files.whole import (
    is_directory,
    read_regular,
    sync_directory,
    writing_below,
)
from cas.frozen import dataclass

INFO = "info.json"
FILES = "files"
ANSWERS = "answers"
_OBJECTS = "objects"
_GROUP_DIGITS = 2
"""Digits of the ids whose directories lie together."""
_INFO_LIMIT = 16 << 20
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
LOCK_S = 60.0
"""Seconds that a process waits while another one changes a crash."""
FOR_FILES_S = 600.0
"""The same of one that has a file for it."""
_LOOK_S = 0.02
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
BLOCK_BYTES = 512
"""Of ``st_blocks``, whatever the file system's own are."""


class NotArchived(UsageError):
    """The archive has no such crash."""

    hint = "to see what it has: cas ls"


class ArchiveDamaged(CasError):
    """A record of the archive cannot be read."""

    hint = "put its info.json back from a backup; cas-admin index tells of all such"


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the archive has."""

    crashes: int
    files: int
    size_bytes: int
    """Of the disk."""


@dataclass(frozen=True, slots=True)
class CrashDirectories:
    """The directories of all crashes."""

    path: Path
    """Of the archive."""
    work_directory: Path
    """By which the paths of files that stayed in their jobs are told."""

    def directory_of(self, crash_id: str) -> Path:
        """The directory of a crash."""
        return self.path / _OBJECTS / crash_id[:_GROUP_DIGITS] / crash_id

    def ids(self) -> Iterator[str]:
        """The ids of all crashes, in their order."""
        objects = self.path / _OBJECTS
        for group in names_in(objects):
            if len(group) == _GROUP_DIGITS:
                yield from filter(is_crash_id, names_in(objects / group))

    def holdings(self) -> Holdings:
        """How many crashes and files it has, and what these take; no record is read for that.

        :raises NotPermitted: this user may not read it
        """
        crashes = files = size_bytes = 0
        for crash_id in self.ids():
            crashes += self.has_record(crash_id)
            with suppress(OSError), os.scandir(self.directory_of(crash_id) / FILES) as entries:
                for entry in entries:
                    files += 1
                    size_bytes += entry.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES
        return Holdings(crashes, files, size_bytes)

    def has_record(self, crash_id: str) -> bool:
        """Whether there is a record of a crash, readable or not."""
        return os.path.lexists(self.directory_of(crash_id) / INFO)

    def read(self, crash_id: str) -> Info:
        """What is recorded of a crash.

        :raises NotArchived: there is none of this id
        :raises ArchiveDamaged: its record cannot be read
        :raises NotPermitted: this user may not read it
        """
        file = self.directory_of(crash_id) / INFO
        try:
            found = info_of(read_regular(file, _INFO_LIMIT))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotArchived(f"the archive has no crash {crash_id}") from error
        except OSError as error:
            if error.errno in DENIED:
                raise not_permitted(file, error, "read") from error
            raise ArchiveDamaged(f"cannot read {file}: {error.strerror}") from error
        except Unreadable as error:
            raise ArchiveDamaged(f"{file} is damaged: {error}") from error
        if found.id != crash_id:
            raise ArchiveDamaged(f"{file} is of another crash, {found.id}")
        return found

    @contextmanager
    def using(self, crash_id: str) -> Iterator[None]:
        """Keep a crash's files, and its jobs, from being purged.

        Whoever may not write there at all goes on without.

        :raises NotArchived: it is not there
        :raises TryAgain: they are being purged, for too long
        """
        directory = self._existing(crash_id)
        with writing_below(directory):
            descriptor = lease.take_lease(directory, _lease_mode)
        with lease.keeping_lease(descriptor, is_use=True):
            yield

    @contextmanager
    def unused(self, crash_id: str) -> Iterator[bool]:
        """Whether nobody uses a crash's files; if so, nobody can until the end of the context.

        :raises NotArchived: it is not there
        """
        with lease.unused(self._existing(crash_id), _lease_mode) as is_unused:
            yield is_unused

    @contextmanager
    def alone_with(self, crash_id: str) -> Iterator[Path]:
        """A crash's directory, with a record or without one, that nobody changes meanwhile.

        :raises NotArchived: it is not there
        :raises TryAgain: another process changes it for too long
        """
        self._existing(crash_id)
        with self.locked(crash_id, LOCK_S, is_made=False) as directory:
            yield directory

    def _existing(self, crash_id: str) -> Path:
        directory = self.directory_of(crash_id)
        if not is_directory(directory):
            raise NotArchived(f"the archive has no crash {crash_id}")
        return directory

    def path_of(self, info: Info, file: File) -> Path | None:
        """Where a file is on this machine; ``None``: on a server."""
        if file.at is not None:
            return None if "://" in file.at else self.work_directory / file.at
        assert file.digest  # noqa: S101  what is in the archive was read
        return self.file_path(info.id, file.digest)

    def file_path(self, crash_id: str, digest: str) -> Path:
        """Where a file of this content lies, if it is in the archive."""
        return self.directory_of(crash_id) / FILES / digest.partition(":")[2]

    def answer_path(self, crash_id: str, name: str) -> Path:
        """Where it is said what an upload gave, see `Info.answer`."""
        return self.directory_of(crash_id) / ANSWERS / name

    def answers(self, crash_id: str) -> list[str]:
        """Names of the directories that say what uploads of a crash gave."""
        return names_in(self.directory_of(crash_id) / ANSWERS)

    def answer_of(self, info: Info) -> Path | None:
        """The directory with the reports of the newest upload of a crash's best file.

        It is as a job's is, with ``job.json``, ``result.json``, reports and kernel log; its dump is
        a reference to the archive's file.

        :return: ``None``: there was no upload, or one that was stopped before it had an answer
        """
        path = self.answer_path(info.id, info.answer) if info.answer else None
        return path if path and path.is_dir() else None

    def place_of(self, info: Info, file: File) -> str:
        """Where a file is: a path or a URL."""
        return str(self.path_of(info, file) or file.at)

    def presence_of(self, info: Info) -> Presence:
        """Where the best file of a crash is now."""
        best = info.best_file
        if best is None:
            return Presence.NOTED if info.type == NOTE else Presence.MISSING
        if best.purged_s is not None:
            return Presence.PURGED
        path = self.path_of(info, best)
        if path is None:
            is_lost = best.is_moved and best.copy and best.copy.flaw
            return Presence.MISSING if is_lost else Presence.ELSEWHERE
        try:
            size_bytes = path.stat().st_size
        except OSError:
            return Presence.MISSING
        if size_bytes != best.size_bytes:
            return Presence.TRUNCATED
        return Presence.ELSEWHERE if Path(best.at or "").is_absolute() else Presence.HERE

    @contextmanager
    def locked(self, crash_id: str, patience_s: float, *, is_made: bool) -> Iterator[Path]:
        """A crash's directory, to ourselves; the kernel releases it if we die.

        :param patience_s: how long to wait while another process changes it
        :param is_made: the directory is made if it is not there
        :raises NotArchived: it is not there
        :raises TryAgain: another process changes it for too long
        """
        directory = self.directory_of(crash_id)
        until = time.monotonic() + patience_s
        while True:
            if is_made and not (directory / FILES).is_dir():
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                (directory / FILES).mkdir(parents=True, exist_ok=True)
                for made in (directory, *directory.parents[:3]):
                    sync_directory(made)
            try:
                descriptor = os.open(directory, _DIRECTORY)
            except FileNotFoundError as error:
                raise NotArchived(f"the archive has no crash {crash_id}") from error
            try:
                _lock(descriptor, until, directory)
                # a purge may have removed it before the lock, with what a stopped run had left
                if _is_still(directory, descriptor):
                    yield directory
                    return
            finally:
                os.close(descriptor)


def is_crash_id(name: str) -> bool:
    """Whether a name is a crash's id."""
    return _ID.fullmatch(name) is not None


def remove_file(path: Path) -> int:
    """Remove a file, if it is there; the bytes of the disk that this has freed."""
    try:
        state = path.lstat()
        path.unlink()
    except FileNotFoundError:
        return 0
    sync_directory(path.parent)
    return state.st_blocks * BLOCK_BYTES if state.st_nlink == 1 else 0


def _lock(descriptor: int, until: float, directory: Path) -> None:
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() > until:
            raise TryAgain(f"another process is changing the crash {directory.name}")
        time.sleep(_LOOK_S)


def _is_still(directory: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(directory.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lease_mode(directory: Path) -> int:
    return 0o600


def names_in(directory: Path) -> list[str]:
    """Names in a directory, in their order; none if it is not there.

    :raises NotPermitted: this user may not read it
    """
    try:
        return sorted(os.listdir(directory))  # noqa: PTH208  names only
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        if error.errno in DENIED:
            raise not_permitted(directory, error, "read") from error
        raise CasError(f"cannot read {directory}: {error.strerror}") from error
