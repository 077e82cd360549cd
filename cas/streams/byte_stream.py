"""Pieces of bytes, taken in the lengths that a format asks for."""

from __future__ import annotations

from collections.abc import Iterator

from cas.streams.package_decompress import Damaged


class ByteStream:
    """A sequence of bytes that is read once; what was taken stays valid."""

    def __init__(self, pieces: Iterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")
        self.position = 0
        """How many bytes were taken."""

    def take(self, most: int) -> memoryview:
        """At least one byte, at most that many; none at the end."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return self._piece
            self._piece = memoryview(piece)
        taken, self._piece = self._piece[:most], self._piece[most:]
        self.position += len(taken)
        return taken

    def at_most(self, size: int) -> bytes:
        """So many bytes; fewer at the end."""
        parts = []
        while size and (part := self.take(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def exactly(self, size: int) -> bytes:
        """So many bytes.

        :raises Damaged: there are fewer
        """
        data = self.at_most(size)
        if len(data) < size:
            raise Damaged(f"it ends at byte {self.position}, inside a file")
        return data

    def skip(self, size: int) -> None:
        """Pass over so many bytes.

        :raises Damaged: there are fewer
        """
        while size:
            size -= len(self.part(size))

    def part(self, most: int) -> memoryview:
        """At least one byte, at most that many.

        :raises Damaged: there is none
        """
        taken = self.take(most)
        if not taken:
            raise Damaged(f"it ends at byte {self.position}, inside a file")
        return taken
