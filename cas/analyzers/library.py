"""The analyzers that there are: those of the archive, then the shipped ones.

A stored one is ``analyzers/NAME`` below the archive, as it was given; ``.NAME.json`` beside it says
whose it is. One that somebody has put there by hand belongs to who owns the file.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from cas.analyzers.analyzer import TEXT_LIMIT, Analyzer, WrongAnalyzer, checked_analyzer_name
from cas.analyzers.command import CRASH_COMMANDS, is_debuggers
from cas.archive.archive import Archive
from cas.errors import CasError, Refused, UsageError
from cas.files import shipped
from cas.files.permission import DENIED, not_permitted, user_name
from cas.files.record import Count, Record
from cas.files.whole import read_regular, sync_directory, write_whole, writing_below
from cas.frozen import dataclass
from cas.text import json_text, nearest

DIRECTORY = "analyzers"
_RECORD_LIMIT = 64 << 10


class NoAnalyzer(UsageError):
    """There is no analyzer of this name."""

    hint = "to see which there are: cas analyzers; a debugger's command is one word: 'bt -a'"


class Whose(Record, frozen=True, kw_only=True):
    """``.NAME.json``: who has added an analyzer, and which text that was."""

    version: Annotated[int, Meta(ge=1, le=1)] = 1
    author: str
    added_s: Count
    digest: str


@dataclass(frozen=True, slots=True)
class Library:
    """All analyzers, as one user sees them."""

    archive: Archive
    _found: dict[str, Analyzer] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """Where the stored ones are."""
        return self.archive.path / DIRECTORY

    def all(self) -> Mapping[str, Analyzer]:
        """Every analyzer by its name, in the order of names; a stored one before a shipped one.

        :raises NotPermitted: this user may not read them
        :raises CasError: one cannot be read
        """
        if not self._found:
            found = {each.name: each for each in _shipped()}
            found |= {each.name: each for each in self._stored()}
            self._found.update(sorted(found.items()))
        return self._found

    def get(self, name: str) -> Analyzer:
        """An analyzer by its name.

        :raises NoAnalyzer: there is none
        """
        found = self.all().get(name)
        if found is None:
            raise NoAnalyzer(
                f"there is no analyzer {name!a}; there is: {nearest(name, self.all())}"
            )
        return found

    def meant(self, word: str) -> tuple[Analyzer, ...]:
        """What a word of a command line means: an analyzer behind all that it needs, or else a
        command of the debugger.

        :raises NoAnalyzer: it means nothing
        :raises WrongAnalyzer: they need one another
        """
        if word not in self.all() and is_debuggers(word):
            return (Analyzer(word, word.encode("utf-8", "surrogateescape"), is_command=True),)
        return self.in_order(word)

    def in_order(self, name: str) -> tuple[Analyzer, ...]:
        """An analyzer behind all that it needs, in the order in which they have to run.

        :raises NoAnalyzer: one of them is not there
        :raises WrongAnalyzer: they need one another
        """
        return _in_order(self.get(name), self.all())

    def autos(self) -> tuple[Analyzer, ...]:
        """Those that run on every new dump by themselves, behind what they need."""
        known = self.all()
        chosen = [each for each in known.values() if each.is_auto and each.is_trusted]
        ordered = (one for each in chosen for one in _in_order(each, known))
        return tuple({each.name: each for each in ordered}.values())

    def add(self, analyzer: Analyzer, *, owner: int) -> None:
        """Store an analyzer, in the place of one of its name.

        :param owner: user id of who owns the archive: nobody else may add what runs by itself
        :raises WrongAnalyzer: its name, its text or what it needs is of no use
        :raises Refused: it would run by itself, and this user does not own the archive
        :raises CasError: it cannot be written
        """
        name = checked_analyzer_name(analyzer.name)
        if name in CRASH_COMMANDS:
            raise WrongAnalyzer(f"{name} is a command of crash", hint="give it another name")
        if not analyzer.text.strip():
            raise WrongAnalyzer(
                f"the analyzer {name} has no text", hint=f"cas analyzer {name} < FILE"
            )
        if len(analyzer.text) > TEXT_LIMIT:
            raise WrongAnalyzer(f"the analyzer {name} has more than {TEXT_LIMIT} bytes")
        if analyzer.is_auto and os.geteuid() != owner:
            raise Refused(
                f"{name} would run by itself (auto: yes): only {user_name(owner)} adds such ones",
                hint=f"leave `auto` away, or have it added by {user_name(owner)}",
            )
        _in_order(analyzer, {**self.all(), name: analyzer})
        assert analyzer.author is not None  # noqa: S101  somebody adds it
        whose = Whose(author=analyzer.author, added_s=analyzer.added_s or 0, digest=analyzer.digest)
        with self._changing():
            content = json_text(msgspec.to_builtins(whose), indent=1).encode() + b"\n"
            write_whole(self._record(name), content)
            write_whole(self.directory / name, analyzer.text)

    def remove(self, name: str) -> None:
        """Remove a stored analyzer; a shipped one of its name counts again.

        :raises NoAnalyzer: none is stored under this name
        :raises WrongAnalyzer: another one needs it
        """
        checked_analyzer_name(name)
        stored = {each.name for each in self._stored()}
        if name not in stored:
            said = "is shipped and cannot be removed" if name in self.all() else "is not there"
            raise NoAnalyzer(f"the analyzer {name} {said}")
        is_shipped = any(each.name == name for each in _shipped())
        needing = [each.name for each in self.all().values() if name in each.needs]
        if needing and not is_shipped:
            raise WrongAnalyzer(
                f"{name} is needed by {', '.join(needing)}", hint="remove those first"
            )
        with self._changing():
            (self.directory / name).unlink(missing_ok=True)
            self._record(name).unlink(missing_ok=True)
            sync_directory(self.directory)

    def _record(self, name: str) -> Path:
        return self.directory / f".{name}.json"

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Have all of them to ourselves; the kernel lets go of them if we die."""
        with writing_below(self.archive.path):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        self._found.clear()

    def _stored(self) -> Iterator[Analyzer]:
        try:
            names = sorted(os.listdir(self.directory))  # noqa: PTH208  names only
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            if error.errno in DENIED:
                raise not_permitted(self.directory, error, "read") from error
            raise CasError(f"cannot read {self.directory}: {error.strerror}") from error
        for name in names:
            if name.startswith("."):
                continue
            with suppress(WrongAnalyzer, FileNotFoundError):  # what another one is removing
                yield self._read(checked_analyzer_name(name))

    def _read(self, name: str) -> Analyzer:
        path = self.directory / name
        try:
            text, state = read_regular(path, TEXT_LIMIT), path.lstat()
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise
            if error.errno in DENIED:
                raise not_permitted(path, error, "read") from error
            raise CasError(f"cannot read {path}: {error.strerror}", hint="remove it") from error
        found = Analyzer(name, text, user_name(state.st_uid), int(state.st_mtime))
        with suppress(OSError, ValueError, msgspec.MsgspecError):
            content = read_regular(self._record(name), _RECORD_LIMIT)
            whose = msgspec.convert(json.loads(content), Whose)
            if whose.digest == found.digest:
                found = Analyzer(name, text, whose.author, whose.added_s)
        is_open = bool(state.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        is_trusted = state.st_uid in self.archive.owners and not is_open
        return Analyzer(found.name, text, found.author, found.added_s, is_trusted)


def _shipped() -> Iterator[Analyzer]:
    for path in sorted(shipped.shipped(DIRECTORY).iterdir()):
        if not path.name.startswith((".", "_")):
            yield Analyzer(path.name, path.read_bytes(), is_trusted=True)


def _in_order(last: Analyzer, known: Mapping[str, Analyzer]) -> tuple[Analyzer, ...]:
    """What an analyzer needs, each behind what it needs itself, and the analyzer last."""
    placed, open_ = dict[str, Analyzer](), list[str]()

    def place(analyzer: Analyzer) -> None:
        if analyzer.name in placed:
            return
        if analyzer.name in open_:
            way = " → ".join((*open_[open_.index(analyzer.name) :], analyzer.name))
            raise WrongAnalyzer(f"they need one another: {way}", hint="change `# needs:` of one")
        open_.append(analyzer.name)
        for name in analyzer.needs:
            if name not in known:
                near = nearest(name, known)
                raise NoAnalyzer(
                    f"{analyzer.name} needs {name!a}, which is not there; there is: {near}"
                )
            place(known[name])
        open_.pop()
        placed[analyzer.name] = analyzer

    place(last)
    return tuple(placed.values())
