"""The bytes of a dump for a process that cannot open it: another one answers over a socket.

So a process without network and files of its own reads a dump that lies elsewhere. It asks with
four numbers: that of the question, what it asks, and two offsets or an offset and a size. The
answer has the question's number, whether it failed, and bytes: what was asked for, or a sentence.
Each is one message (``SOCK_SEQPACKET``): who gives up waiting, because its time is over, just
passes over the late answer.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from enum import IntEnum, auto
from typing import Self

from cas.dump.memory import Source
from cas.dump.source import FileSource
from cas.errors import CasError, plain_reason

BLOCK_BYTES = 64 << 10
"""Most bytes of one answer, and the unit in which a dump is read; a first answer touches some
hundred such blocks."""
KEPT_BLOCKS = 256
"""Blocks that the asking side keeps: 16 MiB."""
SENTENCE_BYTES = 1000
_QUESTION = struct.Struct("<IBQQ")
_ANSWER = struct.Struct("<IB")
_NUMBER = struct.Struct("<Q")
_RANGE = struct.Struct("<QQ")
_LARGEST = (1 << 64) - 1


class _Asked(IntEnum):
    SIZE = auto()
    READ = auto()
    """The bytes at an offset, of a size."""
    DATA = auto()
    """The first part of a range that is no hole; no bytes when there is none."""
    GAP = auto()
    """The first offset of a range that was not written; no bytes when there is none."""


def source_behind(descriptor: int) -> Source:
    """The dump behind a descriptor: a file, or a socket to a `SourceServer`."""
    if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return ServedSource(descriptor)
    return FileSource(descriptor)


class ServedSource:
    """What a `SourceServer` gives, on the asking side; not for several threads.

    What cannot be read raises `OSError` with the server's sentence, as a file would.
    """

    def __init__(self, descriptor: int) -> None:
        """Ask how long it is.

        :param descriptor: of the socket; it is kept open
        """
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._number = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        (self.size,) = _NUMBER.unpack(self._ask(_Asked.SIZE))

    def read(self, offset: int, size: int) -> bytes:
        """See `Source.read`."""
        end = min(offset + size, self.size)
        if offset < 0 or offset >= end:
            return b""
        first = offset // BLOCK_BYTES * BLOCK_BYTES
        parts = []
        for at in range(first, end, BLOCK_BYTES):
            block = self._blocks.get(at)
            if block is None:
                block = self._blocks[at] = self._ask(_Asked.READ, at, BLOCK_BYTES)
                if len(self._blocks) > KEPT_BLOCKS:
                    self._blocks.popitem(last=False)
            else:
                self._blocks.move_to_end(at)
            parts.append(block)
            if len(block) < min(BLOCK_BYTES, self.size - at):  # it has become shorter
                break
        return b"".join(parts)[offset - first : end - first]

    def data(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """See `Source.data`."""
        start, end = max(start, 0), min(end, self.size)
        while start < end and (found := self._ask(_Asked.DATA, start, end)):
            begin, stop = _RANGE.unpack(found)
            yield begin, stop
            start = max(stop, start + 1)

    def gap(self, start: int, end: int) -> int | None:
        """See `Source.gap`."""
        start, end = (min(max(offset, 0), _LARGEST) for offset in (start, end))
        found = self._ask(_Asked.GAP, start, end)
        return _NUMBER.unpack(found)[0] if found else None

    def _ask(self, what: _Asked, first: int = 0, second: int = 0) -> bytes:
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._socket.send(_QUESTION.pack(self._number, what, first, second))
        while True:
            answer = self._socket.recv(_ANSWER.size + BLOCK_BYTES)
            if len(answer) < _ANSWER.size:
                raise OSError(errno.EPIPE, "the dump is served no longer")
            number, has_failed = _ANSWER.unpack_from(answer)
            if number == self._number:
                break
        told = answer[_ANSWER.size :]
        if has_failed:
            raise OSError(errno.EIO, told.decode("utf-8", "replace"))
        return told


class SourceServer:
    """Answers, in a thread of its own, what one process asks of a source.

    The process may mean harm: it gets bytes of this source and nothing else, and no question makes
    us hold more than a block.
    """

    def __init__(self, source: Source) -> None:
        """Begin to serve.

        :param source: it is read in another thread, for one question at a time; that it cannot be
            read it says by a `CasError` or an `OSError`
        """
        self._source = source
        kind = socket.SOCK_SEQPACKET
        self._socket, self.theirs = socket.socketpair(socket.AF_UNIX, kind)
        """``theirs`` is the end to be given away."""
        threading.Thread(target=self._serve, name="serves a dump", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Serve no longer; what is just being read of the source is not waited for."""
        self.theirs.close()
        with suppress(OSError):  # the other side has gone before
            self._socket.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with self._socket, suppress(OSError):  # the other side has gone
            while len(question := self._socket.recv(_QUESTION.size)) == _QUESTION.size:
                number, what, first, second = _QUESTION.unpack(question)
                try:
                    told, has_failed = self._answer(what, first, second), False
                except (CasError, OSError) as error:
                    reason = plain_reason(error) or type(error).__name__
                    told, has_failed = reason.encode("utf-8", "replace")[:SENTENCE_BYTES], True
                self._socket.sendall(_ANSWER.pack(number, has_failed) + told)

    def _answer(self, what: int, first: int, second: int) -> bytes:
        source = self._source
        if what == _Asked.SIZE:
            return _NUMBER.pack(source.size)
        if what == _Asked.READ:
            return source.read(first, min(second, BLOCK_BYTES))
        if what == _Asked.DATA:
            part = next(source.data(first, second), None)
            return _RANGE.pack(*part) if part else b""
        if what == _Asked.GAP:
            gap = source.gap(first, second)
            return b"" if gap is None else _NUMBER.pack(gap)
        raise OSError(errno.EINVAL, f"nothing is known of a question {what}")
