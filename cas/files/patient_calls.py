"""Calls into file systems that may never answer: a mount whose server is gone blocks for ever.

Such a call is made by a thread that can be left behind. A thread shows that it is alive by using
the processor, if only a little; one that waits in the kernel does not.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

PATIENCE_S = 30.0
"""Without an answer, where no configuration says how long to wait."""

_SLOW_S = 0.02
"""A call that takes longer waits for a disk or a server, and others can be made meanwhile; where
all is in memory, several threads would only be in each other's way."""
_LOOK_S = 1.0
"""Between two looks at what a thread or process has used of the processor."""


class NoAnswer(TimeoutError):
    """A file system did not answer in time."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(no_answer(timeout_s))
        self.strerror = str(self)


def no_answer(timeout_s: float) -> str:
    """What is said of a file or directory that keeps silent."""
    return f"no answer from the file system in {timeout_s:g} s"


class NotRegular(OSError):
    """There is something else in place of a file."""

    def __init__(self) -> None:
        super().__init__("it is no regular file")


def regular(path: Path) -> os.stat_result:
    """The state of a regular file that can be opened; a FIFO in its place is not waited for.

    :raises OSError: there is none
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise NotRegular
    # a mount whose server is gone may remember sizes
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    return state


def answering(path: Path, timeout_s: float = PATIENCE_S) -> os.stat_result:
    """The same, of a file whose file system may never answer.

    :raises NoAnswer: it does not
    :raises OSError: there is no such file
    """
    attempt = Attempt(partial(regular, path))
    threading.Thread(target=attempt.run, name="file system", daemon=True).start()
    return attempt.result(timeout_s)


class StallWatch:
    """Tells when a task has shown no sign of life for too long."""

    def __init__(self, task: str, timeout_s: float) -> None:
        """Begin to watch.

        :param task: its directory below ``/proc``, such as ``1234/task/1235``
        """
        self._file = Path("/proc", task, "schedstat")
        self._timeout_s = timeout_s
        self._used = b""
        self._changed_s = self._looked_s = time.monotonic()

    @property
    def pause_s(self) -> float:
        """How long to wait before the next look."""
        return min(_LOOK_S, self._timeout_s / 4)

    def is_over(self) -> bool:
        """Whether the task has not used the processor for the length of the timeout."""
        now_s = time.monotonic()
        if now_s - self._looked_s < self.pause_s:
            return False
        self._looked_s = now_s
        try:
            used = self._file.read_bytes()
        except OSError:  # it has ended, or this kernel keeps no such books
            used = b""
        if used != self._used:
            self._used, self._changed_s = used, now_s
        return now_s - self._changed_s >= self._timeout_s


class Attempt(Generic[Result]):
    """A call that a thread makes, sooner or later."""

    def __init__(self, call: Callable[[], Result]) -> None:
        self._call = call
        self._changed = threading.Condition()
        self._task: str | None = None
        self._outcome: Result | BaseException | None = None
        self._is_done = False

    def run(self) -> None:
        """Make the call; one of `CallThreads` does."""
        with self._changed:
            self._task = f"self/task/{threading.get_native_id()}"
            self._changed.notify()
        try:
            outcome: Result | BaseException = self._call()
        except BaseException as error:  # raised again where the result is wanted
            outcome = error
        with self._changed:
            self._outcome, self._is_done = outcome, True
            self._changed.notify()

    def is_slow(self) -> bool:
        """Whether there is no result yet after a moment."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._is_done, _SLOW_S)

    def result(self, timeout_s: float) -> Result:
        """What the call returned; what it raised is raised here.

        :param timeout_s: without a sign of life from the thread
        :raises NoAnswer: it gave none for that long
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_done or self._task is not None)
            watch = StallWatch(str(self._task), timeout_s)
            while not self._changed.wait_for(lambda: self._is_done, watch.pause_s):
                if watch.is_over():
                    raise NoAnswer(timeout_s)
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome  # type: ignore[return-value]  # `None` may be a result


class CallThreads:
    """Threads that make calls in the order in which they were asked for."""

    def __init__(self, size: int, timeout_s: float) -> None:
        """Start the first of them.

        :param size: calls that are made at a time, at most
        :param timeout_s: without a sign of life, after which a thread is left behind
        """
        self._timeout_s = timeout_s
        self._asked: SimpleQueue[Attempt[Any] | None] = SimpleQueue()
        self._size = size
        self._started = 0
        self._start()

    def ask(self, call: Callable[[], Result]) -> Attempt[Result]:
        """Have a call made."""
        attempt = Attempt(call)
        self._asked.put(attempt)
        return attempt

    def result(self, attempt: Attempt[Result]) -> Result:
        """What a call returned.

        :raises NoAnswer: the file system did not answer; another thread takes the place of the
            one that waits for it
        """
        if attempt.is_slow() and self._started < self._size:
            self._start()
        try:
            return attempt.result(self._timeout_s)
        except NoAnswer:
            self._started -= 1
            self._start()
            raise

    def dismiss(self) -> None:
        """Let the threads end that can."""
        for _ in range(self._started):
            self._asked.put(None)

    def _start(self) -> None:
        self._started += 1
        threading.Thread(target=self._make_calls, name="file system", daemon=True).start()

    def _make_calls(self) -> None:
        while (attempt := self._asked.get()) is not None:
            attempt.run()
