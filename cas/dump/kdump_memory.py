"""Pages of a KDUMP: from a frame number through the bitmap and a descriptor to the bytes.

Source: makedumpfile 1.7.2, diskdump_mod.h (struct page_desc); bit N of the bitmap is page frame N,
lowest bit first, and the descriptors stand in the order of the frames.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain

from cas.dump import pages
from cas.dump.kdump_header import Header
from cas.dump.memory import Absent, Source

DESCRIPTOR_BYTES = 24
_BLOCK_BYTES = 4096
_BLOCK_FRAMES = 8 * _BLOCK_BYTES
_STEP_BYTES = 1 << 20
_BATCH_BYTES = DESCRIPTOR_BYTES << 12
_CACHED_PAGES = 256
_FRAMES_LIMIT = 1 << 34
"""64 TiB in 4 KiB pages."""


class Bitmap:
    """Which page frames the file holds, and how many come before each."""

    def __init__(self, source: Source, offset: int, start: int, end: int) -> None:
        """Read nothing yet.

        :param offset: of the bitmap in the file
        :param start: first frame of this file, 0 except in a part of a split dump
        :param end: the frame after the last
        """
        self._source = source
        self._offset = offset
        self.start = start
        self.end = max(min(end, 8 * max(source.size - offset, 0), start + _FRAMES_LIMIT), start)
        self._ranks = [0]
        """Number of frames held before each block of `_BLOCK_FRAMES`."""

    @property
    def count(self) -> int:
        """Number of frames held."""
        return self._rank(self.end)

    def index(self, frame: int) -> int | None:
        """Which descriptor is that of a frame; ``None`` when the frame is not held."""
        if not self.start <= frame < self.end:
            return None
        byte = self._source.read(self._offset + frame // 8, 1)
        if not byte or not byte[0] >> frame % 8 & 1:
            return None
        return self._rank(frame)

    def frames(self, start: int, end: int) -> Iterator[int]:
        """The frames held in a range, ascending."""
        start, end = max(start, self.start), min(end, self.end)
        for base in range(start & -_BLOCK_FRAMES, end, _BLOCK_FRAMES):
            block = self._block(base, base + _BLOCK_FRAMES)
            while block:
                low = (block & -block).bit_length() - 1
                run = ((block >> low) + 1 & ~(block >> low)).bit_length() - 1
                yield from range(max(base + low, start), min(base + low + run, end))
                block = block >> (low + run) << (low + run)

    def _rank(self, frame: int) -> int:
        number = frame // _BLOCK_FRAMES
        while len(self._ranks) <= number:
            self._extend()
        base = number * _BLOCK_FRAMES
        return self._ranks[number] + self._block(base, frame).bit_count()

    def _extend(self) -> None:
        """Count the next MiB of the bitmap."""
        base = (len(self._ranks) - 1) * _BLOCK_FRAMES
        data = self._source.read(self._offset + base // 8, _STEP_BYTES)
        for at in range(0, max(len(data), 1), _BLOCK_BYTES):
            block = int.from_bytes(data[at : at + _BLOCK_BYTES], "little")
            block = self._within(block, base + 8 * at)
            self._ranks.append(self._ranks[-1] + block.bit_count())

    def _block(self, base: int, end: int) -> int:
        """The bits from a block's first frame up to a frame, as a number."""
        size = (end - base + 7) // 8
        block = int.from_bytes(self._source.read(self._offset + base // 8, size), "little")
        return self._within(block & ((1 << (end - base)) - 1), base)

    def _within(self, block: int, base: int) -> int:
        """Without the bits before `start` and from `end` on."""
        if self.end < base + _BLOCK_FRAMES:
            block &= (1 << max(self.end - base, 0)) - 1
        below = self.start - base
        return block >> below << below if below > 0 else block


class KdumpMemory:
    """Physical memory in the pages of a KDUMP."""

    def __init__(self, source: Source, header: Header) -> None:
        """Read nothing yet."""
        self._source = source
        self._bitmap = _held(source, header)
        self._struct = struct.Struct(header.order + "qIIQ")
        self._page_size = header.block_size
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self.descriptors_offset = header.bitmap_offset + header.bitmap_bytes

    @property
    def descriptors_end(self) -> int:
        """Offset after the last descriptor, by the bitmap."""
        return self.descriptors_offset + DESCRIPTOR_BYTES * self._bitmap.count

    @property
    def first_page(self) -> int:
        """Offset after the first page's data, if there is no page of zeros before it."""
        return self.descriptors_end + self._page_size

    def descriptors(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Offset, size, flags and page flags, from one file offset to another."""
        data = self._source.read(start, end - start)
        return self._struct.iter_unpack(data[: len(data) // DESCRIPTOR_BYTES * DESCRIPTOR_BYTES])

    def read(self, address: int, size: int) -> bytes:
        """See `Memory.read`."""
        if size <= 0:
            return b""
        first, last = address // self._page_size, (address + size - 1) // self._page_size
        parts = [self._page(frame) for frame in range(first, last + 1)]
        skip = address - first * self._page_size
        return b"".join(parts)[skip : skip + size]

    def chunks(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """See `Memory.chunks`; damaged pages are left out, and pages of zeros."""
        frames = self._bitmap.frames(start // self._page_size, -(-end // self._page_size))
        first = next(frames, None)
        if first is None:
            return
        descriptors = self._descriptors_from(self._bitmap.index(first) or 0)
        zeros = -1
        for frame, descriptor in zip(chain((first,), frames), descriptors, strict=False):
            if descriptor[0] == zeros:
                continue
            try:
                page = self._inflate(frame, descriptor)
            except Absent:
                continue
            if page.strip(b"\0"):
                yield frame * self._page_size, page
            else:
                zeros = descriptor[0]

    def _descriptors_from(self, index: int) -> Iterator[tuple[int, ...]]:
        end = self.descriptors_end
        for at in range(self.descriptors_offset + DESCRIPTOR_BYTES * index, end, _BATCH_BYTES):
            yield from self.descriptors(at, min(at + _BATCH_BYTES, end))

    def _page(self, frame: int) -> bytes:
        page = self._cache.get(frame)
        if page is None:
            page = self._load(frame)
            self._cache[frame] = page
            if len(self._cache) > _CACHED_PAGES:
                self._cache.popitem(last=False)
        return page

    def _load(self, frame: int) -> bytes:
        index = self._bitmap.index(frame)
        if index is None:
            raise Absent(f"page frame {frame:#x} is not in the dump")
        at = self.descriptors_offset + DESCRIPTOR_BYTES * index
        descriptor = self._source.read(at, DESCRIPTOR_BYTES)
        if len(descriptor) < DESCRIPTOR_BYTES:
            raise Absent(f"the descriptor of page frame {frame:#x} is cut off", offset=at)
        return self._inflate(frame, self._struct.unpack(descriptor))

    def _inflate(self, frame: int, descriptor: tuple[int, ...]) -> bytes:
        offset, size, flags, _ = descriptor
        # A page that does not get smaller is stored as it is.
        data = self._source.read(offset, size) if size <= self._page_size else b""
        if len(data) < size or not data:
            raise Absent(f"the data of page frame {frame:#x} are cut off", offset=offset)
        return pages.inflate(data, flags, self._page_size)


def _held(source: Source, header: Header) -> Bitmap:
    """The second bitmap; in a part of a split dump only the frames of that part."""
    half = header.bitmap_bytes // 2
    frames = min(8 * half, header.max_mapnr)
    end = min(frames, header.end_pfn) if header.split else frames
    return Bitmap(source, header.bitmap_offset + half, header.start_pfn, end)
