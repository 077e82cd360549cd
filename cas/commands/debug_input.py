"""What a debugger is told: commands of the command line, of a file, or of a pipe as they come."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from cas.engines.crash.wrapper import COMMANDS
from cas.errors import UsageError
from cas.frozen import dataclass
from cas.jobs.work_directory import STATE

STDIN = 0
READ_BYTES = 64 << 10
FILE_BYTES = 16 << 20
_REDIRECTION = re.compile(rb" >> [^ \n]+$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Input:
    """Commands that are known, or come through a pipe."""

    given: tuple[str | Path, ...] = ()
    """Commands, and files of commands."""
    is_piped: bool = False
    """The commands come through stdin, which is no terminal."""
    first: bytes = b""
    """Lines before all of that, and before a person's."""
    _files: dict[Path, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the files, before anything is started.

        :raises UsageError: one cannot be read
        """
        for path in self.given:
            if isinstance(path, Path):
                self._files[path] = content(path)

    @property
    def is_for_a_person(self) -> bool:
        """Somebody types the commands at a terminal."""
        return not self.is_piped and not self.given

    def chunks(self) -> Iterator[bytes]:
        """All of it, in pieces as they come."""
        if self.first:
            yield self.first
        if self.is_piped:
            while data := os.read(STDIN, READ_BYTES):
                yield data
        for one in self.given:
            yield self._files[one] if isinstance(one, Path) else os.fsencode(one.strip()) + b"\n"


def from_stdin(is_terminal: bool, first: bytes = b"") -> Input:
    """What stdin brings; on a terminal, a person."""
    return Input(is_piped=not is_terminal, first=first)


def content(path: Path) -> bytes:
    """The lines of a file of commands.

    Those of a job's ``crash.in`` send their output into files, which nobody would see here: it is
    shown instead.

    :raises UsageError: it cannot be read
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}",
            hint="-x takes a file of commands; so does -i, which stands behind SPEC: "
            "cas debug TICKET -i FILE",
        ) from error
    if len(data) > FILE_BYTES:
        raise UsageError(f"{path} has more than {FILE_BYTES} bytes of commands")
    is_jobs = path.name == COMMANDS and (path.absolute().parent / STATE).is_file()
    data = _REDIRECTION.sub(b"", data) if is_jobs else data
    return data if data.endswith(b"\n") or not data else data + b"\n"
