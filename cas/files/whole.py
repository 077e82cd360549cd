"""Files that are whole or not there, and room on the disk: the only home of both."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from cas.errors import AGAIN, CasError, DiskFull, TryAgain, shortage
from cas.files.permission import DENIED, not_permitted
from cas.units import human_size

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says when there is no room: on the disk, in the quota, under a size limit."""
_MISPLACED = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR})
"""What the system, and we, say of what stands in the place of a file of ours."""
PART = ".part"
"""How the hidden name of a file ends that is not whole yet."""
_SMALL_BYTES = 64 << 10


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file so that a crash at any time leaves the old or the new one.

    :raises DiskFull: there is no room; the old file stays
    :raises NotPermitted: this user may not do that
    :raises TryAgain: the directory cannot be written
    """
    part = path.with_name(f".{path.name}{PART}")
    try:
        with create(part) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise cannot_write(path, error, len(content)) from error


def read_regular(path: Path, limit_bytes: int) -> bytes:
    """The content of a regular file in a directory of ours; nothing else is opened or waited for.

    Neither the file nor its directory may be a symbolic link. A FIFO would make us wait, and a
    device may do anything.

    :raises OSError: it cannot be read, is no regular file, or has more bytes than the limit
    """
    with _directory(path.parent) as directory:
        _require_regular(os.stat(path.name, dir_fd=directory, follow_symlinks=False), path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(path.name, flags, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        _require_regular(os.fstat(descriptor), path)  # another one may have come meanwhile
        return _limited_content(file, limit_bytes, path)


def read_open(descriptor: int, limit_bytes: int) -> bytes:
    """The content of a file that is open, from its beginning.

    :raises OSError: it cannot be read, or has more bytes than the limit
    """
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return _limited_content(file, limit_bytes, None)


def _limited_content(file: BinaryIO, limit_bytes: int, path: Path | None) -> bytes:
    content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        name = str(path) if path else None
        raise OSError(errno.EINVAL, f"it has more than {human_size(limit_bytes)}", name)
    return content


def opener_below(directory: Path) -> Callable[[str, int], int]:
    """For `open(..., opener=)`: a file in that directory, never what a symbolic link leads to.

    :raises OSError: by the opener, also where the directory is a symbolic link
    """

    def opened(path: str, flags: int) -> int:
        with _directory(directory) as descriptor:
            name = Path(path).relative_to(directory) if Path(path).is_absolute() else path
            if len(Path(name).parts) != 1:
                raise OSError(errno.EINVAL, f"is not directly in {directory}", path)
            safe = flags | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
            try:
                return os.open(name, safe, 0o600, dir_fd=descriptor)
            except OSError as error:
                error.filename = str(directory / name)
                raise

    return opened


def create(path: Path) -> BinaryIO:
    """A file of a job, made or emptied; never another one that a symbolic link leads to.

    :raises OSError: it cannot be made, or there is a symbolic link, or no regular file
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK
    descriptor = opener_below(path.parent)(path.name, flags)
    try:
        _require_regular(os.fstat(descriptor), path, errno.ENXIO)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "wb")


def put(path: Path, content: bytes, *, is_executable: bool = False) -> None:
    """Write a file of a job as `create` does, for its owner alone."""
    with create(path) as file:
        file.write(content)
        if is_executable:
            os.fchmod(file.fileno(), 0o700)


@contextlib.contextmanager
def writing_below(directory: Path) -> Iterator[None]:
    """Translate what the system says while files below a directory are made.

    :raises DiskFull: there is no room
    :raises NotPermitted: this user may not do that
    :raises TryAgain: it said anything else
    """
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, str) else None
        path = directory / named if named else directory
        if error.errno == errno.ENOENT and not path.is_relative_to(directory):
            hint = f"put it back, then {AGAIN}"  # an upload that is read where it lies
            raise TryAgain(f"{path} is not there any more", hint=hint) from error
        if named is None and error.errno in FULL:  # of which file the system does not say
            raise no_room(directory, "", "a file", error) from error
        raise cannot_write(path, error, 0) from error


