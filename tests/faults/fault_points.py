"""Every call of a run that changes a file, listed by strace, and how strace makes it fail."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

CALLS = (
    *("openat", "write", "writev", "pwrite64", "pwritev", "copy_file_range", "sendfile", "ioctl"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
    *("link", "linkat", "symlink", "symlinkat", "truncate", "ftruncate", "fallocate"),
    *("fsync", "fdatasync", "chmod", "fchmod", "fchmodat"),
)
KINDS = {"kill": "signal=SIGKILL", "ENOSPC": "error=ENOSPC", "EIO": "error=EIO"}
"""What is done to a call."""
STAMP = re.compile(r"\d{4}(\.\d\d){5}(?:\.\d{6})?")
STAMP_FORMAT = "%Y.%m.%d.%H.%M.%S"
_LINE = re.compile(r"(?P<task>\d+) (?P<call>\w+)\((?P<words>.*)")
_NAMED = re.compile(r'^(?:AT_FDCWD(?:<[^>]*>)?, )?"([^"]*)"')
_OPEN = re.compile(r"^\d+<([^>]*)>")
_ANSWER = re.compile(r"/answers/\d")
"""Below it the time has microseconds."""
_RANDOM = re.compile(r"(\.new-|\.partial-|/tmp/cas-|/tmp/)[a-z0-9_]{8}(?![a-z0-9_])")
_WRITES = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC)")
_SECONDS_AHEAD = 30


@dataclass(frozen=True, slots=True)
class Point:
    """One call at which a run is disturbed."""

    call: str
    name: str
    """The path with placeholders for what differs between runs."""
    number: int
    """Of this call on this path, from 1 on."""
    in_main: bool
    """Whether the main thread makes it."""
    index: int
    """Of the call among all calls of this kind that its thread makes, from 1 on."""
    path: str

    @property
    def key(self) -> tuple[str, str, int]:
        """What is the same in every run."""
        return self.call, self.name, self.number

    def options(self, kind: str, now: datetime) -> list[str]:
        """strace's options that disturb this call.

        The main thread is traced alone, and its calls are counted. A call of another thread, and
        one that opens a file, is told by its path; the directory of the job is named by a second
        that is still to come.
        """
        by_path = not (_RANDOM.search(self.path) or _ANSWER.search(self.path))
        # how many files are opened for reading differs a little from run to run
        if self.in_main and not (by_path and self.call == "openat"):
            return [f"-etrace={self.call}", f"-einject={self.call}:{KINDS[kind]}:when={self.index}"]
        chosen = f"-einject={self.call}:{KINDS[kind]}:when="
        follow = ["-f", "-bexecve", f"-etrace={self.call}"]
        if not by_path:
            return [*follow, f"{chosen}{self.index}"]
        paths = [f"-P{path}" for path in _candidates(self.path, now)]
        return [*follow, *paths, f"{chosen}{self.number}"]


def listing(trace: Path) -> list[str]:
    """strace's options that list every call of our own process."""
    return ["-f", "-bexecve", "-y", f"-etrace={','.join(CALLS)}", "-o", str(trace)]


def points(lines: Iterable[str]) -> Iterator[Point]:
    """The calls that change a file, in the order of a run."""
    per_task: Counter[tuple[str, str]] = Counter()
    per_path: Counter[tuple[str, str]] = Counter()
    main = None
    for line in lines:
        found = _LINE.match(re.sub(r"\s+", " ", line))
        if not found:
            continue
        task, call, words = found["task"], found["call"], found["words"]
        main = main or task
        per_task[task, call] += 1
        path = _changed(call, words)
        if path:
            name = nameless(path)
            per_path[call, name] += 1
            in_main = task == main
            index = per_task[task, call]
            yield Point(call, name, per_path[call, name], in_main, index, path)


def nameless(path: str) -> str:
    """A path with placeholders for what differs between runs."""
    return _RANDOM.sub(r"\1*", STAMP.sub("JOB", path))


def _changed(call: str, words: str) -> str | None:
    """The file that a call changes; ``None`` when it changes none."""
    if call == "openat" and not _WRITES.search(words):
        return None
    if call == "ioctl" and "FICLONE" not in words:
        return None
    if call == "copy_file_range":
        words = words.partition("], ")[2]
    found = _NAMED.match(words) or _OPEN.match(words)
    path = found[1] if found else ""
    return path if path.startswith("/") and not path.startswith(("/dev/", "/proc/")) else None


def _candidates(path: str, now: datetime) -> Sequence[str]:
    if not STAMP.search(path):
        return [path]
    seconds = (now + timedelta(seconds=ahead) for ahead in range(_SECONDS_AHEAD))
    return [STAMP.sub(second.strftime(STAMP_FORMAT), path) for second in seconds]
