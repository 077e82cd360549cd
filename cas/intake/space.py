"""New files of our own naming, in the room that the configuration leaves them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Self

from cas.errors import CasError
from cas.files.sparse import SparseWriter
from cas.files.whole import FULL, no_room
from cas.streams.budget import Account
from cas.units import human_size

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def writing_file(target: Path, need: str, what: str) -> Iterator[None]:
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


def create_private(path: Path) -> int:
    """A descriptor of a new file that only we may read; an older one of the name is gone.

    :raises OSError: it cannot be made
    """
    path.unlink(missing_ok=True)
    return os.open(path, _NEW, 0o600)


class Sink:
    """A new file that takes blocks; a context manager that ends when all of them are written."""

    def __init__(self, path: Path, account: Account, what: str) -> None:
        """Create the file.

        :param what: it is for, for messages
        """
        self.path = path
        self._account = account
        self._what = what
        self._require_reserve(0)
        with writing_file(path, "room for its name", what):
            self._descriptor = create_private(path)

    def __enter__(self) -> Self:
        self._writer = SparseWriter(
            self._descriptor,
            every=lambda _begin, _end: self._require_reserve(self._writer.written_bytes),
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._writing():
                if kind is None:
                    self._writer.finish()
                else:
                    self._writer.stop()
        finally:
            os.close(self._descriptor)
            if kind is not None:
                self.path.unlink(missing_ok=True)

    @property
    def size_bytes(self) -> int:
        """Bytes that were put."""
        return self._writer.size_bytes

    @property
    def done_bytes(self) -> int:
        """How many of them are in the file."""
        return self._writer.done_bytes

    def put(self, block: bytes) -> None:
        """Take the next block.

        :raises DiskFull: an earlier block found no room
        """
        with self._writing():
            self._writer.put(block)

    def _writing(self) -> AbstractContextManager[None]:
        need = f"more than {human_size(self._writer.written_bytes)}"
        return writing_file(self.path, need, self._what)

    def _require_reserve(self, written_bytes: int) -> None:
        reserve = self._account.limits.reserve_bytes
        state = os.statvfs(self.path.parent)
        if state.f_bavail * state.f_frsize < reserve:
            written = f"{human_size(written_bytes)} so far and more, " if written_bytes else ""
            need = f"{written}{human_size(reserve)} that stay free"
            raise no_room(self.path.parent, need, self._what)
