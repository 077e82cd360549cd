"""The page descriptors of a KDUMP in bulk: columns instead of rows.

Source: makedumpfile 1.7.2, diskdump_mod.h (struct page_desc): offset, size, flags, page flags.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from functools import cached_property
from operator import add

from cas.dump import pages
from cas.frozen import dataclass

DESCRIPTOR_BYTES = 24
BATCH = 1 << 12
"""Descriptors that are looked at together."""
KINDS = frozenset({0, pages.ZLIB, pages.LZO, pages.SNAPPY, pages.ZSTD})
Row = tuple[int, int, int]
"""Offset of the page's data in the file, their size in bytes, flags."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the data of a page may be."""

    low: int
    high: int
    page_size: int

    def hold(self, row: Row) -> bool:
        """Whether a descriptor may lead to a page."""
        offset, size, flags = row
        fits = offset >= self.low and offset + size <= self.high
        return fits and 0 < size <= self.page_size and flags & pages.MASK in KINDS


@dataclass(frozen=True)
class Batch:
    """Descriptors that stand one after another, by column."""

    first: int
    """Number of the first one."""
    offsets: array[int]
    sizes: array[int]
    flags: array[int]

    @classmethod
    def of(cls, first: int, data: bytes, order: str) -> Batch:
        """The descriptors in bytes of the table.

        :param order: byte order, as `struct` spells it
        """
        wide, narrow = array("Q", data), array("I", data)
        if (order == "<") != (sys.byteorder == "little"):
            wide.byteswap()
            narrow.byteswap()
        return cls(first, wide[0::3], narrow[2::6], narrow[3::6])

    def is_within(self, bounds: Bounds) -> bool:
        """Whether all of them pass `Bounds.hold`."""
        return (
            self.lowest >= bounds.low
            and (
                max(self.offsets) + bounds.page_size <= bounds.high
                or max(map(add, self.offsets, self.sizes)) <= bounds.high
            )
            and 0 not in self.sizes
            and max(self.sizes) <= bounds.page_size
            and all(flag & pages.MASK in KINDS for flag in set(self.flags))
        )

    @cached_property
    def lowest(self) -> int:
        """The lowest of the offsets."""
        return min(self.offsets)

    @property
    def all_flags(self) -> int:
        """The flags of all of them, joined."""
        result = 0
        for flag in set(self.flags):
            result |= flag
        return result

    def rows(self) -> Iterator[Row]:
        """One by one."""
        return zip(self.offsets, self.sizes, self.flags, strict=True)
