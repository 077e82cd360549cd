"""Who is using a directory: nothing that somebody holds is ever removed.

A holder has a shared lock on the file ``in-use`` of the directory, whoever removes something of it
an exclusive one. The kernel lets go of a lock when its process dies, whatever it died of. On NFS
Linux makes byte-range locks of the whole file of them, so that they count for other machines too
(flock(2)); there a dead machine's locks last until the server's lease for it has run out. The
file's time of modification is the time of the last use.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cas.errors import TryAgain
from cas.files.permission import DENIED

IN_USE = "in-use"
Prepare = Callable[[Path], int]
"""Makes a directory that is not there, if it may be made; gives the mode of a file in it."""
_NEVER = (0, 0)
"""Times of a file that was made without a use."""
_PATIENCE_S = 60.0
"""For somebody who is removing something; it takes as long as a rename."""
_PAUSE_S = 0.01
_TRIES = 1000
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


def take_lease(directory: Path, prepare: Prepare) -> int | None:
    """A descriptor with a shared lock; ``None`` where nothing may be written.

    :raises OSError: the file cannot be used
    :raises TryAgain: somebody who removes something has the lock for too long
    """
    path, deadline = directory / IN_USE, time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        descriptor = _prepared(path, prepare)
        if descriptor is None:
            return None
        if _try_flock(descriptor, fcntl.LOCK_SH) and _is_at(path, descriptor):
            return descriptor
        os.close(descriptor)
        time.sleep(_PAUSE_S)
    raise TryAgain(
        f"{directory} has been locked for {_PATIENCE_S:.0f} s by somebody who removes it"
    )


@contextmanager
def keeping_lease(descriptor: int | None, *, is_use: bool) -> Iterator[None]:
    """Hold what was taken until the end of the context.

    :param is_use: note when it was used
    """
    if descriptor is None:
        yield
        return
    try:
        _note_use(descriptor, is_use=is_use)
        yield
    finally:
        _note_use(descriptor, is_use=is_use)
        os.close(descriptor)


@contextmanager
def unused(directory: Path, prepare: Prepare) -> Iterator[bool]:
    """Whether nobody holds the directory; if so, nobody can until the end of the context."""
    descriptor = _open_lease(directory / IN_USE, prepare)
    try:
        yield _try_flock(descriptor, fcntl.LOCK_EX) and _is_at(directory / IN_USE, descriptor)
    finally:
        os.close(descriptor)


def is_held(directory: Path) -> bool:
    """Whether somebody is using the directory at the moment."""
    try:
        descriptor = os.open(directory / IN_USE, _FLAGS | os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try_flock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _note_use(descriptor: int, *, is_use: bool) -> None:
    if is_use:
        with suppress(OSError):  # opened for reading only
            os.utime(descriptor)


def _prepared(path: Path, prepare: Prepare) -> int | None:
    try:
        return _open_lease(path, prepare)
    except OSError as error:
        if error.errno not in DENIED:
            raise
    with suppress(OSError):
        return os.open(path, _FLAGS | os.O_RDONLY)
    return None


def _open_lease(path: Path, prepare: Prepare) -> int:
    """A descriptor of the file, which is made where it is missing."""
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            return os.open(path, _FLAGS | os.O_RDWR)
        # between two of these steps another process may remove the directory, or make the file
        with suppress(FileNotFoundError, FileExistsError):
            mode = prepare(path.parent)
            descriptor = os.open(path, _FLAGS | os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchmod(descriptor, mode)
            os.utime(descriptor, _NEVER)
            return descriptor
    raise TryAgain(f"{path} can be neither opened nor made")


def _try_flock(descriptor: int, kind: int) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the file has its name still; the directory may have gone before the lock."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False
