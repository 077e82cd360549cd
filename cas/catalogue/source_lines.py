"""Lines of a kernel's source, out of the trees that the configuration names.

The path and the line come from debug information, and the release from a dump: neither is trusted.
Nothing is followed out of a release's tree: no ``..``, no symbolic link, and only regular files are
read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath

from cas.model.code import SourceLines

AROUND = 6
"""Lines that are shown before and behind the one that is meant."""
FILE_BYTES = 8 << 20
"""The largest file of Linux 6.12 that has code has 1.5 MiB."""
LINE_LIMIT = 200
"""Characters of a line that are shown."""
DEPTH = 24
"""Directories of a path, that builders put before the tree."""
_BELOW = 2
"""Parts of a path that must be left: no code lies at the top of a kernel's tree."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def source_lines(
    trees: Sequence[Path], release: str | None, file: str | None, line: int | None
) -> SourceLines | None:
    """The lines around one of a file, from the first tree that has it.

    :param trees: directories with a directory for each release, named by it
    :param file: as the debug information names it
    :return: ``None``: no tree has it, or not so many lines
    """
    if not release or not file or not line or release in (".", "..") or "/" in release:
        return None
    for tree in trees:
        for path in paths_below(file):
            with suppress(OSError):
                lines = _read_below(tree / release, path).splitlines()
                if 1 <= line <= len(lines):
                    return around(lines, file, line, str(tree / release / path))
    return None


def around(lines: Sequence[str], file: str, line: int, found: str) -> SourceLines:
    """Those around one of a file's lines, which it has.

    :param found: where the file was
    """
    first = max(1, line - AROUND)
    shown = tuple(text[:LINE_LIMIT] for text in lines[first - 1 : line + AROUND])
    return SourceLines(file, line, first, shown, found)


def paths_below(file: str) -> Iterator[PurePosixPath]:
    """Where a file may lie below a tree; of an absolute path without what the builder put first."""
    if "\0" in file:
        return
    path = PurePosixPath(file)
    parts = path.parts[1:] if path.is_absolute() else path.parts
    if ".." in parts or len(parts) > DEPTH:
        return
    yield PurePosixPath(*parts)
    if path.is_absolute():
        for first in range(1, len(parts) - _BELOW + 1):
            yield PurePosixPath(*parts[first:])


def _read_below(tree: Path, path: PurePosixPath) -> str:
    """A regular file below a tree, without following a link there.

    :raises OSError: it is not there, is something else, or too large
    """
    with ExitStack() as stack:
        # the tree itself may be a link of the administrator's
        above = os.open(tree, _DIRECTORY & ~os.O_NOFOLLOW)
        stack.callback(os.close, above)
        for name in path.parts[:-1]:
            above = os.open(name, _DIRECTORY, dir_fd=above)
            stack.callback(os.close, above)
        descriptor = os.open(path.name, _FILE, dir_fd=above)
        stack.callback(os.close, descriptor)
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > FILE_BYTES:
            raise OSError(f"{path} is no regular file, or too large")
        with os.fdopen(os.dup(descriptor), "rb") as content:
            return content.read(FILE_BYTES).decode("utf-8", "replace")
