"""Limits of time within drgn's process; they nest."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

_SOON_S = 0.001
"""What is left to an outer limit that is over already; 0 would take it away."""


class Late(BaseException):
    """What was asked for took longer than allowed; not for drgn's own handlers to catch."""


def raise_late_on_alarm() -> None:
    """Let what follows be limited."""
    signal.signal(signal.SIGALRM, _raise_late)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`Late` in the block when it takes longer, or longer than a limit around it."""
    begun = time.monotonic()
    around, _ = signal.getitimer(signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, min(seconds, around) if around else seconds)
    try:
        yield
    finally:
        left = max(_SOON_S, around - (time.monotonic() - begun)) if around else 0
        signal.setitimer(signal.ITIMER_REAL, left)


def _raise_late(*_: object) -> None:
    raise Late
