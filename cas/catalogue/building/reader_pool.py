"""Reading many packages side by side, by child processes that may die, or never answer."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from posixpath import dirname

from cas.catalogue.building import reading
from cas.database.records import FileStamp, PackageState, Reading
from cas.errors import TryAgain
from cas.files.patient_calls import CallThreads, NoAnswer, StallWatch, no_answer
from cas.frozen import dataclass
from cas.settings.rules import PackageRules

_HANDFUL = 16
"""Work that is done sooner than a child process has started."""
_AHEAD = 8
"""Work that a child is given before it has told of the first."""
_HEAVY_BYTES = 32 << 20
"""Of a file that may have to be read to its middle: a DEB, a plain vmlinux."""
_MEMORY_BYTES = 160 << 20
"""That a child may write to: the largest header, and the dictionary of ``xz -9``."""
_PIECE = 64 << 10
_OURS = Path(__file__).resolve().parents[3]
"""Where the child finds the modules of this program, also in a checkout."""


@dataclass(frozen=True, slots=True)
class Work:
    """A file that is to be read."""

    path: str
    stamp: FileStamp

    @property
    def weight(self) -> int:
        """How long it takes, where the header of an RPM takes 1."""
        return 1 if self.path.endswith(".rpm") else 1 + self.stamp.size_bytes // _HEAVY_BYTES


class Readers:
    """Reads files, and passes over directories in which one gave no answer."""

    def __init__(self, rules: PackageRules) -> None:
        self._rules = rules
        self.silent: dict[str, int] = {}
        """Directories that did not answer, with how many of their files were passed over."""
        self._waiting: deque[Work] = deque()
        self._children: list[_Child] = []

    def read_packages(self, work: Sequence[Work]) -> Iterator[Reading]:
        """What the files say, in any order."""
        if sum(item.weight for item in work) <= _HANDFUL:
            # a few are read by this process, in a thread that can be left behind
            call_threads = CallThreads(1, self._rules.timeout_s)
            for item in work:
                if self._passes_over(item):
                    continue
                attempt = call_threads.ask(partial(reading.read_facts, item.path))
                try:
                    facts = call_threads.result(attempt)
                except NoAnswer:
                    facts = self._no_answer(item)
                yield Reading(item.path, item.stamp, facts)
            call_threads.dismiss()
            return
        self._waiting.extend(work)
        try:
            while self._waiting or any(child.given for child in self._children):
                self._distribute()
                yield from self._hear_children()
        finally:
            for child in self._children:
                child.end_child()

    def _distribute(self) -> None:
        """Have every child busy, and as many as there may be."""
        while self._waiting:
            if self._passes_over(self._waiting[0]):
                self._waiting.popleft()
                continue
            child = min(self._children, key=lambda child: child.load, default=None)
            if child is None or (child.load and len(self._children) < self._rules.readers):
                child = _Child(self._rules.timeout_s)
                self._children.append(child)
            if child.load >= _AHEAD:
                break
            child.assign(self._waiting.popleft())
        for child in self._children:
            child.send_assigned()

    def _hear_children(self) -> Iterator[Reading]:
        """What children tell, and what becomes of those that tell nothing any more."""
        pause_s = min((child.stall_watch.pause_s for child in self._children), default=0.0)
        outputs = {child.output: child for child in self._children}
        readable, _, _ = select.select(list(outputs), [], [], pause_s)
        for output in readable:
            child = outputs[output]
            for facts in child.new_lines():
                yield child.finished(facts)
        for child in self._children[:]:
            if not child.is_gone and not child.is_silent():
                continue
            self._children.remove(child)
            is_silent = not child.is_gone
            how = child.end_child()
            if child.given:
                # The file at which it was is to blame. Another time it may be read: memory may
                # have been short.
                item = child.given[0]
                failure = reading.failure(PackageState.UNREADABLE, how)
                yield child.finished(self._no_answer(item) if is_silent else failure)
            self._waiting.extendleft(reversed(child.given))

    def _no_answer(self, item: Work) -> str:
        self.silent.setdefault(dirname(item.path), 0)
        return reading.failure(PackageState.UNREADABLE, no_answer(self._rules.timeout_s))

    def _passes_over(self, item: Work) -> bool:
        directory = dirname(item.path)
        if directory not in self.silent:
            return False
        self.silent[directory] += 1
        return True


class _Child:
    """A process that reads, and the files it has been given; it is at the first of them."""

    def __init__(self, timeout_s: float) -> None:
        """Start it.

        :raises TryAgain: the system has no room for one more process
        """
        self.given: deque[Work] = deque()
        self.load = 0
        self.is_gone = False
        self._timeout_s = timeout_s
        self._heard = b""
        self._unsent: list[str] = []
        reader = "cas.catalogue.building.reader_child"
        try:
            self._process = subprocess.Popen(
                # -P: not the modules of the directory that we happen to be in
                [sys.executable, "-P", "-m", reader, str(_MEMORY_BYTES)],
                env={**os.environ, "PYTHONPATH": str(_OURS)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=0,  # who interrupts the run does not mean the file at hand
            )
        except OSError as error:
            raise TryAgain(
                f"no program to read packages can be started: {error.strerror}"
            ) from error
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101
        self._input, self.output = self._process.stdin, self._process.stdout
        self.stall_watch = self._begun()

    def assign(self, item: Work) -> None:
        """Let it read a file after those it has, once that is sent."""
        if not self.given:
            self.stall_watch = self._begun()
        self.given.append(item)
        self.load += item.weight
        self._unsent.append(json.dumps(item.path) + "\n")

    def send_assigned(self) -> None:
        """Tell it what it has been given."""
        if self._unsent:
            text = "".join(self._unsent).encode()
            self._unsent.clear()
            with suppress(BrokenPipeError):  # its death is seen where its output ends
                self._input.write(text)
                self._input.flush()

    def finished(self, facts: str) -> Reading:
        """The first file is read."""
        item = self.given.popleft()
        self.load -= item.weight
        return Reading(item.path, item.stamp, facts)

    def new_lines(self) -> Iterator[str]:
        """What it has told since it was asked last, and finished."""
        piece = os.read(self.output.fileno(), _PIECE)
        self.is_gone = not piece
        *lines, self._heard = (self._heard + piece).split(b"\n")
        for line in lines:
            yield line.decode()

    def is_silent(self) -> bool:
        """Whether it has work, and has shown no sign of life for too long."""
        return bool(self.given) and self.stall_watch.is_over()

    def end_child(self) -> str:
        """Make an end of it, without waiting for one that the kernel does not let go.

        :return: how it ended
        """
        if not self.is_gone:
            self._process.kill()
        with suppress(OSError):
            self._input.close()
        self.output.close()
        try:
            status = self._process.wait(self._timeout_s if self.is_gone else 0.1)
        except subprocess.TimeoutExpired:
            return "the program that read it does not end"
        if status < 0:
            return f"the program that read it was ended by {signal.Signals(-status).name}"
        return f"the program that read it failed, with status {status}"

    def _begun(self) -> StallWatch:
        return StallWatch(str(self._process.pid), self._timeout_s)
