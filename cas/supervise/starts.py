"""How often, and how soon after one another, a program may be started for one job."""

from __future__ import annotations

import time

from cas.errors import EngineError
from cas.settings.rules import Supervision


class StartLimit:
    """Counts the starts of one program and keeps them apart."""

    def __init__(self, program: str, rules: Supervision) -> None:
        """Begin to count.

        :param program: how to call it in a sentence
        """
        self._program = program
        self._rules = rules
        self._last = 0.0
        self.made = 0

    @property
    def are_exhausted(self) -> bool:
        """Whether there is none left."""
        return self.made >= self._rules.attempts

    def take(self) -> None:
        """Wait until the next start is due.

        :raises EngineError: there is none left
        """
        if self.are_exhausted:
            raise EngineError(f"{self._program} was started {self.made} times on this dump")
        if self.made:
            due = self._last + self._rules.respawn_s
            time.sleep(max(0.0, due - time.monotonic()))
        self.made += 1
        self._last = time.monotonic()

    def __str__(self) -> str:
        """E.g. ``2 of 8``."""
        return f"{self.made} of {self._rules.attempts}"
