"""Which crash is new enough for a kernel.

Only what makes a dump useless is a demand: an older crash cannot read the log, or opens nothing.
Source: crash-utility/crash on GitHub, pull request 71 (Linux 5.10: the lockless log), issues 101
(5.16: 8.0.0 ends without a word) and 232 (7.0: 9.0.2 does not work). For 6.12, 8.0.2 ends without a
word (measured); 8.0.6 is the first release after that kernel.
"""

from __future__ import annotations

import re

Version = tuple[int, ...]

DEMANDS: tuple[tuple[Version, Version], ...] = (
    ((7, 0), (9, 0, 3)),
    ((6, 12), (8, 0, 6)),
    ((5, 16), (8, 0, 1)),
    ((5, 10), (7, 2, 9)),
)
"""Linux since, and the first crash that reads it; newest first."""


def is_new_enough(crash: str, osrelease: str | None) -> bool:
    """Whether a crash of this version reads dumps of this kernel; unknown ones may.

    >>> [is_new_enough(crash, "6.1.0-40-amd64") for crash in ("7.2.8", "7.2.9", "8.0.2++", "?")]
    [False, True, True, True]
    """
    needed = needed_for(osrelease)
    version = parsed(crash)
    return needed is None or version is None or version >= needed


def needed_for(osrelease: str | None) -> Version | None:
    """The first crash that reads dumps of a kernel; ``None``: any does."""
    release = parsed(osrelease or "")
    if release is None:
        return None
    return next((crash for kernel, crash in DEMANDS if release >= kernel), None)


def parsed(text: str) -> Version | None:
    """The numbers at the beginning of a version.

    >>> parsed("8.0.4-2.el9"), parsed("6.12"), parsed("unknown")
    ((8, 0, 4), (6, 12), None)
    """
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else None
