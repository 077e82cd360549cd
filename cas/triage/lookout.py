"""A run ends when the file system of its upload answers nobody any more.

What waits for a file of a server that is gone cannot be interrupted, and so neither can we: the run
ends as one that was killed would, which loses nothing, but for a sentence before.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from cas.errors import TryAgain
from cas.files.patient_calls import NoAnswer, answering

_LOOKS = 10
"""In the time that is waited for an answer."""


class Lookout:
    """A context manager that looks at a file every now and then."""

    def __init__(
        self,
        path: Path,
        timeout_s: float,
        is_needed: Callable[[], bool],
        tell: Callable[[str], None],
    ) -> None:
        """Prepare.

        :param timeout_s: without an answer
        :param is_needed: whether this process, or a thread of it, may read the file
        """
        self._path = path
        self._timeout_s = timeout_s
        self._is_needed = is_needed
        self._tell = tell
        self._over = threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self._watch, name="lookout", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(self._timeout_s / _LOOKS):
            try:
                answering(self._path, self._timeout_s)
            except NoAnswer as error:
                if self._is_needed() and not self._over.is_set():
                    self._tell(f"{self._path}: {error.strerror}")
                    os._exit(TryAgain.exit_code)
            except OSError:
                continue  # who reads it says so
