"""Between a user's terminal and a debugger's: keys go one way, harmless output the other."""

from __future__ import annotations

import threading
from contextlib import suppress

from cas.errors import CasError, HostLost
from cas.terminal.harmless import Harmless
from cas.terminal.screen import Screen
from cas.terminal.session import Terminal

WAIT_S = 1.0
"""Seconds for output, before a look whether the relay is over."""


class Relay:
    """One session of a user with a debugger."""

    def __init__(self, session: Terminal, screen: Screen) -> None:
        """Prepare; nothing is read yet."""
        self._session = session
        self._screen = screen
        self._filter = Harmless()
        self._is_over = threading.Event()
        self._failure: CasError | OSError | None = None

    def relay(self, first: bytes = b"") -> int:
        """Relay until the debugger ends; its exit status, negative for a signal.

        :param first: of its output, read already
        :raises HostLost: its machine cannot be reached any more
        """
        with self._screen.raw():
            reader = threading.Thread(target=self._show_output, args=(first or None,), daemon=True)
            try:
                reader.start()
                self._hand_over_keys()
            finally:
                if not self._is_over.is_set():
                    self._session.close()
                # with a limit: a signal may have come before the reader had begun
                self._is_over.wait(2 * WAIT_S)
                with suppress(OSError):
                    self._screen.show(self._filter.undo())
        if self._failure:
            raise self._failure
        return self._session.wait()

    def _hand_over_keys(self) -> None:
        while not self._is_over.is_set():
            keys = self._screen.read()
            if self._is_over.is_set() or keys == b"":
                return
            with suppress(HostLost):  # whoever reads its output finds out as well
                if keys is None:
                    self._session.resize(self._screen.size)
                else:
                    self._session.write(keys)

    def _show_output(self, output: bytes | None) -> None:
        """The other direction, in a thread."""
        try:
            while output != b"":
                if output:
                    self._screen.show(self._filter.feed(output))
                output = self._session.read(WAIT_S)
        except (CasError, OSError) as error:
            self._failure = error
        finally:
            self._is_over.set()
            self._screen.wake()
