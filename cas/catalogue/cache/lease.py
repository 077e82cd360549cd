"""Who is using an entry of the cache: nothing that somebody holds is ever removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cas.catalogue.cache import placing
from cas.catalogue.cache.entry import RECORDS, entry_of, key
from cas.files import lease
from cas.files.lease import IN_USE
from cas.model.kernel import Kernel


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
    with lease.unused(entry, _prepare) as is_unused:
        yield is_unused


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
    with placing.writing_to(entry, 0):
        descriptor = lease.take_lease(entry, _prepare)
    with lease.keeping_lease(descriptor, is_use=is_use):
        yield


def _prepare(entry: Path) -> int:
    placing.make_shared(entry)
    return placing.mode(entry, 0o600)
