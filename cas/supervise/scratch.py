"""Directories for the length of a run, which do not outlive one that was killed.

Whoever uses such a directory holds a lock on it, which the kernel releases in any case. The next
run removes those of the same user that nobody holds, and nothing else: not what a symbolic link
leads to, nor what has another name, owner or mode than we give.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "cas-room-"
YOUNG_S = 60.0
"""Since it was made: another run may not have its lock yet."""
_NAME = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}", re.ASCII)


@contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """An empty directory that only we may use, under its real name.

    :param parent: where, if that can be written to; ``None``: in TMPDIR
    """
    if parent is None or not os.access(parent, os.W_OK | os.X_OK):
        parent = Path(tempfile.gettempdir())
    remove_left(parent, _NAME)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent) as name, locked_room(Path(name)):
        yield Path(os.path.realpath(name))


@contextmanager
def locked_room(directory: Path) -> Iterator[None]:
    """Have a directory of ours for the length of a run: nobody removes it as a killed one's."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks: then nobody sweeps there either
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def remove_left(parent: Path, names: re.Pattern[str]) -> None:
    """Remove directories of these names that killed runs have left; what cannot be removed stays.

    :param names: whole names of those that such runs make, for their user alone
    """
    with suppress(OSError):
        for left in filter(names.fullmatch, os.listdir(parent)):  # noqa: PTH208  names only
            with suppress(OSError):
                _remove_if_left(parent / left)


def _remove_if_left(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        state = os.fstat(descriptor)
        is_ours = state.st_uid == os.geteuid() and stat.S_IMODE(state.st_mode) == 0o700
        if not is_ours or abs(time.time() - state.st_mtime) < YOUNG_S:
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)
