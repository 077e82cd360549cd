"""Every page of a KDUMP, and every descriptor: what of them is not as it was written.

A zlib page has a checksum; lzo, snappy and zstd pages are unpacked, which most damage does not
survive; of pages that are stored as they are only zeros are noticed. Measured in bench/README.md.

Source: makedumpfile 1.7.2, makedumpfile.c (write_kdump_pages_cyclic) and QEMU dump/dump.c
(write_dump_pages): a page is stored as it is only where it does not get smaller. All pages of zeros
have one place, since makedumpfile 1.1.3 (fd43c210df73).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from cas.choices import Cause
from cas.dump import pages
from cas.dump.kdump_descriptors import BATCH, DESCRIPTOR_BYTES, Bounds, Row
from cas.dump.kdump_header import Header
from cas.dump.kdump_memory import KdumpMemory
from cas.dump.memory import Absent, Source
from cas.model.dump import Missing

_WINDOW_BYTES = 4 << 20
_BLANKS = 1 << 12
"""Most places of pages of zeros that are counted one by one."""
_ORDERED = 64
"""A writer that keeps no order goes back more often than once in so many pages."""
_EXCLUDES_ZEROS = 1
_RUN = bytes(256)
"""Half a sector: of one that was lost, two pages of 4 KiB may have half each. With so many zeros
small pages get smaller, whatever the rest of them is; large ones do not always."""


@dataclass
class Place:
    """How many of one kind, and where the first of them is in the file."""

    count: int = 0
    offset: int | None = None

    def add(self, offset: int, count: int = 1) -> None:
        """Count some more."""
        self.count += count
        self.offset = offset if self.offset is None else min(self.offset, offset)


@dataclass
class Tally:
    """What was found so far."""

    checked: int = 0
    """Descriptors, each with its page."""
    astray: Place = field(default_factory=Place)
    """Descriptors that lead to no page."""
    back: Place = field(default_factory=Place)
    """Descriptors that lead to the data of a page before them."""
    broken: Place = field(default_factory=Place)
    """Pages that do not unpack."""
    blank: Place = field(default_factory=Place)
    """Pages with zeros where the dump can have none."""

    def add_tally(self, other: Tally) -> None:
        """Add what was found of other pages."""
        self.checked += other.checked
        for mine, others in zip(self.places(), other.places(), strict=True):
            if others.offset is not None:
                mine.add(others.offset, others.count)

    def places(self) -> tuple[Place, ...]:
        """All kinds, in the order in which they are told."""
        return self.astray, self.back, self.broken, self.blank

    def missing(self, count: int, *, is_sample: bool = False) -> Iterator[Missing]:
        """What is wrong, a sentence for each kind.

        :param count: descriptors in the table
        """
        tried = f"{self.checked} pages that were tried" if is_sample else f"{count} pages"
        is_ordered = self.back.count * _ORDERED <= self.checked
        for place, what in (
            (self.astray, f"{count} page descriptors lead to no page"),
            (self.back, f"{count} page descriptors lead to the data of other pages"),
            (self.broken, f"{tried} do not unpack"),
            (self.blank, f"{tried} are overwritten by zeros"),
        ):
            if place.count and (place is not self.back or is_ordered):
                yield Missing(f"{place.count} of {what}", place.offset, Cause.PAGES)


class PageCheck:
    """The check of one dump's pages."""

    def __init__(self, source: Source, header: Header, memory: KdumpMemory) -> None:
        """Read nothing yet."""
        self._source = source
        self._memory = memory
        self._has_zeros = not (header.dump_level or 0) & _EXCLUDES_ZEROS
        self._status = header.status & pages.MASK
        self._is_packed = bool(self._status)
        self._bounds = Bounds(memory.descriptors_end, source.size, memory.page_size)
        self._window, self._window_at = b"", 0
        self.count = memory.bitmap.count

    def check_all(
        self, first: int, end: int, report: Callable[[Tally], None] = lambda _: None
    ) -> Tally:
        """Check the pages of a range of descriptors.

        :param report: called now and then with what was found so far
        """
        tally, blanks = Tally(), Counter[int]()
        # The first page in the file stands for all pages of zeros, where there are some.
        low, shared, is_shared_seen = self._bounds.low, sys.maxsize, False
        for at in range(0, self.count, BATCH):
            batch = self._memory.batch(at, min(BATCH, self.count - at))
            inside = [batch.lowest] if batch.lowest >= low else batch.offsets
            shared = min(shared, *(offset for offset in inside if offset >= low), sys.maxsize)
        last = 0  # where the data of the page before end
        for row in self._memory.batch(first - 1, 1).rows() if first else ():
            if self._bounds.hold(row) and row[0] != shared:
                last = row[0] + row[1]
        for at in range(first, end, BATCH):
            batch = self._memory.batch(at, min(BATCH, end - at))
            is_sound = batch.is_within(self._bounds)
            for number, row in enumerate(batch.rows(), at):
                if not is_sound and not self._bounds.hold(row):
                    tally.astray.add(self._descriptor_offset(number))
                elif row[0] == shared:
                    if not is_shared_seen:
                        self._judge_page(row, tally, Counter())
                    is_shared_seen = True
                elif not self._judge_page(row, tally, blanks):
                    if row[0] < last:
                        tally.back.add(self._descriptor_offset(number))
                    last = row[0] + row[1]
            tally.checked += len(batch.offsets)
            report(tally)
        for offset, count in blanks.items():
            if count == 1:  # a page of zeros that many share was written so
                tally.blank.add(offset)
        return tally

    def check_some(self, numbers: Sequence[int], shared: int) -> Tally:
        """Check the pages of some descriptors, all of which lead to a page.

        :param shared: offset of the page that stands for all pages of zeros, if there is one
        """
        tally, blanks = Tally(checked=len(numbers)), Counter[int]()
        for number in numbers:
            (row,) = self._memory.batch(number, 1).rows()
            # they lie far from one another: what is around each need not be read
            self._window_at = row[0]
            self._window = self._source.read(row[0], min(row[1], _WINDOW_BYTES))
            self._judge_page(row, tally, Counter() if row[0] == shared else blanks)
        if len(blanks) > 1:  # a single one may be shared, which a sample does not tell
            tally.blank.add(min(blanks), blanks.total())
        return tally

    def _judge_page(self, row: Row, tally: Tally, blanks: Counter[int]) -> bool:
        """Count what is wrong with a page; whether it may be one of zeros that many share."""
        offset, size, flags = row
        start = offset - self._window_at
        if start < 0 or start + size > len(self._window):
            self._window = self._source.read(offset, _WINDOW_BYTES)
            self._window_at, start = offset, 0
        data = self._window[start : start + size]
        try:
            page = pages.inflate_page(data, flags, self._memory.page_size)
        except Absent:
            tally.broken.add(offset)
            return False
        if flags & pages.MASK:
            return False
        if page.strip(b"\0"):
            if self._is_packed and _RUN in page and pages.gets_smaller(page, self._status):
                tally.blank.add(offset)
            return False
        if self._is_packed or not self._has_zeros:
            if offset in blanks or len(blanks) < _BLANKS:
                blanks[offset] += 1
            else:
                tally.blank.add(offset)
        return True

    def _descriptor_offset(self, number: int) -> int:
        return self._memory.descriptors_offset + DESCRIPTOR_BYTES * number
