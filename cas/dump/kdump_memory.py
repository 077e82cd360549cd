"""Pages of a KDUMP: from a frame number through the bitmap and a descriptor to the bytes.

Source: makedumpfile 1.7.2, diskdump_mod.h (struct page_desc): the descriptors stand in the order of
the frames.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain

from cas.dump import pages
from cas.dump.bitmap import Bitmap
from cas.dump.kdump_descriptors import DESCRIPTOR_BYTES, Batch
from cas.dump.kdump_header import Header
from cas.dump.memory import Absent, Source

_BATCH_BYTES = DESCRIPTOR_BYTES << 12
_CACHED_PAGES = 256


class KdumpMemory:
    """Physical memory in the pages of a KDUMP."""

    def __init__(self, source: Source, header: Header) -> None:
        """Read nothing yet."""
        self._source = source
        # The second bitmap; in a part of a split dump only the frames of that part. Old DISKDUMP
        # files may have one bitmap only (crash 8.0.2, diskdump.c, dump_is_partial).
        half = header.bitmap_bytes // 2
        start = header.bitmap_offset + half
        if header.max_mapnr > 8 * half:
            half, start = header.bitmap_bytes, header.bitmap_offset
        frames = min(8 * half, header.max_mapnr)
        end = min(frames, header.end_pfn) if header.split else frames
        self.bitmap = Bitmap(source, start, header.start_pfn, end)
        self._order = header.order
        self._struct = struct.Struct(header.order + "qIIQ")
        self.page_size = header.block_size
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self.descriptors_offset = header.bitmap_offset + header.bitmap_bytes

    @property
    def descriptors_end(self) -> int:
        """Offset after the last descriptor, by the bitmap."""
        return self.descriptors_offset + DESCRIPTOR_BYTES * self.bitmap.count

    def descriptors(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Offset, size, flags and page flags, from one file offset to another."""
        data = self._source.read(start, end - start)
        return self._struct.iter_unpack(data[: len(data) // DESCRIPTOR_BYTES * DESCRIPTOR_BYTES])

    def batch(self, first: int, count: int) -> Batch:
        """Descriptors in bulk; what the file has no more of reads as zeros."""
        at = self.descriptors_offset + DESCRIPTOR_BYTES * first
        data = self._source.read(at, DESCRIPTOR_BYTES * count)
        return Batch.of(first, data.ljust(DESCRIPTOR_BYTES * count, b"\0"), self._order)

    def read(self, address: int, size: int) -> bytes:
        """See `Memory.read`."""
        if size <= 0:
            return b""
        first, last = address // self.page_size, (address + size - 1) // self.page_size
        parts: list[bytes] = []
        for frame in range(first, last + 1):
            page = self._cache.get(frame)
            if page is None:
                index = self.bitmap.index(frame)
                if index is None:
                    raise Absent(f"page frame {frame:#x} is not in the dump")
                page = self.page_behind(self.descriptor(index))
                self._cache[frame] = page
                if len(self._cache) > _CACHED_PAGES:
                    self._cache.popitem(last=False)
            parts.append(page)
        skip = address - first * self.page_size
        return b"".join(parts)[skip : skip + size]

    def chunks(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """See `Memory.chunks`; damaged pages are left out, and pages of zeros.

        Descriptors of a damaged dump may all lead to one page: no more is read than the file has.
        """
        frames = self.bitmap.held_frames(start // self.page_size, -(-end // self.page_size))
        first = next(frames, None)
        if first is None:
            return
        index, stop = self.bitmap.index(first) or 0, self.descriptors_end
        starts = range(self.descriptors_offset + DESCRIPTOR_BYTES * index, stop, _BATCH_BYTES)
        batches = (self.descriptors(at, min(at + _BATCH_BYTES, stop)) for at in starts)
        descriptors = chain.from_iterable(batches)
        zeros, left = -1, self._source.size
        for frame, descriptor in zip(chain((first,), frames), descriptors, strict=False):
            if descriptor[0] == zeros:
                continue
            left -= min(descriptor[1], self.page_size)
            if left < 0:
                return
            try:
                page = self.page_behind(descriptor)
            except Absent:
                continue
            if page.strip(b"\0"):
                yield frame * self.page_size, page
            else:
                zeros = descriptor[0]

    def descriptor(self, index: int) -> tuple[int, ...]:
        """One of `descriptors`, by its number.

        :raises Absent: the file ends before it
        """
        at = self.descriptors_offset + DESCRIPTOR_BYTES * index
        descriptor = self._source.read(at, DESCRIPTOR_BYTES)
        if len(descriptor) < DESCRIPTOR_BYTES:
            raise Absent("the descriptor of a page is cut off", offset=at)
        return self._struct.unpack(descriptor)

    def page_behind(self, descriptor: tuple[int, ...]) -> bytes:
        """The page that a descriptor leads to.

        :raises Absent: its data are cut off or damaged
        """
        offset, size, flags, _ = descriptor
        # A page that does not get smaller is stored as it is.
        data = self._source.read(offset, size) if size <= self.page_size else b""
        if len(data) < size or not data:
            raise Absent("the data of a page are cut off", offset=offset)
        return pages.inflate_page(data, flags, self.page_size)
