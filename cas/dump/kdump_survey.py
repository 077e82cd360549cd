"""What a KDUMP file lacks, seen without reading all of it.

The descriptors are checked in bulk, and some pages, spread over the file, are unpacked. Source:
makedumpfile 1.7.2, makedumpfile.c (write_kdump_pages_cyclic, write_kdump_header); QEMU dump/dump.c.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import add

from cas.dump import pages
from cas.dump.kdump_header import Header
from cas.dump.kdump_memory import DESCRIPTOR_BYTES, KdumpMemory
from cas.dump.memory import Absent, Source, cut, human, no_record
from cas.model import Cause, Missing

INCOMPLETE = 0x8
"""The header's status bit of a dump that makedumpfile could not finish."""
_BATCH = 1 << 12
_CHECKED = 1 << 18
"""Most descriptors that are checked, which takes a tenth of a second; of more, some are."""
_SAMPLED = 128
_SAMPLED_LAST = 16
_KINDS = frozenset({0, pages.ZLIB, pages.LZO, pages.SNAPPY, pages.ZSTD})
_EXCLUDES_ZEROS = 1


@dataclass(frozen=True)
class _Batch:
    """Descriptors that stand one after another, by column."""

    first: int
    offsets: array[int]
    sizes: array[int]
    flags: array[int]

    def worst(self, low: int, high: int, page_size: int) -> bool:
        """Whether any is out of range; see `_is_sound`."""
        return (
            self.lowest < low
            or (max(self.offsets) + page_size > high and self._end() > high)
            or 0 in self.sizes
            or max(self.sizes) > page_size
            or any(flag & pages.MASK not in _KINDS for flag in set(self.flags))
        )

    @cached_property
    def lowest(self) -> int:
        return min(self.offsets)

    def _end(self) -> int:
        ends: int = max(map(add, self.offsets, self.sizes))
        return ends

    def rows(self) -> Iterator[tuple[int, int, int]]:
        return zip(self.offsets, self.sizes, self.flags, strict=True)


def survey(source: Source, header: Header, memory: KdumpMemory) -> tuple[int, tuple[Missing, ...]]:
    """The compression flags of the pages looked at, and what the file lacks."""
    missing = list(_declared_missing(header, source.size))
    parts = (header.vmcoreinfo, header.notes, header.eraseinfo)
    declared = max(sum(part) for part in parts)
    declared = max(declared, header.bitmap_offset + header.bitmap_bytes)
    if declared <= source.size:
        declared = max(declared, memory.descriptors_end)
    if declared > source.size:
        return 0, (*missing, cut(declared, source.size))
    gap = source.gap(header.bitmap_offset, memory.descriptors_end)
    if gap is not None:
        missing.append(no_record(gap))
    flags, found = _Pages(source, header, memory).survey()
    return flags, (*missing, *found)


def _declared_missing(header: Header, size: int) -> Iterator[Missing]:
    if header.status & INCOMPLETE:
        yield Missing("makedumpfile marked the dump as incomplete", cause=Cause.INCOMPLETE)
    if header.split:
        frames = f"page frames {header.start_pfn} to {header.end_pfn}"
        yield Missing(f"is one part of a split dump: {frames}", cause=Cause.PART)
    if header.max_mapnr > 8 * header.bitmap_bytes:
        room = f"the bitmap has room for {8 * header.bitmap_bytes}"
        at = min(header.bitmap_offset, size)
        what = f"declares {header.max_mapnr} page frames, {room}"
        yield Missing(what, at, Cause.DAMAGED)


