"""Room on the disk: asked for before writing, and said plainly when it runs out."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cas.errors import CasError, DiskFull
from cas.text import human_size

FULL = (errno.ENOSPC, errno.EDQUOT)


def require(directory: Path, need_bytes: int, what: str) -> None:
    """Refuse to begin what cannot end.

    :raises DiskFull: the file system has less room than needed
    """
    have = free_bytes(directory)
    if have < need_bytes:
        raise DiskFull(
            f"no room for {what} in {directory}: "
            f"needs {human_size(need_bytes)}, has {human_size(have)}"
        )


def free_bytes(directory: Path) -> int:
    """What an ordinary user can still write there."""
    state = os.statvfs(directory)
    return state.f_bavail * state.f_frsize


@contextmanager
def writing(target: Path, need_bytes: int | None, what: str) -> Iterator[None]:
    """Write a file whole or not at all: a failure removes it and says what was missing.

    :raises DiskFull: the disk or the quota is full
    :raises CasError: the system refused to write for another reason
    """
    try:
        yield
    except OSError as error:
        written = target.stat().st_size if target.exists() else 0
        target.unlink(missing_ok=True)
        if error.errno is None:  # gzip and bz2 report damaged input so
            raise
        if error.errno not in FULL:
            raise CasError(f"cannot write {target}: {error.strerror}") from error
        need = human_size(need_bytes) if need_bytes else f"more than {human_size(written)}"
        have = human_size(free_bytes(target.parent))
        raise DiskFull(
            f"no room for {what} in {target.parent}: needs {need}, has {have}"
        ) from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise
