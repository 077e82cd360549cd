"""New files of our own naming, written in the background with holes where there are only zeros."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from cas.errors import CasError, DiskFull
from cas.files.whole import FULL, no_room
from cas.streams.budget import Account
from cas.streams.flow import BLOCK_BYTES
from cas.units import human_size

HOLE_BYTES = 64 << 10
"""Zeros of this size, at a multiple of it, become a hole."""
ROOM_EVERY_BYTES = 16 << 20
"""How much is written between two looks at the free space."""
QUEUED_BLOCKS = 16
_ZEROS = bytes(BLOCK_BYTES)
_HOLE = bytes(HOLE_BYTES)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def writing(target: Path, need: str, what: str) -> Iterator[None]:
    """Write a file whole or not at all: a failure removes it and says what was missing.

    :param need: how much room it takes, for the message
    :raises DiskFull: the disk or the quota is full
    :raises CasError: the system refused to write for another reason
    """
    try:
        yield
    except OSError as error:
        target.unlink(missing_ok=True)
        if error.errno not in FULL:
            raise CasError(f"cannot write {target}: {error.strerror}") from error
        raise no_room(target.parent, need, what, error) from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def create(path: Path) -> int:
    """A descriptor of a new file that only we may read; an older one of the name is gone.

    :raises OSError: it cannot be made
    """
    path.unlink(missing_ok=True)
    return os.open(path, _NEW, 0o600)


class Sink:
    """A new file that takes blocks; a context manager that ends when all of them are written.

    A thread of its own looks for zeros and writes, while the next block is being unpacked.
    """

    def __init__(self, path: Path, account: Account, what: str) -> None:
        """Create the file.

        :param what: it is for, for messages
        """
        self.path = path
        self.size_bytes = 0
        self.done_bytes = 0
        """How many of them are in the file."""
        self._account = account
        self._what = what
        self._written = 0
        self._failure: OSError | CasError | None = None
        self._require_room()
        self._blocks: queue.Queue[bytes | None] = queue.Queue(QUEUED_BLOCKS)
        with writing(path, "room for its name", what):
            self._descriptor = create(path)
        self._thread = threading.Thread(target=self._run, name="cas-writing")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._blocks.put(None)
        self._thread.join()
        if kind is not None or self._failure is not None:
            os.close(self._descriptor)
            self.path.unlink(missing_ok=True)
            if kind is None:
                self._raise()
            return
        with writing(self.path, human_size(self.size_bytes), self._what):
            try:
                os.ftruncate(self._descriptor, self.size_bytes)
            finally:
                os.close(self._descriptor)

    def put(self, block: bytes) -> None:
        """Take the next block.

        :raises DiskFull: an earlier block found no room
        """
        if self._failure is not None:
            self._raise()
        self.size_bytes += len(block)
        self._blocks.put(block)

    def _raise(self) -> None:
        assert self._failure is not None  # noqa: S101  only then we are called
        if isinstance(self._failure, CasError):
            raise self._failure
        with writing(self.path, f"more than {human_size(self._written)}", self._what):
            raise self._failure

    def _run(self) -> None:
        at = 0
        while (block := self._blocks.get()) is not None:
            if self._failure is None:
                try:
                    self._write(block, at)
                except (OSError, DiskFull) as error:
                    self._failure = error
            at += len(block)
            self.done_bytes = at

    def _write(self, block: bytes, at: int) -> None:
        if _ZEROS.startswith(block):
            return
        for start, end in _runs(block):
            _write_all(self._descriptor, block[start:end], at + start)
            before = self._written // ROOM_EVERY_BYTES
            self._written += end - start
            if self._written // ROOM_EVERY_BYTES > before:
                self._require_room()

    def _require_room(self) -> None:
        reserve = self._account.limits.reserve_bytes
        state = os.statvfs(self.path.parent)
        if state.f_bavail * state.f_frsize < reserve:
            written = f"{human_size(self._written)} so far and more, " if self._written else ""
            need = f"{written}{human_size(reserve)} that stay free"
            raise no_room(self.path.parent, need, self._what)


def _runs(block: bytes) -> Iterator[tuple[int, int]]:
    """The parts of a block that are not only zeros."""
    begun: int | None = None
    for start in range(0, len(block), HOLE_BYTES):
        is_zero = block.startswith(_HOLE, start)
        if is_zero and begun is not None:
            yield begun, start
            begun = None
        elif not is_zero and begun is None:
            begun = start
    if begun is not None:
        yield begun, len(block)


def _write_all(descriptor: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(descriptor, view, at)
        view, at = view[done:], at + done
