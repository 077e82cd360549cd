"""Files that appear whole or not at all: written beside their place, checked, then renamed.

Writing and hashing happen in a thread, so that the decompressor never waits for the disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cas.errors import ConfigError, TryAgain
from cas.files.permission import DENIED, not_permitted
from cas.files.sparse import SparseWriter
from cas.files.whole import FULL, no_room, require_room, sync_directory
from cas.frozen import dataclass
from cas.streams.flow import Piece
from cas.units import human_size

TEMPORARY = ".partial-"
"""How the names of unfinished files begin."""
OURS = "sha256"
"""The digest that is noted of every file, by hashlib's name."""
_OF_GROUP = stat.S_ISGID | stat.S_IWGRP
_SHARED_DIRECTORY = 0o2770
_IN_THE_WAY = {errno.ENOTDIR, errno.EEXIST}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file shall be, and what it must be to get there."""

    path: Path
    size_bytes: int
    verify: Callable[[Path], None] = lambda _: None
    """Called with the finished temporary file; raises what keeps it from being published."""
    digest: tuple[str, str] | None = None
    """hashlib's name of an algorithm, and the hex digest that the content must have."""


Put = Callable[[Place, Iterable[Piece]], object]
"""`place`, or something that notes beside what it placed."""


class WrongDigest(ValueError):
    """The content is not what the package's header promised."""


def place(target: Place, content: Iterable[Piece]) -> str:
    """Write the content to a temporary file, verify it and give it its name.

    :return: SHA-256 of the content, in hex
    :raises DiskFull: there is no room; nothing is left behind
    :raises WrongDigest: the content differs from what was promised
    :raises ConfigError: the directory may not be written
    """
    with writing_to(target.path.parent, target.size_bytes):
        require_room(target.path.parent, target.size_bytes, target.path.name)
        fd, name = tempfile.mkstemp(dir=target.path.parent, prefix=TEMPORARY)
        temporary = Path(name)
        try:
            try:
                sha256 = _write_temporary(fd, content, target)
            finally:
                os.close(fd)
            target.verify(temporary)
            temporary.replace(target.path)
            sync_directory(target.path.parent)
            return sha256
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()


def make_directory(path: Path) -> None:
    """Create the directory and its parents.

    :raises ConfigError: that is not allowed there
    """
    with writing_to(path, 0):
        make_shared(path)


def make_shared(path: Path) -> None:
    """The same, with the system's own errors."""
    try:
        path.mkdir()
    except FileNotFoundError:
        make_shared(path.parent)
        make_shared(path)
    except OSError:
        if not path.is_dir():
            raise
    else:
        if is_for_group(path.parent):
            path.chmod(_SHARED_DIRECTORY)


def is_for_group(directory: Path) -> bool:
    """Whether what is made in a directory is for all of its group: its setgid bit says so, where
    the group may write there."""
    try:
        return directory.stat().st_mode & _OF_GROUP == _OF_GROUP
    except OSError:
        return False


def mode(directory: Path, alone: int) -> int:
    """The mode of a file that is made in a directory.

    :param alone: where it is for its owner alone
    """
    return alone | alone >> 3 & 0o070 if is_for_group(directory) else alone


@contextmanager
def writing_to(directory: Path, size_bytes: int) -> Iterator[None]:
    """Translate what the system says while writing below a directory of the cache."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            need = human_size(size_bytes)
            raise no_room(directory, need, "an extracted file", error) from error
        if error.errno in DENIED:
            named = error.filename if isinstance(error.filename, str) else ""
            raise not_permitted(directory / named, error) from error
        if error.errno in _IN_THE_WAY:
            raise ConfigError(f"debugs: {directory} cannot be written: {error.strerror}") from error
        raise TryAgain(f"{directory} cannot be written: {error.strerror}") from error


def _write_temporary(fd: int, content: Iterable[Piece], target: Place) -> str:
    algorithm, promised = target.digest or (OURS, None)
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in sorted({OURS, algorithm})}

    def update(piece: Piece) -> None:
        for digest in digests.values():
            digest.update(piece)

    def begin_writeback(begin: int, end: int) -> None:
        # On Linux this starts writing dirty pages out, and drops only those that are clean: the
        # fsync at the end finds little left to do, and the file stays in memory for its readers.
        os.posix_fadvise(fd, begin, end - begin, os.POSIX_FADV_DONTNEED)

    writer = SparseWriter(fd, each=update, every=begin_writeback)
    try:
        for piece in content:
            writer.put(piece)
    except BaseException:
        writer.stop()
        raise
    writer.finish()
    found = digests[algorithm].hexdigest()
    if promised is not None and found != promised.lower():
        raise WrongDigest(f"{algorithm} {found}, {promised} promised")
    os.fchmod(fd, mode(target.path.parent, 0o400))
    os.fsync(fd)
    return digests[OURS].hexdigest()
