"""What a debugger is told: commands of the command line, of a file, or of a pipe as they come."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cas.errors import UsageError

STDIN = 0
READ_BYTES = 64 << 10
FILE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Input:
    """Commands that are known, or come through a pipe."""

    given: tuple[str | Path, ...] = ()
    """Commands, and files of commands."""
    is_piped: bool = False
    """Whether they come through stdin."""
    _files: dict[Path, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the files, before anything is started.

        :raises UsageError: one cannot be read
        """
        for path in self.given:
            if isinstance(path, Path):
                self._files[path] = _content(path)

    @property
    def is_for_a_person(self) -> bool:
        """Whether somebody types."""
        return not self.is_piped and not self.given

    def chunks(self) -> Iterator[bytes]:
        """All of it, in pieces as they come."""
        if self.is_piped:
            while data := os.read(STDIN, READ_BYTES):
                yield data
        for one in self.given:
            text = self._files[one] if isinstance(one, Path) else os.fsencode(one)
            yield text if text.endswith(b"\n") else text + b"\n"

    def lines(self) -> Iterator[str]:
        """All of it, line by line as they come."""
        for line in _lines(self.chunks()):
            yield line.decode("utf-8", "replace").rstrip("\r")


def from_stdin(is_terminal: bool) -> Input:
    """What stdin brings; on a terminal, a person."""
    return Input(is_piped=not is_terminal)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > FILE_BYTES:
        raise UsageError(f"{path} has more than {FILE_BYTES} bytes of commands")
    return data


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for data in chunks:
        *whole, held = (held + data).split(b"\n")
        yield from whole
    if held:
        yield held
