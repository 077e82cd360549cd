"""A dump whose line ends were changed on its way, as FTP in text mode and some mail programs do.

A memory dump has line feeds by the thousand, some of them behind a carriage return, by chance and
in texts of the net. That all are, or next to none, is no chance.
"""

from __future__ import annotations

from cas.choices import Cause
from cas.dump.source import FileSource
from cas.model.dump import Missing

_SAMPLE_BYTES = 64 << 20
_CHUNK = 1 << 20
_ENOUGH = 64
"""Line feeds, all behind a carriage return."""
_BESIDE = b"\x0c\n", b"\x0e\n"
"""Bytes beside the carriage return stand before a line feed about as often, outside of texts."""
_TIMES = 16
"""That they do so more often. Where both came 16 times, chance leaves out all pairs once in nine
million files. A pair with another carriage return before it has left one."""


def converted(source: FileSource, *, is_flawed: bool) -> Missing | None:
    """The statement that line ends were changed; ``None`` where that is not certain.

    :param is_flawed: whether something is wrong with the dump; only then the second, weaker sign
        is looked for, and much of the file
    """
    head = source.read(0, _CHUNK)
    if not is_flawed and head.count(b"\n") > head.count(b"\r\n"):
        return None  # and where the file has holes, which takes long in memory, need not be known
    feeds = pairs = seen = 0
    beside = [0, 0]
    first: int | None = None
    last = b""
    for begin, end in source.data(0, source.size):
        for at in range(begin, min(end, begin + _SAMPLE_BYTES), _CHUNK):
            data = last + source.read(at, min(_CHUNK, end - at))
            feeds += data.count(b"\n", len(last))
            pairs += data.count(b"\r\n")
            if is_flawed:
                beside = [one + data.count(two) for one, two in zip(beside, _BESIDE, strict=True)]
            if first is None and (found := data.find(b"\r\n")) >= 0:
                first = at - len(last) + found
            seen += len(data) - len(last)
            last = data[-1:]
            if feeds > pairs and not is_flawed:
                return None
        if seen >= _SAMPLE_BYTES:
            break
    if feeds >= _ENOUGH and pairs == feeds:
        what = f"all of {feeds} line feeds have a carriage return before them"
        return _missing(what, "added", first)
    if min(beside) >= _TIMES * max(pairs, 1):
        what = f"only {pairs} of {feeds} line feeds have a carriage return before them"
        return _missing(what, "taken out", None)
    return None


def _missing(what: str, done: str, offset: int | None) -> Missing:
    return Missing(f"{what}: they were {done} by a transfer in text mode", offset, Cause.CONVERTED)
