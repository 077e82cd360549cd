"""What a KDUMP file lacks, seen without reading all of it.

The descriptors are checked in bulk, and some pages, spread over the file, are unpacked; all of them
where they are few. `page_check` does the rest. Source: makedumpfile 1.7.2, makedumpfile.c
(write_kdump_pages_cyclic, write_kdump_header); QEMU dump/dump.c.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

from cas.choices import Cause, Checked
from cas.dump.kdump_descriptors import BATCH, DESCRIPTOR_BYTES, Bounds
from cas.dump.kdump_header import Header, sub_header_fields
from cas.dump.kdump_memory import KdumpMemory
from cas.dump.memory import Source, cut, no_record
from cas.dump.page_check import PageCheck, Tally
from cas.frozen import dataclass
from cas.model.dump import Missing
from cas.units import human_size

_ALWAYS_FILLED = 6
"""The version of the header since which the sub-header has the number of page frames."""
INCOMPLETE = 0x8
"""In the header's status, since makedumpfile 1.5.8 (76025d3ca228)."""
"""The header's status bit of a dump that makedumpfile could not finish."""
FEW = 1 << 12
"""Pages that are all unpacked at once, which takes a twentieth of a second."""
_LOOKED_AT = 1 << 18
"""Most descriptors that are checked, which takes a tenth of a second; of more, some are."""
_STEP_BYTES = 1 << 20
"""Bytes of the bitmaps that are compared at once."""
_SAMPLED = 128
_SAMPLED_LAST = 16


@dataclass(frozen=True, slots=True)
class Survey:
    """What was seen."""

    flags: int
    """All flags of the descriptors."""
    missing: tuple[Missing, ...]
    checked: Checked = Checked.LENGTH
    pages_checked: int = 0
    end: int | None = None
    """Where the page data end."""


def survey_kdump(
    source: Source, header: Header, memory: KdumpMemory, *, is_far: bool = False
) -> Survey:
    """What the file lacks, and how far its pages were looked at.

    :param is_far: only whether its end is there
    """
    missing: list[Missing] = []
    if header.status & INCOMPLETE:
        what = "makedumpfile marked the dump as incomplete"
        missing.append(Missing(what, cause=Cause.INCOMPLETE))
    if header.version >= _ALWAYS_FILLED and source.read(0, 5) == b"KDUMP":
        size = sub_header_fields(header).size
        if source.read(header.block_size, size) == bytes(size):  # and not where the file is cut
            missing.append(Missing("its sub-header is zeros", header.block_size, Cause.DAMAGED))
    if header.split:
        frames = f"page frames {header.start_pfn} to {header.end_pfn}"
        missing.append(Missing(f"is one part of a split dump: {frames}", cause=Cause.PART))
    if header.max_mapnr > 8 * header.bitmap_bytes:
        room = f"the bitmap has room for {8 * header.bitmap_bytes}"
        what = f"declares {header.max_mapnr} page frames, {room}"
        missing.append(Missing(what, min(header.bitmap_offset, source.size), Cause.DAMAGED))
    parts = (header.vmcoreinfo, header.notes, header.eraseinfo)
    declared = max(sum(part) for part in parts)
    declared = max(declared, header.bitmap_offset + header.bitmap_bytes)
    if declared <= source.size:
        declared = max(declared, memory.descriptors_end)
    if declared > source.size:
        return Survey(0, (*missing, cut(declared, source.size)))
    gap = source.gap(header.bitmap_offset, memory.descriptors_end)
    if gap is not None:
        missing.append(no_record(gap))
    if is_far:
        last = _Pages(source, header, memory).page_data_end() if memory.bitmap.count else 0
        lacks = (cut(last, source.size),) if last > source.size else ()
        return Survey(header.status, (*missing, *lacks))
    missing += _lost_frames(source, header)
    found = _Pages(source, header, memory).survey()
    end = max(declared, found.end) if found.end else None
    return replace(found, missing=(*missing, *found.missing), end=end)


