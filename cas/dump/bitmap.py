"""Which page frames a KDUMP holds.

Source: makedumpfile 1.7.2, diskdump_mod.h: bit N of the bitmap is page frame N, lowest bit first.
"""

from __future__ import annotations

from collections.abc import Iterator

from cas.dump.memory import Source

_BLOCK_BYTES = 4096
_BLOCK_FRAMES = 8 * _BLOCK_BYTES
_STEP_BYTES = 1 << 20
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
        self.end = min(end, 8 * max(source.size - offset, 0), _FRAMES_LIMIT)
        self.start = min(start, self.end)
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

    def held_frames(self, start: int, end: int) -> Iterator[int]:
        """The frames held in a range, ascending."""
        start, end = max(start, self.start), min(end, self.end)
        for base in range(start & -_BLOCK_FRAMES, end, _BLOCK_FRAMES):
            number = base // _BLOCK_FRAMES
            while len(self._ranks) <= number + 1:
                self._extend()
            if self._ranks[number] == self._ranks[number + 1]:
                continue
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
        """Count the next MiB of the bitmap; a hole of a sparse file is not read."""
        base = (len(self._ranks) - 1) * _BLOCK_FRAMES
        at = self._offset + base // 8
        if next(self._source.data(at, at + _STEP_BYTES), None) is None:
            self._ranks += [self._ranks[-1]] * (_STEP_BYTES // _BLOCK_BYTES)
            return
        data = self._source.read(at, _STEP_BYTES)
        for at in range(0, max(len(data), 1), _BLOCK_BYTES):
            block = int.from_bytes(data[at : at + _BLOCK_BYTES], "little")
            block = self._bits_within(block, base + 8 * at)
            self._ranks.append(self._ranks[-1] + block.bit_count())

    def _block(self, base: int, end: int) -> int:
        """The bits from a block's first frame up to a frame, as a number."""
        size = (end - base + 7) // 8
        block = int.from_bytes(self._source.read(self._offset + base // 8, size), "little")
        return self._bits_within(block & ((1 << (end - base)) - 1), base)

    def _bits_within(self, block: int, base: int) -> int:
        """Without the bits before `start` and from `end` on."""
        if self.end < base + _BLOCK_FRAMES:
            block &= (1 << max(self.end - base, 0)) - 1
        below = self.start - base
        return block >> below << below if below > 0 else block
