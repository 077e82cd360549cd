"""A snippet's commands through drgn's crash-compatible command set, into one output file."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Mapping
from typing import IO, NamedTuple

from drgn import FaultError, Program

from cas.engines.drgn.child import commands
from cas.engines.drgn.child.target import NOT_THE_KERNELS
from cas.text import plain_fault

IGNORED = frozenset({"", "exit", "quit", "q"})
FLUSH_INTERVAL_S = 0.2
STARVED = "MemoryError"
"""Last line of drgn's own report when an expression needed too much memory."""


class Failure(NamedTuple):
    """Why a command gave no answer, or not the whole one."""

    reason: str
    """A sentence."""
    lacks_memory: bool
    """It wanted memory that the dump does not have."""


class Full(BaseException):
    """The output has reached its limit; not for drgn's own handlers to catch."""


class Output(io.TextIOBase):
    """A bounded text file that a killed process leaves nearly complete.

    Without a file descriptor, so that drgn starts no pager.
    """

    def __init__(self, file: IO[bytes], max_bytes: int, names: Mapping[str, str]) -> None:
        """Take over a file that is open for appending.

        :param names: what to call what drgn calls otherwise
        """
        self._file = file
        self._names = names
        self._left = max_bytes
        self._flushed = time.monotonic()
        self.last = ""
        """What was written last."""

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Append text as UTF-8.

        :raises Full: it does not fit; as much as fits is written
        """
        for wrong, right in self._names.items():
            text = text.replace(wrong, right)
        self.last = text.strip() or self.last
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


def run_command(prog: Program, command: str, output: Output) -> Failure | None:
    """Run a command; what went wrong is also written into the output.

    :raises Full: the output has reached its limit
    :raises MemoryError: the command has reached the memory limit
    """
    if command.strip() in IGNORED:
        return None
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            commands.run_command_of_crash(prog, command)
            if output.last == STARVED:
                raise MemoryError
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:
            reason = plain_fault(" ".join(str(error).split())) or type(error).__name__
            reason = reason.removeprefix(f"{command.split(maxsplit=1)[0]}: ")
            output.write(f"{command}: {reason}\n")
            fault: BaseException | None = error
            while fault is not None and not isinstance(fault, FaultError):
                fault = fault.__cause__ or fault.__context__
            # a NULL pointer means no memory that is not there
            least = NOT_THE_KERNELS.get(prog.platform.arch, 0) if prog.platform else 0
            return Failure(reason, fault is not None and int(fault.address) >= least)
    return None
