"""Long results on a terminal, by the program with which its reader reads long texts."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

USUAL = "less"
"""Where ``PAGER`` is not set, as with most programs."""
OPTIONS = {"LESS": "FRX", "LV": "-c"}
"""Unless the reader has his own: end where all fits, leave the text on the screen, show colours."""


def pager_for(stream: TextIO, environment: Mapping[str, str]) -> list[str] | None:
    """The command of the reader's pager; ``None`` where none is of use."""
    if not stream.isatty() or environment.get("TERM") == "dumb":
        return None
    try:
        argv = shlex.split(environment.get("PAGER", USUAL))
    except ValueError:  # quotes that do not end
        return None
    program = shutil.which(argv[0]) if argv else None
    return None if program is None or argv == ["cat"] else [program, *argv[1:]]


class Pager:
    """Shows lines as they come once they do not fit on the terminal; until then it holds them."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        encoding: str,
        may_begin: Callable[[], bool],
    ) -> None:
        """Begin with no line.

        :param command: the reader's pager, as `pager_for` gives it
        :param may_begin: whether nothing else draws on the terminal now
        """
        self._command = command
        self._environment = {**OPTIONS, **environment}
        self._encoding = encoding
        self._may_begin = may_begin
        self._lines: list[str] = []
        self._rows = 0
        self._reader: subprocess.Popen[bytes] | None = None
        self._interrupted: Any = None

    def add(self, line: str) -> None:
        """Show a line, or hold it."""
        self._lines.append(line)
        size = shutil.get_terminal_size()
        self._rows += sum(max(1, -(-len(part) // size.columns)) for part in line.split("\n"))
        if self._reader is not None:
            self._send_line(line)
        elif self._rows >= size.lines and self._may_begin():
            # Ctrl-C stops a search in the pager, not us below it
            self._interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                self._reader = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, env=self._environment
                )
            except OSError:
                signal.signal(signal.SIGINT, self._interrupted)
                self._may_begin = lambda: False
                return
            for each in self._lines:
                self._send_line(each)

    def close(self) -> Sequence[str]:
        """Wait until all is read.

        :return: the lines, if nobody was shown them: they fit, or the pager has failed
        """
        if self._reader is None:
            return self._lines
        try:
            with suppress(BrokenPipeError):
                self._reader.communicate()
            return self._lines if self._reader.wait() else ()
        finally:
            signal.signal(signal.SIGINT, self._interrupted)

    def _send_line(self, line: str) -> None:
        assert self._reader is not None  # noqa: S101  it has begun
        assert self._reader.stdin is not None  # noqa: S101  a pipe
        with suppress(BrokenPipeError):  # it was read as far as somebody wanted
            self._reader.stdin.write(f"{line}\n".encode(self._encoding, "backslashreplace"))
            self._reader.stdin.flush()
