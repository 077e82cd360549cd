"""A supervised program on a host: a dialogue with it, and a watch over it."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Self

from cas.hosts.session.program import Program, SessionContext
from cas.supervise import Watchdog
from cas.text import printable

STATE_BYTES = 8 << 20


class RemoteChild:
    """A running program on a host, with pipes to its stdin and from its stdout and stderr.

    A :class:`cas.supervise.dialogue.Dialogue`, and a context manager: at its end the program and
    everything that it started are gone.
    """

    def __init__(self, context: SessionContext, argv: Sequence[str], files: Sequence[str]) -> None:
        """Start the program.

        :param files: on the host, that it reads
        :raises HostUnfit: the host cannot start it
        """
        self.argv = list(argv)
        self.fault: str | None = None
        """Why the watchdog wants it ended; known after :meth:`read` returned ``None``."""
        self.stopped: str | None = None
        """Never known of a program elsewhere."""
        self._program = Program(context, context.start_words(argv, files, "dumb"))
        self._watch = Watchdog(
            lambda: (context.lease.ticks, context.lease.processes), context.rules
        )
        self._pid: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Process id there, or of its sandbox if it ended before anybody asked."""
        program = self._program
        if self._pid is None and program.context.bwrap_kind != "none":
            said = program.context.ask_guard("pid", program.shell)
            found = re.fullmatch(rb"(\d{1,9})\n", said)
            self._pid = int(found[1]) if found else None
        return self._pid or int(program.first_pid)

    @property
    def grace_s(self) -> float:
        """Seconds between a request to stop and the kill."""
        return self._watch.grace_s

    @property
    def stderr(self) -> str:
        """The last of what it wrote to stderr, up to 16 KiB."""
        return self._program.stderr.decode("utf-8", "replace")

    def send(self, data: bytes) -> bool:
        """Write to its stdin; ``False`` when it does not listen any more."""
        self.fault = None
        self._watch.note_activity()
        return self._program.write(data, self._watch.why_to_end)

    def close_stdin(self) -> None:
        """Let it see the end of its input."""
        with self._program.context.guard.link.errors_translated():
            self._program.channel.shutdown_write()

    def read(self, timeout_s: float) -> bytes | None:
        """What it wrote to stdout next, up to 64 KiB.

        :return: ``b""`` at the end of its output, ``None`` when nothing came in time, or when the
            watchdog wants the program ended, see ``fault``
        """
        deadline = time.monotonic() + timeout_s
        while True:
            left = max(0.0, deadline - time.monotonic())
            complaints = self._program.stderr_bytes
            data = self._program.read(min(left, self._watch.interval_s))
            if data is not None or self._program.stderr_bytes != complaints:
                self._watch.note_activity()
            if data is not None:
                return data
            self.fault = self._watch.why_to_end()
            if self.fault or left == 0:
                return None

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status, negative for a signal; ``None`` when it does not end in time."""
        return self._program.wait(timeout_s)

    def interrupt(self) -> None:
        """Send SIGINT to the program and all that it started, as Ctrl-C would."""
        self._program.send_signal(signal.SIGINT)

    def stop(self) -> int:
        """Ask it to end, and after the stop interval kill it; its exit status."""
        self._program.send_signal(signal.SIGTERM)
        self._program.wait(self.grace_s)
        return self.end()

    def end(self) -> int:
        """Kill it and everything that it started; its exit status."""
        return self._program.end()

    def state(self) -> Iterator[str]:
        """What ``/proc`` there shows of its processes, in lines, for a trace file."""
        context = self._program.context
        shown = context.ask_guard("show", self._program.shell, max_bytes=STATE_BYTES)
        yield ""
        yield f"On {context.guard.link.name}:"
        yield from printable(shown).rstrip("\n").split("\n") if shown else ["none is left"]
