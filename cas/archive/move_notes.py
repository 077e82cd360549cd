"""Notes of crashes that are being moved: who is stopped leaves one, and nobody has it locked."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cas.errors import CasError, TryAgain
from cas.files.whole import sync_directory, writing_below
from cas.frozen import dataclass

MOVES = "moves"
"""Below the archive: a note for each crash that is being moved, and what has come of it so far."""
LOCAL = "local"
"""In the place of a store: this machine."""
_NOTE_BYTES = 4 << 10


class StaysHere(CasError):
    """A crash is not moved, since somebody needs its files here."""

    exit_code = 1
    hint = "move it later"


class StillUsed(StaysHere):
    """Somebody is using its files."""

    exit_code = TryAgain.exit_code


@dataclass(frozen=True, slots=True)
class LeftMove:
    """A move that was stopped."""

    crash_id: str
    to: str
    """A store, or `LOCAL`."""
    by: str


@contextmanager
def noted_move(archive: Path, move: LeftMove, *, is_new: bool) -> Iterator[Path]:
    """Have the note of a crash's move to ourselves; the caller removes it.

    :param archive: its directory
    :param is_new: whether the note is to be written, and is not what somebody left
    :raises StillUsed: another run moves the crash
    """
    note = archive / MOVES / move.crash_id
    descriptor = _locked(archive, note)
    try:
        if is_new:
            content = json.dumps({"to": move.to, "by": move.by}).encode()
            with writing_below(archive):
                os.pwrite(descriptor, content, 0)
                os.ftruncate(descriptor, len(content))
                os.fsync(descriptor)
                sync_directory(note.parent)
        yield note
    finally:
        os.close(descriptor)


def _locked(archive: Path, note: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        with writing_below(archive):
            note.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(note, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise StillUsed(f"another run moves the crash {note.name}") from error
        with suppress(FileNotFoundError):
            if os.path.samestat(note.lstat(), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)  # of a run that has just ended


def left_moves(archive: Path) -> list[LeftMove]:
    """Moves that were stopped: nobody has their notes locked.

    :param archive: its directory
    """
    found = list[LeftMove]()
    with suppress(OSError):
        for note in sorted((archive / MOVES).iterdir()):
            if note.is_file() and not _is_locked(note):
                said = _said_in(note)
                found.append(LeftMove(note.name, said.get("to", "?"), said.get("by", "?")))
    return found


def _is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _said_in(note: Path) -> dict[str, str]:
    try:
        with note.open("rb") as file:
            found = json.loads(file.read(_NOTE_BYTES))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
