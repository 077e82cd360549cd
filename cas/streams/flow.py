"""Bytes that arrive one after another, out of a file or out of a wrapping around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

BLOCK_BYTES = 256 << 10
"""What is unpacked and written at a time: small enough to stay in the processor's cache."""

Piece = bytes | memoryview
"""Some bytes that stay valid; a part of others is given without a copy."""


class Damaged(Exception):
    """A wrapping cannot be read on: it is cut off, or breaks its own rules."""

    def __init__(
        self, reason: str = "", *, predicate: str = "is damaged", offset: int | None = None
    ) -> None:
        """Keep the facts; as text, the error is a predicate: ``is damaged (no header)``.

        :param reason: what is wrong, e.g. ``no header where one is due``
        :param predicate: what follows from it, where that is not plain damage
        :param offset: byte offset in the upload, where it is known better than by the caller
        """
        super().__init__(f"{predicate} ({reason})" if reason else predicate)
        self.reason = reason or f"it {predicate}"
        self.offset = offset


class CutOff(Damaged):
    """The bytes end too early."""

    def __init__(self) -> None:
        """As text: ``is cut off``."""
        super().__init__(predicate="is cut off")


class Flow:
    """A sequence of bytes that is read once; the next of them can be looked at."""

    def __init__(self, pieces: Iterable[Piece], parent: Flow | None = None) -> None:
        """Begin.

        :param parent: what the pieces are unpacked from; ``None`` for the upload itself
        """
        self._pieces: Iterator[Piece] = filter(None, pieces)
        self._parent = parent
        self._held: Piece = b""
        self._at = 0  # where in it the next byte is
        self._is_broken = False
        self.position = 0
        """How many bytes were taken."""

    @property
    def offset(self) -> int:
        """Where in the upload the next byte comes from."""
        return self.position if self._parent is None else self._parent.offset

    @property
    def is_upload(self) -> bool:
        """This is a whole file as it arrived."""
        return self._parent is None

    @property
    def is_broken(self) -> bool:
        """This ended too early because a wrapping around it is damaged."""
        return self._is_broken or (self._parent is not None and self._parent.is_broken)

    def break_off(self) -> None:
        """Note that what comes now is not all that there was."""
        self._is_broken = True

    def block(self) -> bytes:
        """The next bytes, as many as are at hand; ``b""`` at the end."""
        block = bytes(self._held[self._at :] or next(self._pieces, b""))
        self._held, self._at = b"", 0
        self.position += len(block)
        return block

    def peek(self, count: int) -> bytes:
        """The next bytes, fewer than wanted only at the end; they stay where they are."""
        have = len(self._held) - self._at
        if have < count:
            pieces: list[Piece] = [self._held[self._at :]]
            while have < count and (piece := next(self._pieces, b"")):
                pieces.append(piece)
                have += len(piece)
            self._held, self._at = b"".join(pieces), 0
        return bytes(self._held[self._at : self._at + count])

    def read(self, count: int) -> bytes:
        """The next bytes, fewer than wanted only at the end; for headers, not for contents."""
        data = self.peek(count)
        self._at += len(data)
        self.position += len(data)
        return data

    def exactly(self, count: int) -> bytes:
        """The next bytes.

        :raises CutOff: there are fewer
        """
        data = self.read(count)
        if len(data) < count:
            raise CutOff
        return data

    def put_back(self, data: bytes) -> None:
        """Put bytes back that were taken last."""
        self._held, self._at = data + bytes(self._held[self._at :]), 0
        self.position -= len(data)

    def skip_past(self, mark: bytes) -> None:
        """Pass over everything up to and with a byte.

        :raises CutOff: it does not come
        """
        while block := self.block():
            _, found, after = block.partition(mark)
            if found:
                return self.put_back(after)
        raise CutOff

    def take(self, count: int) -> Iterator[Piece]:
        """The next bytes in pieces, fewer than wanted only at the end; nothing is copied."""
        while count > 0:
            if self._at >= len(self._held):
                self._held, self._at = next(self._pieces, b""), 0
                if not self._held:
                    return
            if self._at or len(self._held) > count:
                piece: Piece = memoryview(self._held)[self._at : self._at + count]
            else:
                piece = self._held
            self._at += len(piece)
            self.position += len(piece)
            count -= len(piece)
            yield piece

    def rest(self) -> Iterator[Piece]:
        """All that comes, in pieces."""
        return self.take(1 << 63)

    def skip(self, count: int) -> None:
        """Pass over bytes.

        :raises CutOff: there are fewer
        """
        if sum(map(len, self.take(count))) < count:
            raise CutOff

    def drain(self) -> int:
        """Pass over the rest; how many bytes there were."""
        return sum(map(len, self.rest()))