def _lost_frames(source: Source, header: Header) -> Iterator[Missing]:
    """What of the first bitmap, of all memory, is gone: the second has no frames but of those."""
    half = header.bitmap_bytes // 2
    start = header.bitmap_offset + half
    if header.max_mapnr > 8 * half:  # there is one only
        return
    for begin, end in source.data(start, start + -(-header.max_mapnr // 8)):
        for at in range(begin, end, _STEP_BYTES):
            size = min(_STEP_BYTES, end - at)
            first, second = (
                int.from_bytes(source.read(place, size), "little") for place in (at - half, at)
            )
            if lost := second & ~first:
                low = (lost & -lost).bit_length() - 1
                what = "the bitmap of memory lacks page frames that the bitmap of the dump has"
                yield Missing(what, at - half + low // 8, Cause.DAMAGED)
                return


class _Pages:
    """The survey of descriptors and pages."""

    def __init__(self, source: Source, header: Header, memory: KdumpMemory) -> None:
        self._source = source
        self._memory = memory
        self._check = PageCheck(source, header, memory)
        self._count = memory.bitmap.count
        self._low = memory.descriptors_end
        self._lowest = sys.maxsize
        """Where the page data begins: the page of zeros, where there is one."""
        self._flags = 0

    def survey(self) -> Survey:
        """The flags that were seen, and what is missing."""
        if not self._count:
            if self._source.size <= self._low:  # a dump without pages ends with its bitmap
                return Survey(0, ())
            size = human_size(self._source.size)
            what = f"the bitmap names no page, but the file goes on to {size}"
            return Survey(0, (Missing(what, self._low, Cause.DAMAGED),))
        end = self.page_data_end()
        if end > self._source.size:
            astray = self._astray(sys.maxsize)
            return Survey(self._flags, (cut(end, self._source.size), *self._missing_pages(astray)))
        tally, checked = self._astray(self._source.size), Checked.SAMPLED
        if self._count <= FEW:
            tally, checked = self._check.check_all(0, self._count), Checked.PAGES
        elif not tally.astray.count:
            spread = range(0, self._count, max(self._count // _SAMPLED, 1))
            last = range(max(self._count - _SAMPLED_LAST, 0), self._count)
            tally = self._check.check_some(sorted({*spread, *last}), self._lowest)
        missing = [*self._missing_pages(tally)]
        if self._lowest - self._low >= DESCRIPTOR_BYTES and self._flags:
            # a bitmap that lost bits counts fewer pages than there are descriptors
            bounds = Bounds(self._low, self._source.size, self._memory.page_size)
            (row,) = self._memory.batch(self._count, 1).rows()
            if bounds.hold(row) and row[2]:
                what = f"the bitmap counts {self._count} pages, but there are more descriptors"
                missing.append(Missing(what, self._low, Cause.DAMAGED))
        return Survey(self._flags, tuple(missing), checked, tally.checked, end)

    def _missing_pages(self, tally: Tally) -> Iterator[Missing]:
        yield from tally.missing(self._count, is_sample=self._count > FEW)

    def page_data_end(self) -> int:
        """Where the page data ends, by the last descriptor of another page than that of zeros."""
        for start in range(self._count - 1, -1, -BATCH):
            first = max(start - BATCH + 1, 0)
            batch = self._memory.batch(first, start - first + 1)
            shared = min(batch.offsets)
            rows = list(batch.rows())
            for offset, size, _ in reversed(rows):
                if offset != shared:
                    return offset + size
            if first == 0:
                return rows[0][0] + rows[0][1]
            if self._count - first > _LOOKED_AT:
                break
        return 0

    def _astray(self, high: int) -> Tally:
        """Descriptors that point outside the page data, or to no page."""
        tally = Tally()
        bounds = Bounds(self._low, high, self._memory.page_size)
        # All of them, or as many as `_LOOKED_AT` spread over them, the last ones too.
        step = BATCH * max(-(-self._count // _LOOKED_AT), 1)
        places = [*range(0, self._count, step)]
        if step > BATCH:
            places.append(self._count - BATCH)
        for first in places:
            batch = self._memory.batch(first, min(BATCH, self._count - first))
            self._lowest = min(self._lowest, batch.lowest)
            self._flags |= batch.all_flags
            if not batch.is_within(bounds):
                for number, row in enumerate(batch.rows(), batch.first):
                    if not bounds.hold(row):
                        at = self._memory.descriptors_offset + DESCRIPTOR_BYTES * number
                        tally.astray.add(at)
        return tally
