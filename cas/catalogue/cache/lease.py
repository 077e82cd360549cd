"""Who is using an entry of the cache: nothing that somebody holds is ever removed.

A holder has a shared lock on the file ``in-use`` of the entry, whoever removes an entry an
exclusive one. The kernel lets go of a lock when its process dies, whatever it died of. On NFS
Linux makes byte-range locks of the whole file of them, so that they count for other machines too
(flock(2)); there a dead machine's locks last until the server's lease for it has run out. The
file's time of modification is the time of the last use.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cas.catalogue.cache import placing
from cas.catalogue.cache.entry import RECORDS, entry_of, key
from cas.errors import TryAgain
from cas.files.permission import DENIED
from cas.model.kernel import Kernel

IN_USE = "in-use"
_NEVER = (0, 0)
"""Times of a file that was made without a use."""
_PATIENCE_S = 60.0
"""For somebody who is removing the entry; it takes as long as a rename."""
_PAUSE_S = 0.01
_TRIES = 1000
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


@contextmanager
def held(cache: Path, kernel: Kernel) -> Iterator[None]:
    """Keep a kernel's entry of the cache from being removed, and note that it is used.

    Whoever may not write there at all goes on without.

    :raises TryAgain: the file system gives no lock
    """
    with _shared(cache / key(kernel), is_use=True):
        yield


@contextmanager
def on_file(cache: Path, path: Path) -> Iterator[None]:
    """Keep the entry that a file belongs to; nothing happens for a file from elsewhere."""
    entry = entry_of(cache, path)
    with placing.writing_to(cache, 0):
        is_there = entry is not None and entry.is_dir()
    if entry is None or not is_there:
        yield
        return
    with _shared(entry, is_use=True):
        yield


@contextmanager
def watched(entry: Path) -> Iterator[None]:
    """Keep an entry while it is only looked at."""
    with _shared(entry, is_use=False):
        yield


@contextmanager
def unused(entry: Path) -> Iterator[bool]:
    """Whether nobody holds the entry; if so, nobody can until the end of the context."""
    descriptor = _open_lease(entry / IN_USE)
    try:
        yield _try_flock(descriptor, fcntl.LOCK_EX) and _is_at(entry / IN_USE, descriptor)
    finally:
        os.close(descriptor)


def is_held(entry: Path) -> bool:
    """Whether somebody is using the entry at the moment."""
    try:
        descriptor = os.open(entry / IN_USE, _FLAGS | os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try_flock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def last_use(entry: Path) -> float:
    """When the entry was last used or added to, in seconds since 1970."""
    times = {}
    for name in (IN_USE, *RECORDS):
        with suppress(OSError):
            times[name] = (entry / name).lstat().st_mtime
    if not times.get(IN_USE):  # of before uses were noted the file system knows something too
        with suppress(OSError):
            times[IN_USE] = (entry / "vmlinux").lstat().st_atime
    return max([0.0, *times.values()])


@contextmanager
def _shared(entry: Path, *, is_use: bool) -> Iterator[None]:
    descriptor = _acquire_lease(entry)
    if descriptor is None:
        yield
        return
    try:
        _note_use(descriptor, is_use=is_use)
        yield
    finally:
        _note_use(descriptor, is_use=is_use)
        os.close(descriptor)


def _note_use(descriptor: int, *, is_use: bool) -> None:
    if is_use:
        with suppress(OSError):  # opened for reading only
            os.utime(descriptor)


def _acquire_lease(entry: Path) -> int | None:
    """A descriptor with a shared lock; ``None`` where nothing may be written."""
    path, deadline = entry / IN_USE, time.monotonic() + _PATIENCE_S
    with placing.writing_to(entry, 0):
        while time.monotonic() < deadline:
            descriptor = _prepared(path)
            if descriptor is None:
                return None
            if _try_flock(descriptor, fcntl.LOCK_SH) and _is_at(path, descriptor):
                return descriptor
            os.close(descriptor)
            time.sleep(_PAUSE_S)
    raise TryAgain(f"{entry} has been locked for {_PATIENCE_S:.0f} s by somebody who removes it")


def _prepared(path: Path) -> int | None:
    try:
        return _open_lease(path)
    except OSError as error:
        if error.errno not in DENIED:
            raise
    with suppress(OSError):
        return os.open(path, _FLAGS | os.O_RDONLY)
    return None


def _open_lease(path: Path) -> int:
    """A descriptor of the file, which is made where it is missing."""
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            return os.open(path, _FLAGS | os.O_RDWR)
        # between two of these steps another process may remove the entry, or make the file
        with suppress(FileNotFoundError, FileExistsError):
            placing.make_shared(path.parent)
            descriptor = os.open(path, _FLAGS | os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchmod(descriptor, placing.mode(path.parent, 0o600))
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
    """Whether the file has its name still; the entry may have been removed before the lock."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False
