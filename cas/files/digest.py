"""Digests of files: a large sparse dump's in seconds, any other's as ``sha256sum`` prints it."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from cas.errors import CasError, DumpChanged
from cas.frozen import dataclass

BLOCK_BYTES = 4 << 20
PLAIN = "sha256:"
BLOCKS = "sha256-4MiB:"
LARGE_BYTES = 64 << 20
"""From here on a file is digested in blocks, whatever it is."""
_BATCH = 32
_THREADS = 2
_NICE = 19
"""The digest gives way to the debuggers."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """By what a file is known again."""

    size_bytes: int
    digest: str
    """The method, ``sha256:`` or ``sha256-4MiB:``, and hex digits."""

    @classmethod
    def of(cls, path: Path) -> Self:
        """The fingerprint of a file."""
        size = path.stat().st_size
        digest = dump_digest(path) if size >= LARGE_BYTES else file_digest(path)
        return cls(size, digest)

    def fits(self, path: Path) -> bool:
        """Whether a file still has this content.

        :raises OSError: it cannot be read
        """
        return path.stat().st_size == self.size_bytes and self == self.like(path)

    def like(self, path: Path, is_cancelled: Callable[[], bool] = lambda: False) -> Fingerprint:
        """The fingerprint of a file, made by the method of this one.

        :raises OSError: the file cannot be read
        """
        size = path.stat().st_size
        if self.digest.startswith(BLOCKS):
            return Fingerprint(size, dump_digest(path, is_cancelled))
        return Fingerprint(size, file_digest(path))

    def __str__(self) -> str:
        return f"{self.size_bytes:,} bytes, {self.digest}"


def file_digest(path: Path) -> str:
    """SHA-256 of the content."""
    with path.open("rb") as file:
        return PLAIN + hashlib.file_digest(file, "sha256").hexdigest()


def dump_digest(path: Path, is_cancelled: Callable[[], bool] = lambda: False) -> str:
    """SHA-256 of the size in decimal, a newline, and the SHA-256 of every block of 4 MiB.

    Holes are not read, blocks of zeros are compared instead of digested, and the rest is done by
    two threads: `hashlib` lets other threads run.

    :raises OSError: the file cannot be read
    :raises CancelledError: `is_cancelled` said so
    """

    def give_way() -> None:
        # on Linux every thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)

    with (
        path.open("rb", buffering=0) as file,
        ThreadPoolExecutor(_THREADS, "digest", initializer=give_way) as pool,
    ):
        size = os.fstat(file.fileno()).st_size
        whole = hashlib.sha256(b"%d\n" % size)
        one = functools.partial(_block_digest, file.fileno(), size)
        for start in range(0, size, _BATCH * BLOCK_BYTES):
            if is_cancelled():
                raise CancelledError
            offsets = range(start, min(size, start + _BATCH * BLOCK_BYTES), BLOCK_BYTES)
            for digest in pool.map(one, offsets):
                whole.update(digest)
    return BLOCKS + whole.hexdigest()


class StreamedDigest:
    """The digest of bytes that come one after the other, by the method of another one."""

    def __init__(self, like: Fingerprint) -> None:
        """Nothing has come yet.

        :param like: what is expected; only its size and its method count
        """
        self._is_in_blocks = like.digest.startswith(BLOCKS)
        start = b"%d\n" % like.size_bytes if self._is_in_blocks else b""
        self._whole, self._block = hashlib.sha256(start), hashlib.sha256()
        self._left_bytes = BLOCK_BYTES
        self.size_bytes = 0
        """That have come."""

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self.size_bytes += len(data)
        if not self._is_in_blocks:
            self._whole.update(data)
            return
        left = memoryview(data)
        while left:
            piece, left = left[: self._left_bytes], left[self._left_bytes :]
            self._block.update(piece)
            self._left_bytes -= len(piece)
            if not self._left_bytes:
                self._end_block()

    @property
    def found(self) -> Fingerprint:
        """Of all that has come; nothing may come after that."""
        if self._is_in_blocks and self._left_bytes < BLOCK_BYTES:
            self._end_block()
        method = BLOCKS if self._is_in_blocks else PLAIN
        return Fingerprint(self.size_bytes, method + self._whole.hexdigest())

    def _end_block(self) -> None:
        self._whole.update(self._block.digest())
        self._block, self._left_bytes = hashlib.sha256(), BLOCK_BYTES


_Found = tuple[Path, tuple[int, ...], Fingerprint]
"""A file, how it looked before it was read, and its fingerprint."""


class DumpDigest:
    """The digest of a dump, found by threads of low priority while others work on it."""

    def __init__(self, settled: Callable[[], Path], recorded: Fingerprint | None = None) -> None:
        """Begin.

        :param settled: gives the dump's file, once nobody writes to it any more
        :param recorded: of a dump that was kept before
        """
        self._stop = threading.Event()
        self._recorded = recorded
        self._pool = ThreadPoolExecutor(1, "digest")
        self._found: Future[_Found] = self._pool.submit(self._digest_settled, settled)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, CasError):  # an interruption
            self._stop.set()
        self._pool.shutdown()

    def result(self) -> Fingerprint:
        """The dump's fingerprint; waits for it.

        :raises DumpChanged: it is not what was recorded, or was changed since this was begun
        """
        path, looks, found = self._found.result()
        _compare(path, found, self._recorded)
        with _gone_told(path):
            if _looks(path) != looks:
                _compare(path, found.like(path), found)
        return found

    @property
    def found(self) -> Fingerprint | None:
        """The dump's fingerprint as far as it is known now; `result` says whether it holds."""
        if self._recorded is not None:
            return self._recorded
        if not self._found.done() or self._found.cancelled() or self._found.exception():
            return None
        return self._found.result()[2]

    def _digest_settled(self, settled: Callable[[], Path]) -> _Found:
        path = settled()
        with _gone_told(path):
            looks = _looks(path)
            recorded = self._recorded or Fingerprint(0, BLOCKS)
            return path, looks, recorded.like(path, self._stop.is_set)


