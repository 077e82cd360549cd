"""A program on a terminal of its own on a host, for a person who debugs there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from cas.errors import HostLost
from cas.hosts.session.guard import ENDING_S
from cas.hosts.session.program import Program, SessionContext
from cas.terminal import Size, Window


class RemoteTerminal:
    """A :class:`cas.terminal.session.Terminal`."""

    def __init__(
        self, context: SessionContext, argv: Sequence[str], files: Sequence[str], window: Window
    ) -> None:
        """Start the program.

        :param files: on the host, that it reads
        :raises HostUnfit: the host cannot start it
        """
        # the shell there would split other words
        term = window.term if re.fullmatch(r"[A-Za-z0-9._+-]{1,64}", window.term) else "dumb"
        self._program = Program(context, context.start_words(argv, files, term), window)

    def read(self, timeout_s: float) -> bytes | None:
        """What it wrote next; ``b""`` when it has ended, ``None`` when nothing came in time."""
        return self._program.read(timeout_s)

    def write(self, data: bytes) -> None:
        """Keys that were pressed; nothing happens once the program has ended."""
        self._program.write(data, lambda: None)

    def resize(self, size: Size) -> None:
        """The window has another size now."""
        with self._program.context.guard.link.errors_translated():
            if not self._program.channel.closed:
                self._program.channel.resize_pty(*size)

    def wait(self) -> int:
        """Its exit status, negative for a signal; called after `read` gave ``b""``."""
        status = self._program.wait(ENDING_S)
        return self._program.end() if status is None else status

    def fileno(self) -> int:
        """Readable when there is something to read."""
        return self._program.channel.fileno()

    def close(self) -> None:
        """End it and all that it started; may be called twice, and while another thread reads."""
        with suppress(HostLost):
            self._program.end()
        self._program.channel.close()
