"""Looking for an administrator's patterns in a customer's kernel log, within a limit of time.

Python's own ``re`` cannot be stopped: ``(a+)+$`` against 40 letters takes longer than anybody
waits. The ``regex`` package has the same syntax, looks at its limit while it searches, and lets
other threads run. The limit is time of the processor, so that a busy machine finds what an idle one
does. RE2, which needs none, has wheels for two architectures only, and no look-around.
"""

from __future__ import annotations

import time
from dataclasses import field
from typing import Any

import regex

from cas.frozen import dataclass

PATTERN_S = 0.5
"""Time of the processor that one pattern may take."""
CRASH_S = 2.0
"""Time that all patterns together may take for one crash."""
LENGTH_LIMIT = 4096
"""Characters of a pattern."""


class BadPattern(ValueError):
    """A regular expression that is none."""


class OutOfTime(Exception):
    """A pattern was not found, and not searched for to the end either."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression; ``^`` and ``$`` match at each line.

    :raises BadPattern: it is none
    """

    text: str
    _compiled: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.text) > LENGTH_LIMIT:
            raise BadPattern(f"it has more than {LENGTH_LIMIT:,} characters")
        try:
            compiled = regex.compile(self.text, regex.MULTILINE)
        except (regex.error, ValueError, OverflowError, RecursionError) as error:
            said = str(error) or type(error).__name__
            raise BadPattern(f"{self.text[:200]!r} is no regular expression: {said}") from error
        object.__setattr__(self, "_compiled", compiled)
        try:
            is_everywhere = self.search("", PATTERN_S / 10) is not None
        except OutOfTime as error:
            raise BadPattern(
                f"{self.text[:200]!r} takes too long where there is no text"
            ) from error
        if is_everywhere:
            raise BadPattern(f"{self.text[:200]!r} is found in every text")

    def search(self, text: str, limit_s: float = PATTERN_S) -> int | None:
        """The first character of where it is found first.

        :raises OutOfTime: it takes longer
        """
        try:
            found = self._compiled.search(text, timeout=limit_s, concurrent=True)
        except (TimeoutError, MemoryError) as error:
            raise OutOfTime(self.text) from error
        return found.start() if found else None


class Budget:
    """What is left of the time for one crash."""

    def __init__(self, total_s: float = CRASH_S, pattern_s: float = PATTERN_S) -> None:
        self.left_s, self._pattern_s = total_s, pattern_s

    def search(self, pattern: Pattern, text: str) -> int | None:
        """As `Pattern.search`, paid for out of the budget.

        :raises OutOfTime: the pattern takes too long, or nothing is left
        """
        if self.left_s <= 0:
            raise OutOfTime(pattern.text)
        begun = time.thread_time()
        try:
            return pattern.search(text, min(self._pattern_s, self.left_s))
        finally:
            self.left_s -= time.thread_time() - begun