def require_same(path: Path, recorded: Fingerprint) -> None:
    """Make sure that a file has the content that was recorded.

    :raises DumpChanged: it has not
    :raises OSError: it cannot be read
    """
    with _gone_told(path):
        size = path.stat().st_size
        if size != recorded.size_bytes:
            raise _changed(path, f"{size:,} bytes", recorded)
        _compare(path, recorded.like(path), recorded)


def _compare(path: Path, found: Fingerprint, recorded: Fingerprint | None) -> None:
    if recorded is not None and found != recorded:
        raise _changed(path, str(found), recorded)


def _changed(path: Path, found: str, recorded: Fingerprint) -> DumpChanged:
    return DumpChanged(
        f"{path} has another content than was received: {found} now, {recorded} then"
    )


@contextmanager
def _gone_told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DumpChanged(f"{path} is gone, which was received and kept") from error


def _looks(path: Path) -> tuple[int, ...]:
    """What cannot stay the same when a file is written to, or replaced."""
    state = path.stat()
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _block_digest(descriptor: int, size: int, offset: int) -> bytes:
    length = min(BLOCK_BYTES, size - offset)
    try:
        is_hole = os.lseek(descriptor, offset, os.SEEK_DATA) >= offset + length
    except OSError as error:
        if error.errno != errno.ENXIO:  # there is no data behind this offset
            raise
        is_hole = True
    if is_hole:
        return _digest_of_zeros(length)
    block = os.pread(descriptor, length, offset)
    if block == _zeros(length):
        return _digest_of_zeros(length)
    return hashlib.sha256(block).digest()


@functools.lru_cache(2)
def _zeros(length: int) -> bytes:
    return bytes(length)


@functools.lru_cache(2)
def _digest_of_zeros(length: int) -> bytes:
    return hashlib.sha256(_zeros(length)).digest()
