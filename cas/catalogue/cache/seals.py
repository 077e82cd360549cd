"""What is noted of every extracted file, so that nobody uses one that has changed since.

``digests.json`` of an entry has the SHA-256 of each file, and by what it is known again at little
cost: size, times and inode. Only where these differ is the file read.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from cas.frozen import dataclass

RECORD = "digests.json"
_VERSION = 1
_BLOCK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Seal:
    """A file as it was when its content was known to be right."""

    sha256: str
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    """Nobody can set it; a hard link to the file changes it too."""
    inode: int

    @classmethod
    def of(cls, path: Path, sha256: str) -> Self:
        """The seal of a file whose content has this digest.

        :raises OSError: it cannot be looked at
        """
        state = path.lstat()
        return cls(sha256, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)

    def is_untouched(self, path: Path) -> bool:
        """Whether the file looks as it did.

        :raises OSError: it cannot be looked at
        """
        return Seal.of(path, self.sha256) == self

    def fits(self, path: Path, advance: Callable[[int], None] = lambda _: None) -> bool:
        """Whether the file has the content that was sealed, as its bytes say.

        :raises OSError: it cannot be read
        """
        return (
            path.lstat().st_size == self.size_bytes and sha256_of_file(path, advance) == self.sha256
        )


def sealed(path: Path, advance: Callable[[int], None] = lambda _: None) -> Seal:
    """The seal of a file as it is now.

    :raises OSError: it cannot be read
    """
    looks = Seal.of(path, "")
    return replace(looks, sha256=sha256_of_file(path, advance))


def sha256_of_file(path: Path, advance: Callable[[int], None] = lambda _: None) -> str:
    """SHA-256 of a file's content, in hex.

    :param advance: told how many bytes were read
    :raises OSError: it cannot be read
    """
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


def as_record(seals: Mapping[str, Seal]) -> dict[str, object]:
    """The seals by names within the entry, as JSON has them."""
    return {"version": _VERSION, "files": {name: asdict(seal) for name, seal in seals.items()}}


def from_record(record: Any) -> dict[str, Seal]:
    """The seals of a record; what is no seal counts as none."""
    if not isinstance(record, dict) or record.get("version") != _VERSION:
        return {}
    files = record.get("files")
    if not isinstance(files, dict):
        return {}
    found = {}
    for name, words in files.items():
        try:
            seal = Seal(**words)
        except TypeError:
            continue
        numbers = (seal.size_bytes, seal.mtime_ns, seal.ctime_ns, seal.inode)
        is_digest = isinstance(seal.sha256, str) and _SHA256.fullmatch(seal.sha256)
        if is_digest and all(type(number) is int for number in numbers):
            found[name] = seal
    return found
