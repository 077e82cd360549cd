"""The identity of a dump of which only the beginning is there yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cas.dump.identify import identify_by_headers
from cas.dump.source import FileSource, opened_source
from cas.errors import NotADump
from cas.model.dump import Dump

HEAD_BYTES = 8 << 20
"""How much of the file is looked at."""


class _Head:
    """The beginning of a file, as if the file ended there."""

    def __init__(self, file: FileSource) -> None:
        self._file = file
        self.size = min(file.size, HEAD_BYTES)

    def read(self, offset: int, size: int) -> bytes:
        return self._file.read(offset, min(size, self.size - offset))

    def data(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        return self._file.data(start, min(end, self.size))

    def gap(self, _start: int, _end: int) -> None:
        return None


def glance(path: Path) -> Dump | None:
    """The architecture, release and build-id by the headers of a file that is still being written.

    Nothing is said about completeness, and no log is read: see `identify`.

    :return: ``None`` when the beginning does not tell, or not yet
    """
    try:
        with opened_source(path) as file:
            dump = identify_by_headers(path, _Head(file))
            return dump and replace(dump, size_bytes=file.size)
    except NotADump:
        return None
