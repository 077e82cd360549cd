"""A file of ours that a host needs: what it is called there, and how much room it takes."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
from pathlib import Path
from typing import Self

from cas.frozen import dataclass
from cas.text import short_line

READ_BYTES = 4 << 20
SHA256 = re.compile("(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class FileToCopy:
    """A file of ours that a host needs."""

    path: Path
    digest: str
    """SHA-256 of the content, in hex: its name there."""
    size_bytes: int

    @classmethod
    def of(cls, path: Path, digest: str | None) -> Self:
        """A file as it is now.

        :param digest: where it is known; anything but a SHA-256 of the content is not used
        :raises OSError: it cannot be read
        """
        known = SHA256.fullmatch(digest or "")
        state = path.stat()
        mark = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        return cls(path, known[1] if known else _sha256_of_state(path, mark), state.st_size)

    @property
    def name(self) -> str:
        """What a sentence calls it."""
        return short_line(self.path.name, 100)

    def data_bytes(self, offset: int) -> int:
        """How much of it, from an offset on, is no hole.

        :raises OSError: it cannot be read
        """
        found = 0
        with self.path.open("rb", buffering=0) as file:
            while offset < self.size_bytes:
                try:
                    offset = os.lseek(file.fileno(), offset, os.SEEK_DATA)
                except OSError as error:
                    if error.errno != errno.ENXIO:  # nothing but a hole follows
                        raise
                    break
                end = os.lseek(file.fileno(), offset, os.SEEK_HOLE)
                found, offset = found + end - offset, end
        return found


@functools.lru_cache(64)
def _sha256_of_state(path: Path, _mark: tuple[int, ...]) -> str:
    """Once for each state of a file: a job goes from host to host with it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
