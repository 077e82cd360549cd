"""makedumpfile's flattened format: a dump written as records, for a pipe.

Source: makedumpfile 1.7.2, makedumpfile.h (struct makedumpfile_header, makedumpfile_data_header):
a 4096-byte header, then records of a big-endian offset and size, each followed by its bytes; the
end is offset -1. Records may come in any order, and a later one replaces an earlier one. So it is
since makedumpfile 1.1.0 (97d21d8557e2).
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator

from cas.choices import Cause
from cas.dump.memory import Source
from cas.errors import NotADump
from cas.model.dump import Missing
from cas.units import human_size

MAGIC = b"makedumpfile\0\0\0\0"
HEADER_BYTES = 4096
RECORD_LIMIT = 1 << 23
RUN_LIMIT = 1 << 14
OVERLAPPING_LIMIT = 1 << 8
"""Most runs where some overlap: makedumpfile writes little more than its header twice."""
_RECORD = struct.Struct(">qq")
_LARGEST = 1 << 56


class _Run:
    """Records that continue one another in the dump, though not in the stream."""

    def __init__(self, start: int) -> None:
        self.end = start
        self.starts = array("Q")
        self.places = array("Q")

    @property
    def start(self) -> int:
        return self.starts[0]

    def append(self, place: int, size: int) -> None:
        self.starts.append(self.end)
        self.places.append(place)
        self.end += size

    def pieces_over(self, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Place in the stream, offset in the dump and size of what overlaps a range."""
        first = max(bisect_right(self.starts, offset) - 1, 0)
        for at in range(first, len(self.starts)):
            start = self.starts[at]
            stop = self.starts[at + 1] if at + 1 < len(self.starts) else self.end
            if start >= end:
                return
            low, high = max(start, offset), min(stop, end)
            if low < high:
                yield self.places[at] + low - start, low, high - low


class Flattened:
    """The dump inside a flattened stream, readable at random."""

    def __init__(self, stream: Source, most_records: int = RECORD_LIMIT) -> None:
        """Index the records without reading their bytes.

        :param most_records: those behind are passed over, for who needs the beginning only
        :raises NotADump: another type or version of the format, or more records than any dump has
        """
        header = stream.read(0, 32)
        if len(header) < 32 or not header.startswith(MAGIC):
            raise NotADump("no flattened header")
        kind, version = struct.unpack_from(">qq", header, 16)
        if (kind, version) != (1, 1):
            raise NotADump(f"flattened format of unknown type {kind}, version {version}", offset=16)
        self._stream = stream
        self._most_records = most_records
        self.missing: tuple[Missing, ...] = ()
        self.end = stream.size
        """Where the stream ends by its end record."""
        self.is_indexed = True
        """All of its records are; otherwise only the first."""
        self._runs = sorted(self._index_records(), key=lambda run: run.start)
        self._starts = [run.start for run in self._runs]
        pairs = zip(self._runs, self._runs[1:], strict=False)
        self._disjoint = all(one.end <= two.start for one, two in pairs)
        if not self._disjoint and len(self._runs) > OVERLAPPING_LIMIT:
            raise NotADump("flattened stream too scattered to be read")
        self.size = max((run.end for run in self._runs), default=0)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes there; what no record wrote reads as zeros, as in the rearranged file."""
        end = min(offset + size, self.size)
        if offset < 0 or offset >= end:
            return b""
        pieces = [
            piece for run in self._runs_over(offset, end) for piece in run.pieces_over(offset, end)
        ]
        if len(pieces) == 1 and pieces[0][2] == end - offset:
            return self._stream.read(pieces[0][0], end - offset)
        result = bytearray(end - offset)
        for place, start, length in sorted(pieces):
            data = self._stream.read(place, length)
            result[start - offset : start - offset + len(data)] = data
        return bytes(result)

    def data(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """What records wrote of a range; records that continue one another make one part."""
        begin = stop = start
        for run in self._runs_over(start, end):
            low, high = max(start, run.start), min(end, run.end)
            if low > stop and begin < stop:
                yield begin, stop
            begin, stop = (low, high) if low > stop else (begin, max(stop, high))
        if begin < stop:
            yield begin, stop

    def gap(self, start: int, end: int) -> int | None:
        """See `Source.gap`."""
        for run in self._runs_over(start, end) if start < end else ():
            if run.start > start:
                return start
            start = max(start, run.end)
        return start if start < end else None

    def require_written(self, offset: int, size: int) -> None:
        """Make sure that the records that were indexed have all of a range.

        :raises NotADump: others may
        """
        if not self.is_indexed and (
            offset + size > self.size or self.gap(offset, offset + size) is not None
        ):
            raise NotADump("what is asked for is not in the first records of the stream")

    def _runs_over(self, offset: int, end: int) -> list[_Run]:
        last = bisect_right(self._starts, end - 1)
        first = max(bisect_right(self._starts, offset) - 1, 0) if self._disjoint else 0
        return [run for run in self._runs[first:last] if run.end > offset]

    def _index_records(self) -> list[_Run]:
        runs: list[_Run] = []
        growing: dict[int, _Run] = {}  # by their end, where the next record may go on
        at = HEADER_BYTES
        for _ in range(self._most_records):
            record = self._stream.read(at, 16)
            if len(record) < 16:
                held = self._stream.size
                what = f"has no end record, data ends at {human_size(held)}"
                if at > held:
                    ends = f"goes on to {human_size(at)}, data ends at {human_size(held)}"
                    what = f"is cut: the last record {ends} ({100 * held // at} %)"
                self.missing = (Missing(f"flattened stream {what}", held, Cause.CUT),)
                return runs
            offset, size = _RECORD.unpack(record)
            if offset == -1:
                self.end = at + 16
                return runs
            if not 0 <= offset < _LARGEST or not 0 < size < _LARGEST:
                what = "a record of the flattened stream is damaged"
                self.missing = (Missing(what, at, Cause.DAMAGED),)
                return runs
            present = min(size, self._stream.size - at - 16)
            if present > 0:
                run = growing.pop(offset, None) or _Run(offset)
                if not run.starts:
                    runs.append(run)
                run.append(at + 16, present)
                growing[run.end] = run
            if len(runs) > RUN_LIMIT:
                raise NotADump("flattened stream too scattered to be read")
            at += 16 + size
        if self._most_records < RECORD_LIMIT:
            self.is_indexed = False
            return runs
        raise NotADump(f"flattened stream of more than {RECORD_LIMIT} records", offset=at)
