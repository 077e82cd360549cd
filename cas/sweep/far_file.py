"""The headers of a dump on a host: a few blocks of it, each read when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cas.fetch.ranged_file import TooMuch
from cas.fetch.sftp import sftp_errors_told
from cas.fetch.source import Changed
from cas.fetch.url import Url
from cas.units import human_size

if TYPE_CHECKING:
    import paramiko

BLOCK_BYTES = 16 << 10
"""The headers of a dump of a small machine take one, or two."""


class FarFile:
    """An open file on a host; :class:`cas.dump.memory.Source` says what it can."""

    def __init__(
        self, file: paramiko.SFTPFile, url: Url, size_bytes: int, limit_bytes: int
    ) -> None:
        """Nothing is read yet.

        :param limit_bytes: of what is read of it, at most
        """
        self.size = size_bytes
        self.read_bytes = 0
        self._file, self._url, self._limit_bytes = file, url, limit_bytes
        self._blocks: dict[int, bytes] = {}

    def read(self, offset: int, size: int) -> bytes:
        """The bytes there; fewer, or none, at the end and at offsets that no file has.

        :raises TooMuch: more of it would have to be read than is worth it
        :raises Changed: the file is shorter by now
        """
        if offset < 0 or size <= 0 or offset >= self.size:
            return b""
        end = min(offset + size, self.size)
        first, last = offset // BLOCK_BYTES, -(-end // BLOCK_BYTES)
        lacking = sum(number not in self._blocks for number in range(first, last))
        if self.read_bytes + lacking * BLOCK_BYTES > max(self._limit_bytes, BLOCK_BYTES):
            limit = human_size(self._limit_bytes)
            raise TooMuch(f"more than {limit} of {self._url} would have to be read")
        data = b"".join(map(self._block, range(first, last)))
        start = first * BLOCK_BYTES
        return data[offset - start : end - start]

    def data(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """All of a range: a server tells of no holes."""
        if 0 <= start < min(end, self.size):
            yield start, min(end, self.size)

    def gap(self, _start: int, _end: int) -> None:
        """There is none: the file is no stream that was put in order."""

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * BLOCK_BYTES
            wanted, data = min(BLOCK_BYTES, self.size - start), b""
            with sftp_errors_told(self._url):
                self._file.seek(start)
                while len(data) < wanted:
                    more = self._file.read(wanted - len(data))
                    if not more:
                        raise Changed(f"{self._url} is shorter by now")
                    data += more
            self.read_bytes += len(data)
            self._blocks[number] = data[:wanted]
        return self._blocks[number]