class _Pages:
    """The survey of descriptors and pages."""

    def __init__(self, source: Source, header: Header, memory: KdumpMemory) -> None:
        self._source = source
        self._memory = memory
        self._order = header.order
        self._count = memory.bitmap.count
        self._low = memory.descriptors_end
        self._has_zeros = not (header.dump_level or 0) & _EXCLUDES_ZEROS
        self._lowest = sys.maxsize
        """Of the page data: the page of zeros, where there is one."""
        self._flags = 0

    def survey(self) -> tuple[int, list[Missing]]:
        """The flags that were seen, and what is missing."""
        if not self._count:
            return 0, list(self._blank_bitmap())
        end = self._end()
        is_cut = end > self._source.size
        missing = [cut(end, self._source.size)] if is_cut else []
        missing += self._unsound(sys.maxsize if is_cut else self._source.size)
        missing += self._more_descriptors()
        if not missing:
            missing += self._damaged_pages()
        return self._flags, missing

    def _end(self) -> int:
        """Of the page data, by the last descriptor of a page that is not the page of zeros."""
        for start in range(self._count - 1, -1, -_BATCH):
            first = max(start - _BATCH + 1, 0)
            batch = self._batch(first, start - first + 1)
            shared = min(batch.offsets)
            for offset, size, _ in reversed(list(batch.rows())):
                if offset != shared or first == 0:
                    return offset + size
            if self._count - first > _CHECKED:
                break
        return 0

    def _unsound(self, high: int) -> Iterator[Missing]:
        """Descriptors that point outside the page data, or to no page."""
        bad, first_bad = 0, 0
        for batch in self._batches():
            self._lowest = min(self._lowest, batch.lowest)
            self._flags |= _union(batch.flags)
            if batch.worst(self._low, high, self._memory.page_size):
                rows = enumerate(batch.rows(), batch.first)
                wrong = [number for number, row in rows if not self._is_sound(row, high)]
                first_bad = first_bad if bad else wrong[0]
                bad += len(wrong)
        if bad:
            what = f"{bad} of {self._count} page descriptors lead to no page"
            at = self._memory.descriptors_offset + DESCRIPTOR_BYTES * first_bad
            yield Missing(what, at, Cause.DAMAGED)

    def _blank_bitmap(self) -> Iterator[Missing]:
        """A dump without pages ends with its bitmap."""
        if self._source.size > self._low:
            what = f"the bitmap names no page, but the file goes on to {human(self._source.size)}"
            yield Missing(what, self._low, Cause.DAMAGED)

    def _more_descriptors(self) -> Iterator[Missing]:
        """A bitmap that lost bits counts fewer pages than there are descriptors."""
        if self._lowest - self._low < DESCRIPTOR_BYTES or not self._flags:
            return
        for offset, size, flags, _ in self._memory.descriptors(
            self._low, self._low + DESCRIPTOR_BYTES
        ):
            if self._is_sound((offset, size, flags), self._source.size) and flags:
                what = f"the bitmap counts {self._count} pages, but there are more descriptors"
                yield Missing(what, self._low, Cause.DAMAGED)

    def _damaged_pages(self) -> Iterator[Missing]:
        """Pages that do not unpack, and pages of zeros where the dump has none."""
        bad: list[int] = []
        blank: list[int] = []
        numbers = self._sample()
        for number in numbers:
            descriptor = self._memory.descriptor(number)
            try:
                page = self._memory.inflate(descriptor)
            except Absent:
                bad.append(descriptor[0])
                continue
            is_blank = descriptor[0] != self._lowest and not page.strip(b"\0")
            blank += [descriptor[0]] if is_blank and not self._has_zeros else []
        if bad:
            what = f"{len(bad)} of {len(numbers)} pages that were tried do not unpack"
            yield Missing(what, min(bad), Cause.DAMAGED)
        if len(set(blank)) > 1:
            what = f"{len(blank)} of {len(numbers)} pages that were tried are overwritten by zeros"
            yield Missing(what, min(blank), Cause.BLANK)

    def _sample(self) -> list[int]:
        step = max(self._count // _SAMPLED, 1)
        last = range(max(self._count - _SAMPLED_LAST, 0), self._count)
        return sorted({*range(0, self._count, step), *last})

    def _is_sound(self, row: tuple[int, int, int], high: int) -> bool:
        offset, size, flags = row
        fits = offset >= self._low and offset + size <= high
        return fits and 0 < size <= self._memory.page_size and flags & pages.MASK in _KINDS

    def _batches(self) -> Iterator[_Batch]:
        """All descriptors, or as many as `_CHECKED` spread over the table, the last ones too."""
        step = _BATCH * max(-(-self._count // _CHECKED), 1)
        for first in range(0, self._count, step):
            yield self._batch(first, min(_BATCH, self._count - first))
        if step > _BATCH:
            yield self._batch(self._count - _BATCH, _BATCH)

    def _batch(self, first: int, count: int) -> _Batch:
        at = self._memory.descriptors_offset + DESCRIPTOR_BYTES * first
        data = self._source.read(at, DESCRIPTOR_BYTES * count).ljust(DESCRIPTOR_BYTES * count)
        wide, narrow = array("Q", data), array("I", data)
        if (self._order == "<") != (sys.byteorder == "little"):
            wide.byteswap()
            narrow.byteswap()
        return _Batch(first, wide[0::3], narrow[2::6], narrow[3::6])


def _union(flags: array[int]) -> int:
    result = 0
    for flag in set(flags):
        result |= flag
    return result
