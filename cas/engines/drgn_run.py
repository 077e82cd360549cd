"""A snippet's commands through drgn's crash-compatible command set, into one output file."""

from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path

from drgn import Program

from cas.engines import drgn_commands

IGNORED = frozenset({"", "exit", "quit", "q"})
FLUSH_INTERVAL_S = 0.2


class Full(BaseException):
    """The output has reached its limit; not for drgn's own handlers to catch."""


class Output(io.TextIOBase):
    """A bounded text file that a killed process leaves nearly complete.

    Without a file descriptor, so that drgn starts no pager.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open the file for appending.

        :param max_bytes: of the whole file
        """
        self._file = path.open("ab")
        self._left = max_bytes - self._file.tell()
        self._flushed = time.monotonic()

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Append text as UTF-8.

        :raises Full: it does not fit; as much as fits is written
        """
        data = text.encode("utf-8", "replace")
        self._file.write(data[: max(self._left, 0)])
        self._left -= len(data)
        if self._left < 0:
            raise Full
        if time.monotonic() - self._flushed > FLUSH_INTERVAL_S:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Give the operating system what was written."""
        if not self._file.closed:
            self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write the rest."""
        self._file.close()
        super().close()


def run_command(prog: Program, command: str, output: Output) -> str | None:
    """Run a command; what went wrong, in a sentence, is also written into the output.

    :raises Full: the output has reached its limit
    """
    if command.strip() in IGNORED:
        return None
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            drgn_commands.run(prog, command)
        except (Exception, SystemExit) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            reason = reason.removeprefix(f"{command.split(maxsplit=1)[0]}: ")
            output.write(f"{command}: {reason}\n")
            return reason
    return None
