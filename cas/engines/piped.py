"""A debugger for a program or a file: lines go in as they come, what it writes comes out."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from cas.engines.crash.conversation import how_it_ended
from cas.errors import EngineError, HostLost, KernelMisfit
from cas.supervise import Dialogue

WAIT_S = 1.0
EXIT_S = 5.0
"""Seconds between the end of its output and its own."""


GREETING_BYTES = 64 << 10
LINE_BYTES = 200
_UNKNOWN = re.compile(
    rb"crash: (?:command not found: (\S+)|(\S+): command not available in minimal mode)"
)
"""What crash says of a command that it does not have."""


class PipedDebugger:
    """A crash or drgn whose stdin and stdout are pipes; it shows no prompts there."""

    def __init__(self, child: Dialogue, name: str) -> None:
        """Take over a debugger that was just started.

        :param name: how to call it
        """
        self._child = child
        self._name = name
        self._told = set[bytes]()
        self._line = b""
        """The beginning of a line that it has not ended yet."""
        self._unknown = dict[bytes, None]()
        self._first = b""
        """What it wrote behind the greeting, before it was told anything."""

    @property
    def unknown(self) -> list[str]:
        """Commands that crash was told and does not have, as far as it was heard."""
        return [name.decode("utf-8", "replace") for name in self._unknown]

    def greeting(self, timeout_s: float) -> list[str]:
        """Wait until drgn has read the dump; what a reader should know of that.

        :raises KernelMisfit: what is read through the vmlinux is not what the dump says
        :raises EngineError: it did not open the dump
        """
        deadline = time.monotonic() + timeout_s
        said = bytearray()
        while (end := said.find(b"\n")) < 0:
            data = self.read(max(0.0, deadline - time.monotonic()))
            if data is None or len(said) > GREETING_BYTES:
                raise EngineError(f"drgn is not ready after {timeout_s:g} s")
            if not data:
                status, beside = self.end()
                raise EngineError(how_it_ended("drgn", status, beside))
            said += data
        self._first = bytes(said[end + 1 :])
        message = json.loads(said[:end])
        if message.get("misfit"):
            raise KernelMisfit(message["failed"])
        if "failed" in message:
            raise EngineError(f"drgn cannot open the dump: {message['failed']}")
        return list(message["remarks"])

    def send(self, data: bytes) -> None:
        """Tell it something before the conversation."""
        self._child.send(data)

    def read(self, timeout_s: float) -> bytes | None:
        """What it wrote next; ``b""`` at the end, ``None`` when nothing came in time.

        :raises EngineError: it was ended by the watchdog
        """
        data = self._child.read(timeout_s)
        if data is None and self._child.fault:
            raise EngineError(f"{self._name} was ended: {self._child.fault}")
        return data

    def converse(
        self, feed: Iterable[bytes], show: Callable[[bytes], object], first: bytes = b""
    ) -> int:
        """Hand everything on, both ways, until it ends; its exit status, negative for a signal.

        :param feed: what it is told; a thread waits for it, and nobody for that
        :param show: takes what it writes
        :param first: of that, read already
        :raises HostLost: its machine cannot be reached any more
        :raises EngineError: it was ended by the watchdog
        """
        threading.Thread(target=self._send_feed, args=(feed,), name="stdin", daemon=True).start()
        data: bytes | None = first or self._first or None
        while data != b"":
            if data:
                *lines, last = (self._line + data).split(b"\n")
                self._line = last[:LINE_BYTES]
                names = (each[1] or each[2] for each in map(_UNKNOWN.match, lines) if each)
                # a kernel log may hold such a line as well
                self._unknown.update(dict.fromkeys(name for name in names if name in self._told))
                show(data)
            data = self.read(WAIT_S)
        return self.end()[0]

    def _send_feed(self, feed: Iterable[bytes]) -> None:
        """Send all of it, and the end: where its input only ends, crash fails."""
        is_crash = self._name == "crash"
        last = b"\n"
        # whoever reads its output finds out by himself
        with suppress(HostLost, OSError, ValueError):
            for data in feed:
                if is_crash:
                    self._told.update(data.split())
                if not self._child.send(data):
                    return
                last = data[-1:] or last
            if is_crash:
                self._child.send(b"exit\n" if last == b"\n" else b"\nexit\n")
            else:
                self._child.close_stdin()

    def end(self) -> tuple[int, str]:
        """End it, of which all is read: its status, and what it wrote to stderr."""
        status = self._child.wait(EXIT_S)
        return self._child.stop() if status is None else status, self._child.stderr
