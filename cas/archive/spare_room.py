"""Room on the archive's disk that only those have who free it.

To note that a file is purged, or in a store, takes some blocks; on a disk without any nothing could
be freed. So the archive has a file of some blocks that a purge and a move give up first, and that
is made again at their end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SPARE = "spare-room"
"""In the archive: a file of no content."""
SPARE_BYTES = 256 << 10
"""For records of a crash and of its jobs, notes, and pages of the database; what is freed by the
first crash does for all others."""
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def keep_spare_room(archive: Path) -> None:
    """Have the file there, with blocks of its own, if there is room for it.

    :param archive: its directory
    """
    path = archive / SPARE
    try:
        if path.lstat().st_size == SPARE_BYTES:
            return
    except FileNotFoundError:
        pass
    except OSError:
        return
    with suppress(OSError):  # without room, or nothing may be written: the next one tries again
        descriptor = os.open(path, _FLAGS, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SPARE_BYTES)  # sets the size once it has all blocks
        except OSError:
            path.unlink()
        finally:
            os.close(descriptor)


@contextmanager
def using_spare_room(archive: Path) -> Iterator[None]:
    """Give the file up until the end of the context, in which something is freed.

    :param archive: its directory
    """
    with suppress(OSError):
        (archive / SPARE).unlink()
    try:
        yield
    finally:
        keep_spare_room(archive)
