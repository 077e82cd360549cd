"""A plain dump's copy: shared blocks where the file system can, holes kept everywhere."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cas.errors import UnpackError
from cas.files.whole import PART, require_room, sync
from cas.intake.space import Sink, create_private, writing_file
from cas.settings.rules import IntakeLimits
from cas.streams.budget import Account
from cas.units import human_size

FICLONE = 0x40049409  # include/uapi/linux/fs.h: share the blocks of another file
CHUNK_BYTES = 64 << 20
_ELSEWHERE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""What copy_file_range(2) says when the two files lie on file systems that do not work together."""


def copy(upload: Path, target: Path, account: Account, *, takes: bool = False) -> None:
    """Copy a file into a new one; one of the job's own, fetched or taken over, gets a second name.

    :param takes: so does any other, where the file system lets it have one
    :raises DiskFull: there is no room beside the reserve
    :raises UnpackError: the file changed meanwhile
    """
    if account.directory in upload.parents and not upload.is_symlink():
        with writing_file(target, "room for its name", upload.name):
            target.hardlink_to(upload)
        return
    if takes:
        with suppress(OSError):  # who then finds no second name of it says so
            target.unlink(missing_ok=True)
            os.link(upload, target, follow_symlinks=False)
            return
    with upload.open("rb") as source:
        _copy_descriptor(source.fileno(), target, f"a copy of {upload.name}", account)


def take_over(upload: int, target: Path, limits: IntakeLimits) -> None:
    """Copy a file that is open, and that nobody else could open, into one of ours.

    :param target: has this name once it is whole
    :raises DiskFull: there is no room beside the reserve
    :raises UnpackError: the file changed meanwhile
    """
    part = target.with_name(PART)
    account, what = Account(limits, target.parent), f"a copy of {target.name}"
    if stat.S_ISREG(os.fstat(upload).st_mode):
        _copy_descriptor(upload, part, what, account)
    else:  # a pipe
        with Sink(part, account, what) as sink, open(upload, "rb", closefd=False) as stream:
            while block := stream.read(CHUNK_BYTES):
                account.check()
                sink.put(block)
    sync(part)
    part.rename(target)


def _copy_descriptor(source: int, target: Path, what: str, account: Account) -> None:
    state = os.fstat(source)
    need = state.st_blocks * 512
    with writing_file(target, human_size(need), what):
        descriptor = create_private(target)
        try:
            with suppress(OSError):  # another file system, or one that cannot share blocks
                fcntl.ioctl(descriptor, FICLONE, source)
                return
            require_room(target.parent, need, what, account.limits.reserve_bytes)
            for start, end in _data_ranges(source, state.st_size):
                _copy_range(source, descriptor, (start, end), account)
            os.ftruncate(descriptor, state.st_size)
        finally:
            os.close(descriptor)


def _data_ranges(descriptor: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """The parts of a sparse file that hold data, as (start, end)."""
    end = 0
    while end < size_bytes:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # only a hole is left
                raise
            return
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size_bytes)
        yield start, end


def _copy_range(source: int, copy: int, place: tuple[int, int], account: Account) -> None:
    start, end = place
    while start < end:
        account.check()
        length = min(end - start, CHUNK_BYTES)
        try:
            done = os.copy_file_range(source, copy, length, start, start)
        except OSError as error:
            if error.errno not in _ELSEWHERE:
                raise
            os.lseek(copy, start, os.SEEK_SET)
            done = os.sendfile(copy, source, start, length)
        if done == 0:
            raise UnpackError("the dump became shorter while it was copied")
        start += done
        account.read_bytes += done
