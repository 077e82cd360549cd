"""Bytes that arrive one after another, out of a file or out of a wrapping around it."""

from __future__ import annotations

from collections.abc import Iterator

BLOCK_BYTES = 256 << 10
"""What is unpacked and written at a time: small enough to stay in the processor's cache."""


class Damaged(Exception):
    """A wrapping cannot be read on: it is cut off, or breaks its own rules."""

    def __init__(self, what: str, *, offset: int | None = None) -> None:
        """Keep the facts.

        :param what: a predicate, e.g. ``is cut off``
        :param offset: byte offset in the upload, where it is known better than by the caller
        """
        super().__init__(what)
        self.offset = offset


class Flow:
    """A sequence of bytes that is read once; the next of them can be looked at."""

    def __init__(self, blocks: Iterator[bytes], parent: Flow | None = None) -> None:
        """Begin.

        :param parent: what the blocks are unpacked from; ``None`` for the upload itself
        """
        self._blocks = blocks
        self._parent = parent
        self._held = b""
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
        """Whether this is a whole file as it arrived."""
        return self._parent is None

    @property
    def is_broken(self) -> bool:
        """Whether this ended too early because a wrapping around it is damaged."""
        return self._is_broken or (self._parent is not None and self._parent.is_broken)

    def break_off(self) -> None:
        """Note that what comes now is not all that there was."""
        self._is_broken = True

    def block(self) -> bytes:
        """The next bytes, as many as are at hand; ``b""`` at the end."""
        block = self._held[self._at :] or self._next()
        self._held, self._at = b"", 0
        self.position += len(block)
        return block

    def peek(self, count: int) -> bytes:
        """The next bytes, fewer than wanted only at the end; they stay where they are."""
        have = len(self._held) - self._at
        if have < count:
            blocks = [self._held[self._at :]]
            while have < count and (block := self._next()):
                blocks.append(block)
                have += len(block)
            self._held, self._at = b"".join(blocks), 0
        return self._held[self._at : self._at + count]

    def read(self, count: int) -> bytes:
        """The next bytes, fewer than wanted only at the end; for headers, not for contents."""
        data = self.peek(count)
        self._at += len(data)
        self.position += len(data)
        return data

    def exactly(self, count: int) -> bytes:
        """The next bytes.

        :raises Damaged: there are fewer
        """
        data = self.read(count)
        if len(data) < count:
            raise Damaged("is cut off")
        return data

    def unread(self, data: bytes) -> None:
        """Put bytes back that were taken last."""
        self._held, self._at = data + self._held[self._at :], 0
        self.position -= len(data)

    def skip_past(self, mark: bytes) -> None:
        """Pass over everything up to and with a byte.

        :raises Damaged: it does not come
        """
        while block := self.block():
            _, found, after = block.partition(mark)
            if found:
                return self.unread(after)
        raise Damaged("is cut off")

    def take(self, count: int) -> Iterator[bytes]:
        """The next bytes in blocks, fewer than wanted only at the end."""
        while count > 0 and (block := self.block()):
            if len(block) > count:
                self.unread(block[count:])
                block = block[:count]
            count -= len(block)
            yield block

    def skip(self, count: int) -> None:
        """Pass over bytes.

        :raises Damaged: there are fewer
        """
        if sum(len(block) for block in self.take(count)) < count:
            raise Damaged("is cut off")

    def drain(self) -> int:
        """Pass over the rest; how many bytes there were."""
        begun = self.position
        while self.block():
            pass
        return self.position - begun

    def _next(self) -> bytes:
        return next(filter(None, self._blocks), b"")
