"""Which package files there are below a directory; nothing is opened here."""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from cas.catalogue.facts import FileStamp
from cas.errors import ConfigError, TryAgain


@dataclass(slots=True)
class Found:
    """What a walk met."""

    files: dict[Path, FileStamp] = field(default_factory=dict)
    """Matching regular files, each once however many paths lead to it."""
    unreadable: dict[Path, str] = field(default_factory=dict)
    """Directories and links that could not be followed, with the reason."""
    _hidden: set[Path] = field(default_factory=set)

    def hides(self, path: Path) -> bool:
        """Whether the file may still exist, in a directory that could not be read."""
        return any(path.is_relative_to(place) for place in self._hidden)

    def note_failure(self, path: Path, error: OSError) -> None:
        """Remember what could not be read."""
        self.unreadable[path] = error.strerror or str(error)
        if not isinstance(error, FileNotFoundError):
            self._hidden.add(path)


def walk(root: Path, pattern: re.Pattern[str]) -> Found:
    """Every matching file below a directory, symbolic links followed, no loop entered.

    Real files and directories go before symbolic links, and in order of their names: so a file
    that several paths lead to has the same path on every run, one without a link if there is one.

    :param pattern: must match the whole path
    :raises ConfigError: there is no such directory
    :raises TryAgain: it cannot be read now
    """
    root = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would replace links in it
    if not os.path.isdir(root):  # noqa: PTH112 - Path.is_dir() raises where a parent is closed
        raise ConfigError(f"kernels: {root} is not a directory that can be read")
    found = _Walk(pattern).run(root)
    if root in found.unreadable:
        raise TryAgain(f"kernels: {root} cannot be read: {found.unreadable[root]}")
    return found


class _Walk:
    """One walk: what is still to be visited, and what has been."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self._found = Found()
        self._directories: deque[Path] = deque()
        self._links: deque[Path] = deque()
        self._seen: set[tuple[int, int]] = set()

    def run(self, root: Path) -> Found:
        self._directories.append(root)
        while self._directories or self._links:
            self._visit((self._directories or self._links).popleft())
        return self._found

    def _visit(self, path: Path) -> None:
        matches = self._pattern.fullmatch(str(path)) is not None
        try:
            status = path.stat()
        except FileNotFoundError as error:
            if matches:  # a dangling link of any other name is of no interest
                self._found.note_failure(path, error)
            return
        except OSError as error:
            self._found.note_failure(path, error)
            return
        wanted = stat.S_ISDIR(status.st_mode) or (matches and stat.S_ISREG(status.st_mode))
        if not wanted or (status.st_dev, status.st_ino) in self._seen:
            return
        self._seen.add((status.st_dev, status.st_ino))
        if stat.S_ISDIR(status.st_mode):
            self._list(path)
        elif not _is_utf8(path):
            self._found.unreadable[path] = "the path is not UTF-8"
        else:
            self._found.files[path] = FileStamp(status.st_size, status.st_mtime_ns, status.st_ino)

    def _list(self, directory: Path) -> None:
        try:
            with os.scandir(directory) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            self._found.note_failure(directory, error)
            return
        for entry in entries:
            path = directory / entry.name
            if entry.is_symlink():
                self._links.append(path)
            elif entry.is_dir(follow_symlinks=False):
                self._directories.append(path)
            elif self._pattern.fullmatch(str(path)):
                self._visit(path)


def _is_utf8(path: Path) -> bool:
    """Whether the database can hold the path."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
