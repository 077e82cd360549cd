"""The watchdog: tells a program that works, however slowly, from one that hangs."""

from __future__ import annotations

import time
from collections.abc import Callable

from cas.settings.rules import Supervision

LONGEST_INTERVAL_S = 1.0
LOOKS = 20
"""Looks in a watchdog interval, at least."""
Measure = Callable[[], tuple[int, int]]
"""Tells how much of the processor a program used so far, in clock ticks, and how many processes it
consists of."""


class Watchdog:
    """Looks now and then whether a program and its descendants show a sign of life.

    Signs are output and use of the processor, by any of them.
    """

    def __init__(self, measure: Measure, rules: Supervision) -> None:
        """Begin to watch."""
        self._measure = measure
        self._rules = rules
        self.interval_s = min(LONGEST_INTERVAL_S, rules.watchdog_s / LOOKS, rules.stop_s / 5)
        """Seconds between two looks."""
        self._ticks = -1
        self._seen = self._looked = time.monotonic()

    @property
    def grace_s(self) -> float:
        """What is left of the stop interval if a look came as late as it can."""
        return max(0.0, self._rules.stop_s - 2 * self.interval_s)

    def note_activity(self) -> None:
        """Note that the program has written something, or was given something to do."""
        self._seen = time.monotonic()

    def why_to_end(self) -> str | None:
        """Why the program must be ended, if it must; looks only when it is time again."""
        now = time.monotonic()
        if now - self._looked < self.interval_s:
            return None
        self._looked = now
        used, processes = self._measure()
        if used != self._ticks:
            self._ticks, self._seen = used, now
        if processes > self._rules.processes:
            return f"more than {self._rules.processes} processes"
        if now - self._seen >= self._rules.watchdog_s:
            return f"hung: no output and no use of the processor for {self._rules.watchdog_s:g} s"
        return None
