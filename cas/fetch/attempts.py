"""How often a server that fails is asked again, and how long is waited before."""

from __future__ import annotations

import time

from cas.fetch.source import Broken, FetchPolicy, InTrouble
from cas.progress import Progress

GAIN_BYTES = 1 << 20
"""An attempt that brought so much that was never there before does not count as failed."""
LONGEST_PAUSE_S = 30.0


class Attempts:
    """Counts failures in a row, and waits longer from one to the next."""

    def __init__(self, policy: FetchPolicy, progress: Progress) -> None:
        self._policy = policy
        self._progress = progress
        self._failed = 0
        self._best = 0

    def failed(self, error: Broken, size: int) -> None:
        """Wait before the next attempt.

        A server that says how long it wants to be left alone is, if that is no longer than a silent
        one would be waited for; else a later run may ask it.

        :param size: how many bytes are there now
        :raises Broken: there is none left
        """
        if size - self._best >= GAIN_BYTES:
            self._best, self._failed = size, 0
        self._failed += 1
        asked_s = error.wait_s if isinstance(error, InTrouble) else 0.0
        if self._failed >= self._policy.attempts or asked_s > self._policy.timeout_s:
            raise error
        self._progress.warn(f"{error}; trying again")
        pause_s = min(LONGEST_PAUSE_S, self._policy.pause_s * 2 ** (self._failed - 1))
        time.sleep(max(pause_s, asked_s))
