"""Sizes, lengths of time and times in words: one form of each, wherever a person reads it.

Files have times in UTC. What a terminal shows has the reader's own time beside it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_SIZES = ("KiB", "MiB", "GiB", "TiB", "PiB")
_SPANS_S = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_DAY_S = 86_400
_TYPED = "BKMGT"
_AGES_S = {
    **dict.fromkeys(("", "s", "sec", "second"), 1),
    **dict.fromkeys(("min", "minute"), 60),
    **dict.fromkeys(("h", "hour"), 3_600),
    **dict.fromkeys(("d", "day"), _DAY_S),
    **dict.fromkeys(("w", "week"), 7 * _DAY_S),
    "fortnight": 14 * _DAY_S,
    **dict.fromkeys(("m", "month"), 31 * _DAY_S),
    **dict.fromkeys(("y", "year"), 365 * _DAY_S),
}
"""Seconds of what an age ends with, as Thoth has them: ``m`` is a month."""
_LONGEST_AGE_S = 1000 * 365 * _DAY_S
_TIME, _CLOCK = "%Y-%m-%d %H:%M:%S", "%H:%M:%S"


def human_size(size_bytes: int) -> str:
    """A size for people, in binary units.

    >>> human_size(1023), human_size(5 << 30)
    ('1023 bytes', '5.0 GiB')
    """
    size, unit = float(size_bytes), "bytes"
    for larger in _SIZES:
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"


def bytes_of(text: str) -> int:
    """Bytes of a size as it is typed; ``K``, ``M``, ``G`` and ``T`` stand for powers of 1024.

    :raises ValueError: it is none

    >>> bytes_of("64M"), bytes_of("16 GiB")
    (67108864, 17179869184)
    """
    found = re.fullmatch(r"(\d+)\s*([KMGT]?)(i?B)?", text, re.IGNORECASE | re.ASCII)
    if not found or int(found[1]) < 1:
        raise ValueError("must be a size such as 64M or 16G")
    return int(found[1]) << (10 * " KMGT".index(found[2].upper() or " "))


def typed_size(size_bytes: int) -> str:
    """A size as `bytes_of` reads it, without loss.

    >>> typed_size(100 << 20), typed_size(1500)
    ('100M', '1500')
    """
    power = 0
    while power < len(_TYPED) - 1 and size_bytes % 1024 == 0:
        size_bytes, power = size_bytes // 1024, power + 1
    return f"{size_bytes}{_TYPED[power] if power else ''}"


def human_span(seconds: float) -> str:
    """A length of time for people: the two largest units that count.

    >>> human_span(0.04), human_span(9.26), human_span(65), human_span(90_000)
    ('less than 0.1 s', '9.3 s', '1 min 5 s', '1 d 1 h')
    """
    if seconds < 60:
        if 0 < seconds < 0.1:
            return "less than 0.1 s"
        text = f"{seconds:.1f}"
        return f"{text.removesuffix('.0')} s"
    rest, words = int(seconds), list[str]()
    for unit, length in _SPANS_S:
        number, rest = divmod(rest, length)
        if number or words:
            words.append(f"{number} {unit}" if number else "")
    return " ".join(filter(None, words[:2]))


def seconds_of_age(text: str) -> int:
    """Seconds of an age such as ``6h``; without a number it is one of them.

    >>> seconds_of_age("6h"), seconds_of_age("week")
    (21600, 604800)

    :raises ValueError: it ends with no unit that there is
    """
    found = re.fullmatch(r"(\d*)(.*)", text, re.ASCII | re.DOTALL)
    number, suffix = found.groups() if found else ("", text)
    if suffix not in _AGES_S or not text:
        raise ValueError(f"invalid time suffix {suffix!r}")
    return min(int(number[:12] or 1) * _AGES_S[suffix], _LONGEST_AGE_S)


def utc(time: datetime) -> str:
    """A time for a file: ``2026-11-21 13:51:06 UTC``."""
    return f"{time.astimezone(UTC):{_TIME}} UTC"


def told_time(time: datetime) -> str:
    """A time for a terminal: UTC, and beside it what the reader's clock shows.

    E.g. ``2026-11-21 13:51:06 UTC (14:51:06 CET)``; with its date where that is another one.
    """
    here, there = time.astimezone(), time.astimezone(UTC)
    if not here.utcoffset():
        return utc(time)
    form = _CLOCK if here.date() == there.date() else _TIME
    return f"{utc(time)} ({here:{form}} {here.tzname()})"


def plain(value: object) -> object:
    """What JSON has no form of: times in UTC as ISO 8601 has them, the rest as text."""
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
