"""The output of a command goes to stdout, line by line as it comes: the only place that prints."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from types import TracebackType
from typing import NoReturn, Self

from cas.commands.console import Console
from cas.commands.invocation import Done, Output
from cas.commands.pager import Pager, pager_for
from cas.errors import AGAIN, CasError, DiskFull, TryAgain
from cas.files import standard_streams
from cas.files.whole import FULL
from cas.text import printable


def print_output(output: Output, console: Console, environment: Mapping[str, str]) -> int:
    """Print the lines of a command; its exit status.

    What only tells what was done stops nothing: where it cannot be printed, it is said on stderr.

    :raises BrokenPipeError: the reader of the results has left
    :raises CasError: the results cannot be written, or what stopped the command
    """
    with closing(output), _Printer(console, environment) as printer:
        while True:
            try:
                line = next(output)
            except StopIteration as end:
                status: int = end.value
                return status
            printer.add(line)


def unwritable(error: OSError) -> CasError:
    """What to say where stdout cannot be written."""
    kind = DiskFull if error.errno in FULL else TryAgain
    said = "is closed" if error.errno == errno.EBADF else f"cannot be written: {error.strerror}"
    return kind(
        f"standard output {said}",
        hint=f"give it another place, then {AGAIN}",
    )


class _Printer:
    """Prints at once, but for results on a terminal, which may be too long for it."""

    def __init__(self, console: Console, environment: Mapping[str, str]) -> None:
        self._console = console
        self._environment = environment
        self._is_begun = False
        self._is_json = False
        self._is_lost = False
        self._pager: Pager | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with self._open:
            for text in self._pager.close() if self._pager else ():
                self._print_result(text)
        try:
            sys.stdout.flush()  # argparse has printed there too
        except OSError as failed:
            self._stop(failed)

    def add(self, line: str) -> None:
        """Print a line, or hold it until it is certain that all of them fit on the terminal."""
        if not self._is_begun:
            self._is_begun = True
            self._is_json = line.startswith(("{", "["))
            command = None if isinstance(line, Done) else pager_for(sys.stdout, self._environment)
            if command:
                self._open.enter_context(self._console.kept_back())
                self._pager = Pager(
                    command,
                    self._environment,
                    sys.stdout.encoding,
                    lambda: not self._console.is_drawing,
                )
        # JSON says no more than it was told
        text = printable(line if self._is_json else self._console.worded(line))
        if self._pager:
            self._pager.add(text)
        elif isinstance(line, Done):
            self._print_done(text)
        else:
            self._print_result(text)

    def _print_result(self, text: str) -> None:
        """:raises CasError: it cannot be written"""
        try:
            self._console.print_result(text, sys.stdout)
        except OSError as error:
            self._stop(error)

    def _stop(self, error: OSError) -> NoReturn:
        standard_streams.silence(standard_streams.STDOUT)
        if isinstance(error, BrokenPipeError):
            raise error
        raise unwritable(error) from error

    def _print_done(self, text: str) -> None:
        """Print what was done; where that cannot be, say it."""
        if self._is_lost:
            self._console.say(text)
            return
        try:
            self._console.print_result(text, sys.stdout)
        except OSError as error:
            standard_streams.silence(standard_streams.STDOUT)
            if not isinstance(error, BrokenPipeError):
                self._is_lost = True
                self._console.is_quiet = False  # what it says is the result now
                self._console.warn(str(unwritable(error)))
                self._console.say(text)
