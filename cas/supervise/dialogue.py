"""What a debugger session needs of a running program, here or on another machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol


class Dialogue(Protocol):
    """A program with a pipe to its stdin and one from its stdout, and a watch over it.

    :raises HostLost: from any call, when the machine that it runs on cannot be reached any more
    """

    @property
    def argv(self) -> Sequence[str]:
        """The words that started it."""

    fault: str | None
    """Why the watchdog wants it ended; known after :meth:`read` returned ``None``."""

    stopped: str | None
    """Which signal had stopped it then, in a few words: that is no fault of its own."""

    @property
    def pid(self) -> int:
        """Process id, on its machine."""

    @property
    def grace_s(self) -> float:
        """Seconds between a request to stop and the kill."""

    @property
    def stderr(self) -> str:
        """The last of what it wrote to stderr."""

    def send(self, data: bytes) -> bool:
        """Write to its stdin; ``False`` when it does not listen any more."""

    def close_stdin(self) -> None:
        """Let it see the end of its input."""

    def read(self, timeout_s: float) -> bytes | None:
        """What it wrote to stdout next; ``b""`` at the end, ``None`` when nothing came in time."""

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status, negative for a signal; ``None`` when it does not end in time."""

    def interrupt(self) -> None:
        """What Ctrl-C would do."""

    def stop(self) -> int:
        """Ask it to end, then kill it; its exit status."""

    def end(self) -> int:
        """Kill it and all that it started; its exit status."""

    def state(self) -> Iterator[str]:
        """What can be seen of its processes, in lines, for a trace file."""
