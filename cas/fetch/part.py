"""The file that a download grows in: hidden until it is whole, and gone on with after a break.

``.NAME.part`` holds the bytes. ``.NAME.part.json`` says what they are the beginning of: the
fingerprint of the URL, the server's version of the file, and how much of it was forced to the disk.
After a restart of the machine only that much is believed.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Self

from cas.errors import FetchError, LimitExceeded
from cas.fetch.source import Had, Source, Version
from cas.fetch.url import Url
from cas.files.whole import PART, cannot_write, require_room, sync_directory, write_whole
from cas.settings.rules import IntakeLimits
from cas.units import human_size

SYNC_BYTES = 64 << 20
ROOM_BYTES = 8 << 20
"""So much is written between two looks at the free space."""
NOTE_BYTES = 4 << 10
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Part:
    """A growing file; a context manager that closes it."""

    def __init__(self, directory: Path, url: Url, limits: IntakeLimits) -> None:
        """Name the files; nothing is touched yet."""
        self.whole = directory / url.name
        self._path = directory / f".{url.name}{PART}"
        self._note = directory / f".{url.name}{PART}.json"
        self._url = url
        self._limits = limits
        self._version = Version()
        self._size = 0
        self._synced = 0
        self._room_checked = 0

    def __enter__(self) -> Self:
        """Open what an earlier run left, or an empty file.

        :raises CasError: the directory cannot be written
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise cannot_write(self._path, error, 0) from error
        kept = 0
        # a note that is cut or not ours: the download begins anew
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            handle = os.open(self._note, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                note = json.loads(file.read(NOTE_BYTES))
            version = Version(**note["version"])
            if note["url"] == self._url.fingerprint and version.continues(version):
                size, synced = os.fstat(self._file).st_size, note["synced_bytes"]
                if isinstance(synced, int) and size <= (version.size_bytes or size):
                    is_of_this_boot = note["boot"] and note["boot"] == _boot_id()
                    kept = size if is_of_this_boot else min(size, max(synced, 0))
                self._version = version
        self._truncate(kept)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    @property
    def had(self) -> Had:
        """What is there."""
        return Had(self._size, self._version)

    @property
    def is_resumable(self) -> bool:
        """Whether another run could go on with it."""
        return self._version.validator is not None and self._size > 0

    def go_on_with(self, source: Source) -> None:
        """Go on at the place where the source begins.

        :raises LimitExceeded: the file is larger than the configuration allows
        :raises DiskFull: it does not fit
        """
        self._require_allowed(source.version.size_bytes or 0)
        if source.offset != self._size:
            self.begin_anew()
        self._version = source.version
        self._require_room((source.version.size_bytes or 0) - self._size)
        self._write_note()

    def add(self, data: bytes) -> None:
        """Add bytes.

        :raises FetchError: the server sends more than it declared
        :raises LimitExceeded: there is no declared size, and too much has come
        :raises DiskFull: the disk, or what of it may be used, is full
        """
        size = self._size + len(data)
        if self._version.size_bytes is not None and size > self._version.size_bytes:
            declared = human_size(self._version.size_bytes)
            raise FetchError(f"{self._url}: the server declared {declared} and sends more")
        self._require_allowed(size)
        if size - self._room_checked >= ROOM_BYTES:
            self._require_room(ROOM_BYTES)
            self._room_checked = size
        left = memoryview(data)
        try:
            while left:
                written = os.pwrite(self._file, left, self._size)
                self._size += written
                left = left[written:]
        except OSError as error:
            raise cannot_write(self._path, error, len(data)) from error
        if self._size - self._synced >= SYNC_BYTES:
            self._write_note()

    def begin_anew(self) -> None:
        """Begin anew with an empty file."""
        self._truncate(0)
        self._version = Version()

    def publish(self) -> Path:
        """Give the whole file its name, so that a power cut leaves it or the part.

        :raises DiskFull: the last bytes found no room
        """
        try:
            os.fsync(self._file)
            self._path.rename(self.whole)
            sync_directory(self.whole.parent)
        except OSError as error:
            raise cannot_write(self._path, error, self._size) from error
        self.clear_note()
        return self.whole

    def clear_note(self) -> None:
        """Remove what only a part needs."""
        self._note.unlink(missing_ok=True)

    def remove(self) -> None:
        """Leave nothing behind."""
        self._path.unlink(missing_ok=True)
        self.clear_note()

    def reading_descriptor(self) -> int:
        """A descriptor of the bytes, at their beginning; the caller closes it."""
        handle = os.dup(self._file)
        os.lseek(handle, 0, os.SEEK_SET)
        return handle

    def _truncate(self, size: int) -> None:
        try:
            os.ftruncate(self._file, size)
        except OSError as error:
            raise cannot_write(self._path, error, 0) from error
        self._size = self._synced = self._room_checked = size

    def _write_note(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            raise cannot_write(self._path, error, self._size) from error
        self._synced = self._size
        note = {
            "url": self._url.fingerprint,
            "version": asdict(self._version),
            "synced_bytes": self._synced,
            "boot": _boot_id(),
        }
        write_whole(self._note, json.dumps(note).encode())

    def _require_allowed(self, size: int) -> None:
        allowed = self._limits.unpack_bytes
        if size > allowed:
            raise LimitExceeded(
                f"{self._url} is larger than {human_size(allowed)}, the limit of an upload",
                limit="unpackLimit",
            )

    def _require_room(self, need_bytes: int) -> None:
        reserve = self._limits.reserve_bytes
        require_room(self.whole.parent, need_bytes, self.whole.name, reserve)


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
