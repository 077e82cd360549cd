"""The standard streams of the process, whatever a caller, a disk or a terminal did to them.

What goes to stderr is a courtesy: that it cannot be written stops nothing. What goes to stdout is
the result, and whoever writes it hears of a failure.
"""

from __future__ import annotations

import io
import os
import select
import sys

STDIN, STDOUT, STDERR = range(3)


class Waiting(io.FileIO):
    """A descriptor that may be non-blocking: it belongs to others, too, which made it so."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write something, as soon as there is room."""
        while (written := super().write(data)) is None:
            ready = select.poll()
            ready.register(self.fileno(), select.POLLOUT)
            ready.poll()
        return written


class Unfailing(Waiting):
    """A descriptor that takes everything, also where its reader, its disk or its terminal went."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write something; what cannot be written is dropped."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def establish() -> None:
    """Make the three streams usable, before anything is opened.

    A closed descriptor is opened on ``/dev/null``: it would become that of the next file, which
    then held what is meant for a person.
    """
    for number in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = open(STDIN, closefd=False)  # noqa: SIM115
    sys.stdout = _text(Waiting(STDOUT, "w", closefd=False))
    sys.stderr = _text(Unfailing(STDERR, "w", closefd=False))


def silence(number: int) -> None:
    """Let everything that is still written to a descriptor go nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _text(raw: io.FileIO) -> io.TextIOWrapper:
    # a terminal need not know every letter
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=None,
        errors="backslashreplace",
        line_buffering=raw.fileno() == STDERR or raw.isatty(),
    )
