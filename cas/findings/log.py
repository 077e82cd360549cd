"""The kernel log as lines with their time stamps."""

from __future__ import annotations

import re
from dataclasses import dataclass

LOG_LIMIT = 4 << 20
"""Characters of the log's end that are looked at; a kernel's default ring holds 1 MiB at most."""
LINES_LIMIT = 50_000
LINE_LIMIT = 4096
"""Characters of a line that are looked at; printk cuts its lines at about 1,000."""

_PREFIX = re.compile(r"(?:<\d{1,3}>)?\[ *(\d{1,10}\.\d{1,9})\](?:\[ *[TC]\d+\])? ?")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the kernel log."""

    text: str
    """Without level, stamp and caller."""
    uptime_s: float | None = None


def read_log(dmesg: str | None) -> tuple[Line, ...]:
    """Split a kernel log into lines, oldest first; empty when there is none."""
    if not dmesg:
        return ()
    texts = dmesg[-LOG_LIMIT:].rsplit("\n", LINES_LIMIT)
    return tuple(_line(text[:LINE_LIMIT]) for text in texts[-LINES_LIMIT:])


def _line(text: str) -> Line:
    prefix = _PREFIX.match(text)
    if prefix is None:
        return Line(text.rstrip())
    return Line(text[prefix.end() :].rstrip(), float(prefix[1]))
