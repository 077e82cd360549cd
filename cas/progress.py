"""How a stage tells the person in front of the terminal what it is doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Call with the number of units (bytes, files) done since the last call."""


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
