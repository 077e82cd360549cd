"""How a stage tells the person in front of the terminal what it is doing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Call with the number of units (bytes, files) done since the last call."""
Note = Callable[[str], None]
"""Takes a sentence that only the job's log needs, `Progress.note`."""


class Progress(Protocol):
    """Where the stages report; the console draws it, a worker may drop it."""

    def say(self, text: str) -> None:
        """Tell a fact or the start of a short step."""

    def warn(self, text: str) -> None:
        """Tell something that went wrong without ending the job."""

    def bar(self, text: str, total: int | None, unit: str = "B") -> AbstractContextManager[Advance]:
        """Show a step that may take more than two seconds.

        :param total: how many units there are; ``None`` when unknown
        :param unit: ``B`` for bytes, else a plural noun such as ``packages``
        """

    def note(
        self, text: str, level: int = logging.INFO, *, error: BaseException | None = None
    ) -> None:
        """Tell only the job's log, if there is one.

        :param level: one of :mod:`logging`
        :param error: whose traceback follows
        """

    def worded(self, text: str) -> str:
        """A sentence as it is shown, e.g. with the configuration in a command that it proposes."""


class Silent:
    """Progress that nobody watches."""

    def say(self, text: str) -> None:
        """Drop it."""

    def warn(self, text: str) -> None:
        """Drop it."""

    @contextmanager
    def bar(self, text: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        """Count nothing."""
        yield lambda _: None

    def note(
        self, text: str, level: int = logging.INFO, *, error: BaseException | None = None
    ) -> None:
        """Drop it."""

    def worded(self, text: str) -> str:
        """As it is."""
        return text
