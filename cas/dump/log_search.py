"""Log records by their own shape, where the structures that lead to them are lost.

A record of the lockless ring is its id, a long, and its text, padded to the next long; the next
record has the next id. A record of the buffer before it has a header that tells its length. The
kernel's first record is the banner: it is found, and the records behind it are followed.

Source: kernel/printk/printk_ringbuffer.h (struct prb_data_block), kernel/printk/printk.c
(struct printk_log, which keeps time and lengths in its first 12 bytes).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import islice

from cas.dump.memory import Absent, Memory
from cas.dump.printk import stamped

_BANNER = re.compile(rb"Linux version [0-9]+\.[0-9]+[^\0\n]{8,1000}")
_RECORDS_LIMIT = 1 << 16
_RECORD_BYTES = 8192
_WINDOW_BYTES = 4 << 20
_STEP = 4096
_COST = 4096
LOG_BYTES = 4 << 20
"""Most bytes of a log that are followed."""
_CANDIDATES = 64
_ENOUGH = 3
"""Records that must follow one another: the banner stands in other places too."""
_HEAD = struct.Struct("QHH")
_HEAD_BYTES = 16
_LEVEL = b"\x01"


def log_start(data: bytes, order: str) -> int | None:
    """Where the first record of a log stands in bytes of memory.

    :param order: byte order, as `struct` spells it
    """
    for found in islice(_BANNER.finditer(data), _CANDIDATES):
        for follow, before in _SHAPES:
            start = found.start() - before
            if start >= 0 and len(list(islice(follow(data, start, order), _ENOUGH))) == _ENOUGH:
                return start
    return None


def loose_log(data: bytes, order: str) -> str:
    """The records at the beginning of bytes of memory, with times where they have some."""
    logs = ("\n".join(follow(data, 0, order)) for follow, _ in _SHAPES)
    return max(logs, key=len) + "\n"


def find_log(memory: Memory, order: str, limit_bytes: int) -> str | None:
    """The records of a log anywhere in physical memory.

    :param limit_bytes: most bytes that are searched
    """
    for address, data in _memory_windows(memory, limit_bytes):
        start = log_start(data, order)
        if start is None:
            continue
        parts: list[bytes] = []
        for at in range(address + start, address + start + LOG_BYTES, _STEP):
            try:
                parts.append(memory.read(at, _STEP))
            except Absent:
                break
        return loose_log(b"".join(parts), order)
    return None


def _memory_windows(memory: Memory, limit_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Memory in pieces that are worth a search, each with the end of the one before it."""
    parts: list[bytes] = []
    begin = expected = held = seen = 0
    for address, data in memory.chunks(0, 1 << 64):
        if parts and (address != expected or held >= _WINDOW_BYTES):
            window = b"".join(parts)
            yield begin, window
            tail = window[-_RECORD_BYTES:] if address == expected else b""
            parts, begin, held = [tail], address - len(tail), len(tail)
        elif not parts:
            begin = address
        parts.append(data)
        expected, held, seen = address + len(data), held + len(data), seen + len(data) + _COST
        if seen > limit_bytes:
            break
    yield begin, b"".join(parts)


def _timed_lines(data: bytes, at: int, order: str) -> Iterator[str]:
    """Lines of the buffer of Linux 3.5 to 5.9."""
    last = 0
    head = struct.Struct(order + _HEAD.format)
    for _ in range(_RECORDS_LIMIT):
        if at + _HEAD_BYTES > len(data):
            return
        time_ns, length, text_len = head.unpack_from(data, at)
        text = data[at + _HEAD_BYTES : at + _HEAD_BYTES + text_len]
        is_record = _HEAD_BYTES + text_len <= length <= _RECORD_BYTES and length % 4 == 0
        if not is_record or time_ns < last or b"\0" in text or len(text) < text_len:
            return
        yield from stamped(time_ns, text)
        at, last = at + length, time_ns


def _ring_lines(data: bytes, at: int, order: str) -> Iterator[str]:
    """Lines of the lockless ring; their times stand elsewhere."""
    word = struct.Struct(order + "Q")
    for _ in range(_RECORDS_LIMIT):
        if at + word.size > len(data):
            return
        (number,) = word.unpack_from(data, at)
        mark = word.pack(number + 1 & (1 << 64) - 1)
        # The next record's id stands a whole number of longs behind this one.
        start = at + word.size
        end = data.find(mark, start, start + _RECORD_BYTES)
        while end >= 0 and (end - start) % word.size:
            end = data.find(mark, end + 1, start + _RECORD_BYTES)
        text = data[start : end if end >= 0 else at + _RECORD_BYTES]
        if not text.strip(b"\0"):
            return
        # printk_sprint() moves the text over the two bytes of its level, and takes the newline off
        # by the length alone, which stands elsewhere: the last two letters and the newline are
        # still there, or the level of a text that continued this one.
        text = text.split(b"\0")[0].split(_LEVEL)[0]
        if text.endswith(b"\n"):
            text = text[:-1]
            text = text[:-2] if text[-4:-2] == text[-2:] else text
        yield from text.decode("utf-8", "replace").split("\n")
        if end < 0:
            return
        at = end


_SHAPES = ((_timed_lines, _HEAD_BYTES), (_ring_lines, 8))
"""How records follow one another, and how many bytes stand before a record's text."""
