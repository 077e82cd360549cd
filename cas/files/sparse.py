"""Files written in the background, with holes where there are only zeros."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator

from cas.errors import CasError

HOLE_BYTES = 64 << 10
"""Zeros of this size, counted from a piece's beginning, become a hole."""
EVERY_BYTES = 16 << 20
"""How much is written between two looks at the disk."""
QUEUED_PIECES = 16
_HOLE = bytes(HOLE_BYTES)
_ZEROS = bytes(256 << 10)

Piece = bytes | memoryview


class SparseWriter:
    """A thread that writes pieces one after the other, while the next of them are made."""

    def __init__(
        self,
        descriptor: int,
        *,
        each: Callable[[Piece], object] = lambda _: None,
        every: Callable[[int, int], object] = lambda _begin, _end: None,
    ) -> None:
        """Begin at the file's beginning.

        :param each: called in the thread with each piece, before it is written
        :param every: called in the thread with the offsets between which the last 16 MiB or more
            were written; what it raises ends the writing
        """
        self.size_bytes = 0
        """Bytes that were put."""
        self.done_bytes = 0
        """How many of them are in the file."""
        self.written_bytes = 0
        """The same without the holes."""
        self.failure: OSError | MemoryError | CasError | None = None
        """What ended the writing."""
        self._descriptor = descriptor
        self._each = each
        self._every = every
        self._told = 0  # up to here of the file
        self._pieces: queue.Queue[Piece | None] = queue.Queue(QUEUED_PIECES)
        # a file system that hangs does not keep the process alive
        self._thread = threading.Thread(target=self._write_pieces, name="cas-writing", daemon=True)
        self._thread.start()

    def put(self, piece: Piece) -> None:
        """Have a piece written; waits while several are on their way.

        :raises OSError: an earlier one could not be
        """
        if self.failure is not None:
            raise self.failure
        self.size_bytes += len(piece)
        self._pieces.put(piece)

    def finish(self) -> None:
        """Wait for the last piece, and give the file its size.

        :raises OSError: not all could be written
        """
        self.stop()
        if self.failure is not None:
            raise self.failure
        os.ftruncate(self._descriptor, self.size_bytes)

    def stop(self) -> None:
        """Wait for the last piece, whatever became of it; may be called again."""
        self._pieces.put(None)
        self._thread.join()

    def _write_pieces(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if self.failure is not None:
                continue
            try:
                self._each(piece)
                self._write_piece(memoryview(piece))
            except (OSError, MemoryError, CasError) as error:
                self.failure = error

    def _write_piece(self, piece: memoryview) -> None:
        at = self.done_bytes
        if not _ZEROS.startswith(piece):
            for start, end in _runs_of_data(piece):
                data, place = piece[start:end], at + start
                while data:
                    done = os.pwrite(self._descriptor, data, place)
                    data, place = data[done:], place + done
                self.written_bytes += end - start
        self.done_bytes += len(piece)
        if self.done_bytes - self._told >= EVERY_BYTES:
            self._every(self._told, self.done_bytes)
            self._told = self.done_bytes


def _runs_of_data(piece: memoryview) -> Iterator[tuple[int, int]]:
    """The parts of a piece that are not only zeros."""
    begun: int | None = None
    for start in range(0, len(piece), HOLE_BYTES):
        is_zero = _HOLE.startswith(piece[start : start + HOLE_BYTES])
        if is_zero and begun is not None:
            yield begun, start
            begun = None
        elif not is_zero and begun is None:
            begun = start
    if begun is not None:
        yield begun, len(piece)
