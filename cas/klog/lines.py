"""The kernel log as lines with their time stamps, parsed when they are looked at."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple, overload

LOG_LIMIT = 16 << 20
"""Characters of the log's end that are looked at; a kernel's default ring holds 1 MiB at most."""
LINES_LIMIT = 400_000
LINE_LIMIT = 4096
"""Characters of a line that are looked at; printk cuts its lines at about 1,000."""

_CALLER = r"\[ *([TC]\d{1,10})\]"
_STAMP = (
    r"(?:<\d{1,3}>)?\[ *(\d{1,10}\.\d{1,9})(?: <[\d. ]{1,16}>)?\]"
    rf"(?: ?{_CALLER})? ?(?:<\d>|\S{{1,64}} kernel: |(?:\S{{1,20}}: )?\[name:\w{{1,20}}&\])?"
)
"""Who prints stands in brackets, since Linux 5.1 (15ff2069cb7f) where it is configured.
With the time since the line before (``dmesg --show-delta``), the host (``journalctl -o
short-monotonic``), or task and file (Mediatek's kernels)."""
_PREFIX = re.compile(_STAMP)
_LATE = re.compile(rf"[^\[]{{1,80}}?{_STAMP}")
"""A serial console's own text before the stamp: a login prompt, ``** 9 printk messages dropped **``
(``kernel/printk/printk.c``), a syslog's date and host."""
_GLUED = re.compile(r".{1,400}[^\s\]]\[ *(\d{1,10}\.\d{6})\](?: ?\[ *([TC]\d{1,10})\])? ")
"""A line that another processor began while the one before had no newline yet."""
_KMSG = re.compile(
    r"(?:\d{1,3}\.\d{1,5}[^\s,]{0,80},)?\d{1,3},\d{1,10},(\d{1,16}),[^;,]{0,16}"
    r"(?:,caller=([TC]\d{1,10}))?[^;]{0,60};"
)
"""/dev/kmsg and netconsole's long form: the kernel's release, if asked for, level, number,
microseconds, flags, who prints."""
_LEVEL_WORDS = r"[a-z]\w{2,7} {0,5}:[a-z]{3,6} {0,4}: "
_DATE = (
    r"(?:[^\W\d]{2,6}\.? [ \d]\d (?:\d{4} )?[\d:]{8}(?:\.\d{1,6})?"
    r"|\d{4}-\d\d-\d\d[T ][\d:]{8}(?:[.,]\d{1,9})?(?: ?Z|[+-]\d\d:?\d\d)?"
    r"|\w{3} \d{4}-\d\d-\d\d [\d:]{8} \w{2,6}|\d{10}\.\d{6})"
)
_SYSLOG = re.compile(
    rf"(?=[\w\[<])(?:{_LEVEL_WORDS})?(?:(?:{_DATE} (?:\S{{1,64}} )?)?kernel: |{_DATE} "
    r"|\[ *\+\d{1,10}\.\d{1,9}\] |\[[^\W\d]{2,6}[ \d]\d \d\d:\d\d\] "
    r"|\[[^\W\d]{1,6}\.? [^\W_]{2,6}\.? [ \d]\d [\d:]{8} \d{4}\] |<\d{1,3}>)"
    rf"(?:{_CALLER} )?"
)
"""Dates instead of seconds, in a locale's words (syslog's files, journalctl, ``dmesg -T`` and
``--time-format iso``), the time since the line before (``dmesg --reltime``), or the level (also in
words: ``dmesg -x``)."""
_UNSTAMPED = re.compile(rf"{_CALLER} ")
"""``dmesg --notime``."""
_COLOURS = re.compile(r"\x1b(?:\[[0-9;?]{0,16}[A-Za-z]|[()][A-Z0-9])|\r")
"""Colours of dmesg on a terminal, where a boot loader puts its menu, and what a serial console's
lines end with."""


class Line(NamedTuple):
    """One line of the kernel log."""

    text: str
    """Without level, stamp and caller."""
    uptime_s: float | None = None
    caller: str | None = None
    """``T`` and a thread's id, or ``C`` and a processor, where the kernel tells who printed it
    (CONFIG_PRINTK_CALLER)."""


class Log(Sequence[Line]):
    """A kernel log's lines, oldest first."""

    def __init__(self, dmesg: str | None) -> None:
        self._text = without_colours((dmesg or "")[-LOG_LIMIT:])
        self._raw = self._text.rsplit("\n", LINES_LIMIT) if self._text else []
        if len(self._raw) > LINES_LIMIT:
            self._text = self._text[len(self._raw.pop(0)) + 1 :]
        self._starts = list(accumulate((len(raw) + 1 for raw in self._raw), initial=0))

    def __len__(self) -> int:
        return len(self._raw)

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> list[Line]: ...
    def __getitem__(self, index: int | slice) -> Line | list[Line]:
        if isinstance(index, slice):
            return [parse(raw) for raw in self._raw[index]]
        return parse(self._raw[index])

    def having(self, words: str) -> Iterator[int]:
        """Numbers of the lines in which words stand, newest first."""
        # str.rfind goes through 16 MiB in some 10 ms, a regular expression in a second
        at = self._text.rfind(words)
        while at >= 0:
            number = bisect_right(self._starts, at) - 1
            yield number
            at = self._text.rfind(words, 0, self._starts[number])


def without_colours(text: str) -> str:
    """A text without what only a terminal understands."""
    return _COLOURS.sub("", text) if "\x1b" in text or "\r" in text else text


def parse(raw: str) -> Line:
    """Take level, stamp and caller off a line."""
    return _parse(raw[:LINE_LIMIT])


@lru_cache(maxsize=8192)
def _parse(raw: str) -> Line:
    # reports overlap where many tasks print at once, and each asks where it ends
    found = _PREFIX.match(raw) or (_LATE.match(raw) if "[" in raw[:96] else None)
    if found:
        glued = _GLUED.match(raw, found.end()) if "[" in raw[found.end() :] else None
        last = glued or found
        return Line(raw[last.end() :].rstrip(), float(last[1]), last[2])
    if found := _KMSG.match(raw):
        return Line(raw[found.end() :].rstrip(), int(found[1]) / 1e6, found[2])
    if found := _SYSLOG.match(raw):
        return Line(raw[found.end() :].rstrip(), caller=found[1])
    if found := _UNSTAMPED.match(raw):
        return Line(raw[found.end() :].rstrip(), caller=found[1])
    return Line(raw.rstrip())
