"""Whether something is mounted in a directory: then nothing of it is removed."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path


def require_one_file_system(directory: Path) -> None:
    """Make sure that nothing is mounted in a directory.

    :raises OSError: something is
    """
    place = directory.resolve()
    if any(place == mount or place in mount.parents for mount in _mount_points()):
        raise OSError(errno.EXDEV, "something is mounted in it", str(directory))
    device = directory.lstat().st_dev
    for parent, names, _ in os.walk(directory):
        for name in names:
            path = Path(parent, name)
            if path.lstat().st_dev != device:
                raise OSError(errno.EXDEV, "another file system is mounted in it", str(path))


def _mount_points() -> Iterator[Path]:
    """Where something is mounted; a part of the same file system is only known by this.

    /proc/self/mountinfo: proc_pid_mountinfo(5), white space and backslashes in octal.
    """
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        name = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), line.split()[4])
        yield Path(os.fsdecode(name))
