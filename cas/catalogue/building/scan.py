"""Which package files there are below a directory; nothing is opened here.

Directories are listed by a few threads, of which each may be left behind where a file system does
not answer. Paths are plain strings: there are ten thousands of them, in every run.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from posixpath import dirname

from cas.database.records import FileStamp
from cas.errors import ConfigError, TryAgain, plain_reason
from cas.files.patient_calls import Attempt, CallThreads, NoAnswer
from cas.files.permission import DENIED, not_permitted
from cas.settings.rules import PackageRules

Wanted = Callable[[str], object]
"""Whether a path is that of a package."""


@dataclass(slots=True)
class Found:
    """What a walk met."""

    files: dict[str, FileStamp] = field(default_factory=dict)
    """Matching regular files, each once however many paths lead to it."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Directories and links that could not be followed, with the reason."""
    denied: dict[str, OSError] = field(default_factory=dict)
    """What of that this user may not read, with the system's error."""
    _hidden: set[str] = field(default_factory=set)

    def hides(self, path: str) -> bool:
        """Whether the file may still exist, in a directory that could not be read."""
        if not self._hidden:
            return False
        while path not in self._hidden:
            above = dirname(path)
            if above == path:
                return False
            path = above
        return True

    def hide(self, path: str) -> None:
        """Remember a directory that is left out."""
        self._hidden.add(path)

    def note_failure(self, path: str, error: OSError) -> None:
        """Remember what could not be read."""
        self.unreadable[path] = plain_reason(error)
        if error.errno in DENIED:
            self.denied[path] = error
        if not isinstance(error, FileNotFoundError):
            self.hide(path)


class _PassedOver(OSError):
    """It is on a file system that has been found silent."""


@dataclass(slots=True)
class _Listing:
    """What a directory holds, in order of names."""

    identity: tuple[int, int]
    """Device and inode."""
    directories: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    files: list[tuple[str, tuple[int, int], FileStamp]] = field(default_factory=list)
    """Regular ones, with device and inode."""
    failures: list[tuple[str, OSError]] = field(default_factory=list)


def find_package_files(root: Path, wanted: Wanted, rules: PackageRules) -> Found:
    """Every matching file below a directory, symbolic links followed, no loop entered.

    Real files and directories go before symbolic links, and in order of their names: so a file
    that several paths lead to has the same path on every run, one without a link if there is one.

    :param rules: how many directories are listed at a time, and how long one may take
    :raises ConfigError: there is no such directory
    :raises NotPermitted: this user may not read it
    :raises TryAgain: it cannot be read now
    """
    top = os.path.abspath(root)  # noqa: PTH100 - resolve() would replace links in it
    call_threads = CallThreads(rules.readers, rules.timeout_s)
    try:
        found = _Walk(wanted, call_threads).run(top)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"kernels: {top} is not a directory that can be read") from error
    finally:
        call_threads.dismiss()
    if top in found.denied:
        raise not_permitted(root, found.denied[top], "read")
    if top in found.unreadable:
        raise TryAgain(f"kernels: {top} cannot be read: {found.unreadable[top]}")
    return found


class _Walk:
    """One walk: what is still to be visited, and what has been."""

    def __init__(self, wanted: Wanted, call_threads: CallThreads) -> None:
        self._wanted = wanted
        self._call_threads = call_threads
        self._found = Found()
        self._directories: deque[tuple[str, int, Attempt[_Listing]]] = deque()
        """Directories to be visited, each with the device of the one that names it."""
        self._links: deque[tuple[str, int]] = deque()
        self._seen: set[tuple[int, int]] = set()
        self._silent: set[int] = set()
        """Devices that do not answer any more."""

    def run(self, root: str) -> Found:
        """Visit everything.

        :raises FileNotFoundError: there is no such directory
        :raises NotADirectoryError: it is something else
        """
        try:
            status = self._call_threads.result(self._call_threads.ask(partial(os.stat, root)))
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            self._found.note_failure(root, error)
            return self._found
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(root)
        self._enter_directory(root, status.st_dev)
        while self._directories or self._links:
            if self._directories:
                self._visit_directory(*self._directories.popleft())
            else:
                self._follow_link(*self._links.popleft())
        return self._found

    def _enter_directory(self, directory: str, device: int) -> None:
        attempt = self._call_threads.ask(partial(self._listing, directory, device))
        self._directories.append((directory, device, attempt))

    def _listing(self, directory: str, device: int) -> _Listing:
        """What a directory holds; a thread of its own calls this."""
        if device in self._silent:
            raise _PassedOver
        status = os.stat(directory)  # noqa: PTH116 - no Path is made in here, see above
        listing = _Listing((status.st_dev, status.st_ino))
        if listing.identity in self._seen:
            return listing
        with os.scandir(directory) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                try:
                    if entry.is_symlink():
                        listing.links.append(entry.path)
                    elif entry.is_dir(follow_symlinks=False):
                        listing.directories.append(entry.path)
                    elif self._wanted(entry.path):
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            identity = (status.st_dev, status.st_ino)
                            listing.files.append((entry.path, identity, FileStamp.of(status)))
                except OSError as error:
                    listing.failures.append((entry.path, error))
        return listing

    def _visit_directory(self, directory: str, device: int, attempt: Attempt[_Listing]) -> None:
        try:
            listing = self._call_threads.result(attempt)
        except OSError as error:
            self._note_unread(directory, device, error)
            return
        if listing.identity in self._seen:
            return
        self._seen.add(listing.identity)
        for file in listing.files:
            self._note_package_file(*file)
        for path, failure in listing.failures:
            if not isinstance(failure, FileNotFoundError):  # it went while we looked
                self._found.note_failure(path, failure)
        for path in listing.directories:
            self._enter_directory(path, listing.identity[0])
        self._links.extend((path, listing.identity[0]) for path in listing.links)

    def _follow_link(self, link: str, device: int) -> None:
        try:
            if device in self._silent:
                raise _PassedOver
            status = self._call_threads.result(self._call_threads.ask(partial(os.stat, link)))
        except FileNotFoundError as error:
            if self._wanted(link):  # a dangling link of any other name is of no interest
                self._found.note_failure(link, error)
            return
        except OSError as error:
            self._note_unread(link, device, error)
            return
        if stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) not in self._seen:
                self._enter_directory(link, status.st_dev)
        elif stat.S_ISREG(status.st_mode) and self._wanted(link):
            self._note_package_file(link, (status.st_dev, status.st_ino), FileStamp.of(status))

    def _note_package_file(self, path: str, identity: tuple[int, int], stamp: FileStamp) -> None:
        if identity in self._seen:
            return
        self._seen.add(identity)
        # what is not UTF-8 has surrogates, which the database cannot hold
        if path.isascii() or path.encode(errors="ignore").decode() == path:
            self._found.files[path] = stamp
        else:
            self._found.unreadable[path] = "the path is not UTF-8"

    def _note_unread(self, path: str, device: int, error: OSError) -> None:
        if device in self._silent:  # which is reported once
            self._found.hide(path)
            return
        self._found.note_failure(path, error)
        if isinstance(error, NoAnswer):
            # a mount of its own, or all that is on the parent's file system?
            try:
                self._call_threads.result(
                    self._call_threads.ask(partial(os.statvfs, dirname(path)))
                )
            except NoAnswer:
                self._silent.add(device)
            except OSError:
                return
