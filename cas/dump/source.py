"""The dump file itself, read at random without mapping it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cas.errors import NotADump


class FileSource:
    """An open dump file."""

    def __init__(self, fd: int) -> None:
        """Read from a descriptor that the caller closes."""
        self._fd = fd
        self.size = os.lseek(fd, 0, os.SEEK_END)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes there; fewer, or none, at the end and at offsets that no file has."""
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        return os.pread(self._fd, min(size, self.size - offset), offset)

    def data(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a range that hold data; holes of a sparse file are skipped."""
        end = min(end, self.size)
        while 0 <= start < end:
            try:
                begin = os.lseek(self._fd, start, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                return
            start = os.lseek(self._fd, begin, os.SEEK_HOLE)
            if begin < end:
                yield begin, min(start, end)

    def gap(self, _start: int, _end: int) -> None:
        """A hole of a file means zeros."""


class Bytes:
    """A dump, or its beginning, in memory."""

    def __init__(self, data: bytes) -> None:
        """Read from bytes."""
        self._data = data
        self.size = len(data)

    def read(self, offset: int, size: int) -> bytes:
        """See `FileSource.read`."""
        return self._data[offset : offset + size] if offset >= 0 and size > 0 else b""

    def data(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """See `FileSource.data`."""
        if start < min(end, self.size):
            yield start, min(end, self.size)

    def gap(self, _start: int, _end: int) -> None:
        """See `FileSource.gap`."""


@contextmanager
def opened_source(path: Path) -> Iterator[FileSource]:
    """The file, for the length of a ``with`` block.

    :raises NotADump: missing, a directory, not a regular file, or unreadable
    """
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise NotADump(f"{path} is a directory")
        if not stat.S_ISREG(kind) and not stat.S_ISBLK(kind):
            raise NotADump(f"{path} is not a regular file")
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield FileSource(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise NotADump(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise NotADump(f"{str(path)!r} is not a file name") from error