def sync(path: Path) -> None:
    """Make the content of a file last."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Make renames and removals in a directory last."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_there(path: Path) -> bool:
    """Whether something has this name, as far as this user can tell."""
    return _mode(path) is not None


def is_file(path: Path) -> bool:
    """Whether a regular file has this name, as far as this user can tell."""
    return stat.S_ISREG(_mode(path) or 0)


def is_directory(path: Path) -> bool:
    """Whether a directory has this name, as far as this user can tell."""
    return stat.S_ISDIR(_mode(path) or 0)


def nearest(path: Path) -> Path:
    """A path, or the nearest one above it where there is something."""
    while not os.path.lexists(path):
        path = path.parent
    return path


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return None


def require_room(directory: Path, need_bytes: int, what: str, reserve_bytes: int = 0) -> None:
    """Refuse to begin what cannot end.

    :param reserve_bytes: that stay free
    :raises DiskFull: the file system has less room than needed
    """
    if _free_bytes(directory) < need_bytes + reserve_bytes:
        beside = f" beside a reserve of {human_size(reserve_bytes)}" if reserve_bytes else ""
        raise no_room(directory, human_size(need_bytes) + beside, what)


def is_used_up(directory: Path) -> bool:
    """Whether a file system has not even room for a small file."""
    return is_directory(directory) and _free_bytes(directory) < _SMALL_BYTES


def no_room(directory: Path, need: str, what: str, error: OSError | None = None) -> DiskFull:
    """The error for what is full: a disk, with need and have, a quota, or a limit on files.

    :param need: empty where that is not known
    :param error: what the system said, one of `FULL`
    """
    said = error.errno if error else errno.ENOSPC
    if said == errno.EFBIG:
        # a file that may not grow on, however much room there is
        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        if limit == resource.RLIM_INFINITY:
            return DiskFull(
                f"{what} in {directory} is larger than a file may be on that file system",
                hint=f"use another file system; then {AGAIN}",
            )
        may = f"than this process may make a file: {human_size(limit)}"
        return DiskFull(
            f"{what} in {directory} is larger {may}",
            hint="raise the limit (ulimit -f unlimited, or LimitFSIZE= of a systemd unit), then "
            f"{AGAIN}",
        )
    if said == errno.EDQUOT:
        return DiskFull(
            f"no room for {what} in {directory}: the disk quota of this user is used up",
            hint=f"have the quota raised, or free space; then {AGAIN}",
        )
    have = f"has {human_size(_free_bytes(directory))}"
    if error:
        with contextlib.suppress(OSError):
            state = os.statvfs(directory)
            if state.f_files > 0 and state.f_favail == 0:
                have = "the file system has no room for one more file (df -i)"
    needs = f"needs {need}, " if need else ""
    full = DiskFull(f"no room for {what} in {directory}: {needs}{have}")
    full.place = directory
    return full


def cannot_write(path: Path, error: OSError, need_bytes: int) -> CasError:
    """The error for a file that could not be written."""
    if error.errno in FULL:
        need = human_size(need_bytes) if need_bytes else ""
        return no_room(path.parent, need, path.name, error)
    if error.errno in DENIED:
        return not_permitted(path, error)
    if short := shortage(error):
        return TryAgain(f"cannot write {path}: {error.strerror}", hint=short.hint)
    if error.errno in _MISPLACED:
        path = path.parent / str(error.filename2 or error.filename or path)  # what stands there
        hint = f"see what put it there, remove it: rm {shlex.quote(str(path))}"
        return CasError(f"{path} is a symbolic link or no file, and left alone", hint=hint)
    hint = f"check the file system, then {AGAIN}"
    return TryAgain(f"cannot write {path}: {error.strerror or error}", hint=hint)


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _require_regular(state: os.stat_result, path: Path, number: int = errno.EINVAL) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise OSError(number, "it is no regular file", str(path))


def _free_bytes(directory: Path) -> int:
    try:
        state = os.statvfs(directory)
    except OSError:
        return 0
    return state.f_bavail * state.f_frsize
