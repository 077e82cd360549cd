"""crash for a program or a file: lines go in as they come, what crash writes comes out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from cas.engines.opening import Opening
from cas.errors import EngineError, HostLost
from cas.supervise import Dialogue

WAIT_S = 1.0
EXIT_S = 5.0
"""Between the end of its output and its own."""


class Piped:
    """A crash whose stdin and stdout are pipes; it shows no prompts there."""

    def __init__(self, child: Dialogue) -> None:
        """Take over a crash that was just started."""
        self._child = child
        self._first = b""
        """What it wrote behind our commands, before it was told anything."""

    def open(self, opening: Opening, timeout_s: float) -> None:
        """Wait until it has read the dump and the commands of ours.

        :raises EngineError: it did not open the dump
        """
        self._child.send(opening.text)
        self._first = opening.wait(self._child.read, self._end, timeout_s)

    def converse(self, feed: Iterable[bytes], show: Callable[[bytes], object]) -> int:
        """Hand everything on, both ways, until crash ends; its exit status, negative for a signal.

        :param feed: what it is told; a thread waits for it, and nobody for that
        :param show: takes what it writes
        :raises HostLost: its machine cannot be reached any more
        :raises EngineError: it was ended by the watchdog
        """
        threading.Thread(target=self._tell, args=(feed,), name="stdin", daemon=True).start()
        if self._first:
            show(self._first)
        while (data := self._child.read(WAIT_S)) != b"":
            if data:
                show(data)
            elif self._child.fault:
                raise EngineError(f"crash was ended: {self._child.fault}")
        return self._end()[0]

    def _tell(self, feed: Iterable[bytes]) -> None:
        """Send all of it, and in the end ``exit``: at the end of its input crash would fail."""
        last = b"\n"
        # whoever reads its output finds out by himself
        with suppress(HostLost, OSError, ValueError):
            for data in feed:
                if not self._child.send(data):
                    return
                last = data[-1:] or last
            self._child.send(b"exit\n" if last == b"\n" else b"\nexit\n")

    def _end(self) -> tuple[int, str]:
        status = self._child.wait(EXIT_S)
        return self._child.stop() if status is None else status, self._child.stderr
