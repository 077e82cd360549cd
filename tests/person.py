"""A person in front of a terminal, who types, looks, and changes the size of the window."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from installed import COMMANDS, Site

PATIENCE_S = 120.0


class Person:
    """Somebody who runs a program on a terminal; `seen` is all that it wrote there."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, slave: int) -> None:
        self.process = process
        self.seen = b""
        self._master = master
        self._slave = slave
        self._before = termios.tcgetattr(slave)
        self._read_to = 0

    @property
    def is_terminal_as_before(self) -> bool:
        now: list[Any] = termios.tcgetattr(self._slave)
        return now == self._before

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def wait_for(self, text: bytes) -> bytes:
        """What came up to a text that was not waited for before."""
        deadline = time.monotonic() + PATIENCE_S
        while (at := self.seen.find(text, self._read_to)) < 0:
            assert time.monotonic() < deadline, (text, self.seen[self._read_to :])
            assert self._look() or self.process.poll() is None, (text, self.seen[self._read_to :])
        begun, self._read_to = self._read_to, at + len(text)
        return self.seen[begun:at]

    def press_until(self, keys: bytes, text: bytes) -> None:
        """Press keys, each second again, until a text comes."""
        deadline = time.monotonic() + PATIENCE_S
        pressed = 0.0
        while (at := self.seen.find(text, self._read_to)) < 0:
            now = time.monotonic()
            assert now < deadline, (text, self.seen[self._read_to :])
            if now - pressed > 1:
                self.press(keys)
                pressed = now
            self._look()
        self._read_to = at + len(text)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        # the kernel tells the terminal's foreground group; there is none without a shell
        self.process.send_signal(signal.SIGWINCH)

    def use_as_a_shell(self) -> None:
        """Set the terminal as a shell does that edits its command line."""
        now = termios.tcgetattr(self._slave)
        now[1] |= termios.OPOST
        now[3] |= termios.ISIG
        termios.tcsetattr(self._slave, termios.TCSADRAIN, now)

    def wait_until_raw(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self.is_terminal_as_before:
            assert time.monotonic() < deadline
            self._look()

    def wait_until_as_before(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self.is_terminal_as_before:
            assert time.monotonic() < deadline
            self._look()

    def status(self) -> int:
        """The program's exit status, once it has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.seen[self._read_to :]
            self._look()
        while self._look():
            pass
        return self.process.returncode

    def _look(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 0.05)
        if ready:
            self.seen += os.read(self._master, 1 << 16)
        return bool(ready)


@contextlib.contextmanager
def person(
    site: Site, *words: str | Path, program: str = "cas", columns: int = 80, rows: int = 24
) -> Iterator[Person]:
    """A person who runs ``cas``."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    site.environment = {"TERM": "vt100", **site.environment}
    process = subprocess.Popen(
        [COMMANDS / program, *words],
        env=site.prepared(),
        cwd=site.directory,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    try:
        yield Person(process, master, slave)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE_S)
        os.close(master)
        os.close(slave)
