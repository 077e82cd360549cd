"""What was known of a host's files when it was last swept: none of them is opened again.

It is a file for each host below the archive. Lost, it costs some kilobytes for each file.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import msgspec

from cas.archive.archive import Archive
from cas.files.record import Count, Record
from cas.files.whole import read_regular, write_whole, writing_below
from cas.model.host import Host
from cas.sweep.walk import Found
from cas.text import json_text

NAME = "swept"
"""Below the archive."""
_LIMIT_BYTES = 256 << 20
_VERSION = 1


class Noted(Record, frozen=True, kw_only=True):
    """A file of a host, and what came of it."""

    size_bytes: Count
    modified_s: Count
    crash: str | None = None
    """The id of its crash; ``None``: it tells of none."""
    why: str | None = None
    """Why it was left."""

    def is_of(self, found: Found) -> bool:
        """Whether the file is as it was."""
        return (self.size_bytes, self.modified_s) == (
            found.state.size_bytes,
            found.state.modified_s,
        )


class _Content(Record, frozen=True, kw_only=True):
    version: int
    files: dict[str, Noted]


@dataclass(slots=True)
class Ledger:
    """What is known of the files of a host, by their paths."""

    path: Path
    files: dict[str, Noted] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, host: Host, archive: Archive) -> Self:
        """That of a host; an empty one where none can be read."""
        name = str(host).replace("/", "_").replace(":", "_")
        found = cls(archive.path / NAME / f"{name}.json")
        with suppress(OSError, ValueError, msgspec.MsgspecError, RecursionError):
            # json and not msgspec's own reader: undecodable file names have surrogates
            content = msgspec.convert(json.loads(read_regular(found.path, _LIMIT_BYTES)), _Content)
            if content.version == _VERSION:
                found.files = dict(content.files)
        return found

    def known(self, found: Found) -> Noted | None:
        """What was noted of a file that is as it was."""
        noted = self.files.get(_key(found.path))
        return noted if noted and noted.is_of(found) else None

    def note(self, found: Found, crash: str | None, why: str | None = None) -> None:
        """Remember what came of a file."""
        noted = Noted(
            size_bytes=found.state.size_bytes,
            modified_s=found.state.modified_s,
            crash=crash,
            why=why,
        )
        with self._lock:
            self.files[_key(found.path)] = noted

    def keep_only(self, found: Iterable[Found]) -> None:
        """Forget files that are not there any more."""
        there = {_key(each.path) for each in found}
        self.files = {path: noted for path, noted in self.files.items() if path in there}

    def save(self) -> None:
        """Write it.

        :raises CasError: it cannot be written
        """
        with self._lock, writing_below(self.path.parent.parent):
            content = msgspec.to_builtins(_Content(version=_VERSION, files=self.files))
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self.path, json_text(content).encode())

    def save_left(self, lines: Iterable[str]) -> Path:
        """Write why files were left, in the place of what was written the last time; where it is.

        :raises CasError: it cannot be written
        """
        path = self.path.with_suffix(".log")
        with writing_below(self.path.parent.parent):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, "".join(f"{line}\n" for line in lines).encode())
        return path


def _key(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
