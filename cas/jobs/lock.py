"""One run at a time works in a job's directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cas.errors import JobBusy
from cas.files.whole import opener_below, writing_below

LOCK = ".lock"


def worked_on(directories: Iterable[Path]) -> set[Path]:
    """The directories in which a run of this machine is working; nobody is disturbed.

    Source: proc_locks(5): the sixth word is device and inode of the locked file.
    """
    inodes = dict[str, Path]()
    for directory in directories:
        with contextlib.suppress(OSError):
            inodes[str((directory / LOCK).stat().st_ino)] = directory
    found = set[Path]()
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if "FLOCK" in words and "->" not in words:
                inode = words[5].rpartition(":")[2] if len(words) > 5 else ""
                found |= {inodes[inode]} if inode in inodes else set()
    return found


@contextlib.contextmanager
def lock_job(directory: Path) -> Iterator[None]:
    """Keep other runs away from a job; the kernel releases it if we die.

    :raises JobBusy: another run has it
    :raises TryAgain: the directory cannot be written
    """
    with writing_below(directory):
        descriptor = opener_below(directory)(LOCK, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JobBusy(f"another run of cas is working in {directory}") from error
        yield
    finally:
        os.close(descriptor)
