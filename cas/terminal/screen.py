"""The user's own terminal: raw while a debugger has it, and as it was before at every end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from cas.terminal import guard
from cas.terminal.session import Size

READ_BYTES = 4 << 10
USUAL = Size(80, 24)
GUARD_S = 5.0
"""Seconds for the guard's end, once it was told that it is not needed."""


class Screen:
    """A terminal in front of which somebody sits."""

    def __init__(self, keys: int = 0, shown: int = 1) -> None:
        """Take over two descriptors.

        :param keys: of the terminal, for reading
        :param shown: for writing; need not be the same
        """
        self._keys = keys
        self._shown = shown
        self._before: list[Any] = []
        self._woken, self._waker = -1, -1

    @property
    def size(self) -> Size:
        """How large the window is now."""
        for descriptor in (self._keys, self._shown):
            with suppress(OSError):
                columns, rows = os.get_terminal_size(descriptor)
                if columns and rows:
                    return Size(columns, rows)
        return USUAL

    @contextmanager
    def raw(self) -> Iterator[None]:
        """Hand every key on as it is pressed, Ctrl-C and Ctrl-Z too, for a ``with`` block.

        Signals that end a program end the block by an exception; one that stops it finds the
        terminal as it was, and the terminal is raw again when the program goes on. When we are
        killed a process of its own sets it back.
        """
        self._before = termios.tcgetattr(self._keys)
        with _guarded_terminal(self._keys, self._before), self._handling_signals():
            try:
                self._make_raw()
                yield
            finally:
                self._restore()

    @contextmanager
    def _handling_signals(self) -> Iterator[None]:
        """Handle the signals that concern a terminal, and be woken by all."""

        def stop_process(_number: int, _frame: FrameType | None) -> None:
            self._restore()
            # the whole process, at once: the handler for going on makes the terminal raw again
            os.kill(os.getpid(), signal.SIGSTOP)

        def continue_process(_number: int, _frame: FrameType | None) -> None:
            with suppress(termios.error):
                self._make_raw()
            self.wake()

        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        handlers = {
            number: signal.signal(number, handle)
            for number, handle in (
                (signal.SIGWINCH, lambda _number, _frame: self.wake()),
                (signal.SIGTSTP, stop_process),
                (signal.SIGCONT, continue_process),
                (signal.SIGQUIT, signal.default_int_handler),
            )
        }
        # a signal that comes just before `select` waits would not be seen otherwise
        woken_before = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken_before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.close(self._woken)
            os.close(self._waker)

    def read(self) -> bytes | None:
        """Keys, as soon as there are any; ``None`` when something else happened meanwhile.

        ``b""``: the terminal is gone.
        """
        ready, _, _ = select.select([self._keys, self._woken], [], [])
        if self._woken in ready:
            os.read(self._woken, READ_BYTES)
            return None
        try:
            return os.read(self._keys, READ_BYTES)
        except OSError:  # it was hung up
            return b""

    def wake(self) -> None:
        """Let `read` return; from any thread."""
        with suppress(OSError):
            os.write(self._waker, b"!")

    def show(self, data: bytes) -> None:
        """Write all of it.

        :raises BrokenPipeError: nobody looks any more
        """
        while data:
            select.select([], [self._shown], [])
            with suppress(BlockingIOError):
                data = data[os.write(self._shown, data) :]

    def _make_raw(self) -> None:
        tty.setraw(self._keys, termios.TCSADRAIN)

    def _restore(self) -> None:
        with suppress(termios.error):
            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)


@contextmanager
def _guarded_terminal(terminal: int, before: list[Any]) -> Iterator[None]:
    """Have somebody set a terminal back if we are killed within a ``with`` block."""
    inherited = os.dup(terminal)  # most often it is our standard input, and the guard's is another
    try:
        process = subprocess.Popen(
            guard.words(inherited, before),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(inherited,),
            start_new_session=True,
        )
    except OSError:  # no more processes: then nobody does
        yield
        return
    finally:
        os.close(inherited)
    try:
        yield
    finally:
        try:
            process.communicate(guard.FAREWELL, GUARD_S)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
