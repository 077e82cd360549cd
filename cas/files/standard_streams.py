"""The standard streams of the process, whatever a caller, a disk or a terminal did to them.

What goes to stderr is a courtesy: that it cannot be written stops nothing. What goes to stdout is
the result, and whoever writes it hears of a failure.
"""

from __future__ import annotations

import fcntl
import io
import os
import sys
from typing import TextIO

STDIN, STDOUT, STDERR = range(3)


class Unfailing(io.TextIOWrapper):
    """Text that may be lost: where its reader, its disk or its terminal went, it goes nowhere.

    It is caught here, not below the buffer: an interruption there would have a line written twice.
    """

    def write(self, text: str) -> int:
        """Write it; what cannot be written is dropped, and so is everything that follows."""
        try:
            return super().write(text)
        except OSError:
            silence(self.fileno())
            return len(text)

    def flush(self) -> None:
        """Write what was kept back."""
        try:
            super().flush()
        except OSError:
            silence(self.fileno())


def prepare() -> None:
    """Make the three streams usable, before anything is opened.

    A closed descriptor is opened on ``/dev/null``: it would become that of the next file, which
    then held what is meant for a person. Of stdout it can only be read: who writes results there
    hears, as everywhere, that nobody gets them.
    """
    for number in (STDIN, STDOUT, STDERR):
        try:
            # a caller may have them otherwise, and we have nothing else to do
            os.set_blocking(number, True)
        except OSError:
            access = os.O_RDONLY if number == STDOUT else os.O_RDWR
            os.open(os.devnull, access)  # takes the lowest number that is free: this one
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = open(STDIN, closefd=False)  # noqa: SIM115
    # a terminal need not know every letter
    sys.stdout = _text_stream(io.TextIOWrapper, STDOUT, sys.stdout)
    sys.stderr = _text_stream(Unfailing, STDERR, sys.stderr)


def is_writable(number: int) -> bool:
    """Whether a descriptor may be written to: not stdout where it was closed."""
    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY


def silence(number: int) -> None:
    """Let everything that is still written to a descriptor go nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _text_stream(
    kind: type[io.TextIOWrapper], number: int, before: TextIO | None
) -> io.TextIOWrapper:
    return kind(
        io.BufferedWriter(io.FileIO(number, "w", closefd=False)),
        encoding=before.encoding if before else None,
        errors="backslashreplace",
        line_buffering=number == STDERR or os.isatty(number),
    )
