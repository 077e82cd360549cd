"""Which files of a host may be dumps: by where they lie and what they are called."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from posixpath import basename, dirname

from cas.errors import FetchError
from cas.fetch.source import Denied, NotThere
from cas.sweep.far_host import FarHost, FarState
from cas.text import count, one_line

DEPTH = 4
"""Directories in one another below a configured one: systemd-pstore makes two."""
ENTRIES = 200_000
"""Names of one host that are looked at; so many crashes no machine survives."""
PROBLEMS = 5
"""Of a host, that are told one by one."""
_LOG = re.compile(rb"vmcore-dmesg.*|dmesg\..*", re.DOTALL)
_PART = re.compile(rb"dmesg-.*", re.DOTALL)
_DUMPS = ("vmcore*", "dump.*", "dump-*", "*.vmcore", "*.kdump")
"""What kdump (kexec-tools, kdump-utils), kdump-tools of Debian and makedumpfile's users call
theirs."""
_DUMP = re.compile("|".join(map(fnmatch.translate, _DUMPS)).encode(), re.DOTALL)
ABSENT = "there is no such directory: `directories` below [sweep] in cas.conf says where dumps lie"


class Kind(StrEnum):
    """What a file is by its name."""

    DUMP = "dump"
    LOG = "kernel log"
    PART = "part of a kernel log"
    """As pstore keeps them; several make up a log."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may tell of a crash."""

    path: bytes
    state: FarState
    kind: Kind

    @property
    def shown(self) -> str:
        """Its path, fit for a terminal."""
        return one_line(self.path)

    @property
    def directory(self) -> bytes:
        """Where it lies."""
        return dirname(self.path)

    @property
    def name(self) -> bytes:
        """What it is called there."""
        return basename(self.path)

    @property
    def files(self) -> tuple[Found, ...]:
        """What it is on the host."""
        return (self,)


@dataclass(frozen=True, slots=True)
class Joined(Found):
    """A kernel log that was put together of what lies on a host in several files."""

    parts: tuple[Found, ...]
    content: bytes

    @property
    def files(self) -> tuple[Found, ...]:
        """Its parts."""
        return self.parts


@dataclass(frozen=True, slots=True)
class Left:
    """A file that is not fetched, and why."""

    path: str
    why: str


@dataclass(slots=True)
class Walk:
    """A walk through the directories of a host, and what came of it."""

    host: FarHost
    most_entries: int = ENTRIES
    found: list[Found] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Why not everything was seen."""
    entries: int = 0

    def through(self, directories: tuple[str, ...]) -> None:
        """Look through directories; one that is not there holds nothing.

        :raises Broken: the host is lost
        """
        absent = []
        for name in directories:
            try:
                # it may be a link of the administrator's; below it none is followed
                place = self.host.real_path(name.encode())
                self._look_into(place, 0)
            except NotThere:
                absent.append(name)
            except FetchError as error:
                self.problems.append(one_line(str(error)))
        if len(absent) == len(directories):
            self.left.append(Left(", ".join(absent), ABSENT))

    def _look_into(self, directory: bytes, depth: int) -> None:
        try:
            listed = self._bounded(directory)
        except Denied:
            self.problems.append(f"{one_line(directory)} is closed to this user")
            return
        except NotThere:
            raise
        except FetchError as error:  # a disk that fails, say: what lies beside it is of use
            self.problems.append(one_line(str(error)))
            return
        for name, state in listed:
            path = directory.rstrip(b"/") + b"/" + name
            kind = kind_of_name(name)
            if state.is_directory and depth < DEPTH:
                try:
                    self._look_into(path, depth + 1)
                except NotThere:  # it went meanwhile
                    continue
            elif kind is None:
                continue
            elif state.is_regular:
                self.found.append(Found(path, state, kind))
            else:
                self.left.append(Left(one_line(path), f"it is {_what(state)}"))

    def _bounded(self, directory: bytes) -> list[tuple[bytes, FarState]]:
        listed = []
        for each in self.host.entries(directory):
            self.entries += 1
            if self.entries > self.most_entries:
                if self.entries == self.most_entries + 1:
                    said = f"more than {self.most_entries:,} names: those behind them in"
                    self.problems.append(f"{said} {one_line(directory)} were not looked at")
                break
            if each[1].is_directory or kind_of_name(each[0]):
                listed.append(each)
        return listed


def told_together(problems: Collection[str]) -> str | None:
    """Problems in one sentence, the first of many; ``None``: there is none."""
    first, more = list(itertools.islice(problems, PROBLEMS)), len(problems) - PROBLEMS
    rest = (f"and {count(more, 'more problem')}",) if more > 0 else ()
    return "; ".join((*first, *rest)) or None


def kind_of_name(name: bytes) -> Kind | None:
    """What a file of this name may be; ``None``: it is somebody else's.

    >>> [kind_of_name(name) for name in (b"vmcore", b"dump.202401011200", b"vmcore-dmesg.txt")]
    [<Kind.DUMP: 'dump'>, <Kind.DUMP: 'dump'>, <Kind.LOG: 'kernel log'>]
    """
    if _LOG.fullmatch(name):
        return Kind.LOG
    if _PART.fullmatch(name):
        return Kind.PART
    return Kind.DUMP if _DUMP.match(name) else None


def in_order(found: list[Found]) -> Iterator[Found]:
    """The newest first, and dumps before logs: a log counts where no dump is."""
    wanted = (each for each in found if each.kind is not Kind.PART)
    yield from sorted(wanted, key=lambda each: (each.kind is Kind.LOG, -each.state.modified_s))


def parts_by_directory(found: list[Found]) -> dict[bytes, list[Found]]:
    """Parts of kernel logs by where they lie; the newest directories first."""
    parts = [each for each in found if each.kind is Kind.PART]
    together = dict[bytes, list[Found]]()
    for each in sorted(parts, key=lambda each: -each.state.modified_s):
        together.setdefault(each.directory, []).append(each)
    return together


def _what(state: FarState) -> str:
    kinds = {
        0o120000: "a symbolic link, which is not followed",
        0o010000: "a pipe",
        0o140000: "a socket",
        0o020000: "a device",
        0o060000: "a device",
        0o040000: "a directory too deep to be looked into",
    }
    return kinds.get(state.mode & 0o170000, "no regular file")
