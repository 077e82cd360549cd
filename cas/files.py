"""Files of the job directory that are whole or not there."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from cas.errors import CasError, DiskFull, JobFailed


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file so that a crash at any time leaves the old or the new one.

    :raises DiskFull: there is no room; the old file stays
    :raises JobFailed: the directory cannot be written
    """
    part = path.with_name(f".{path.name}.part")
    try:
        _write(part, content)
        part.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise cannot_write(path, error, len(content)) from error


def sync_directory(directory: Path) -> None:
    """Make renames and removals in a directory last."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cannot_write(path: Path, error: OSError, need_bytes: int) -> CasError:
    """The error to raise for a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        have = shutil.disk_usage(path.parent).free
        return DiskFull(f"no room for {path}: needs {need_bytes} bytes, {have} are free")
    return JobFailed(f"cannot write {path}: {error.strerror}")


def _write(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
