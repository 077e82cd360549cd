"""Kernel memory of which parts may be missing."""

from __future__ import annotations

from bisect import bisect_right

from cas.dump.memory import Absent
from cas.dump.translate import Kernel
from cas.frozen import dataclass

_STEP = 4096


@dataclass(frozen=True, slots=True)
class Patchy:
    """Bytes, with zeros where the dump has none."""

    data: bytes
    lost: tuple[tuple[int, int], ...] = ()
    """Start and end of what is missing, ascending."""

    @property
    def lost_bytes(self) -> int:
        """How much is missing."""
        return sum(end - start for start, end in self.lost)

    def require(self, start: int, size: int) -> None:
        """Pass if a range is there.

        :raises Absent: some of it is missing
        """
        index = bisect_right(self.lost, (start, 1 << 64)) - 1
        before = index >= 0 and self.lost[index][1] > start
        behind = index + 1 < len(self.lost) and self.lost[index + 1][0] < start + size
        if before or behind or start + size > len(self.data):
            raise Absent("a part of it is not in the dump")

    def next_there(self, start: int) -> int:
        """The first place from a start on that is there."""
        index = bisect_right(self.lost, (start, 1 << 64)) - 1
        return max(start, self.lost[index][1]) if index >= 0 else start

    def joined(self, other: Patchy) -> Patchy:
        """These bytes and those of another behind them."""
        size = len(self.data)
        moved = ((start + size, end + size) for start, end in other.lost)
        return Patchy(self.data + other.data, (*self.lost, *moved))


def what_is_there(kernel: Kernel, address: int, size: int) -> Patchy:
    """The bytes at a virtual address, as many of them as the dump has.

    :raises Absent: not one page of them is there
    """
    try:
        return Patchy(kernel.read(address, size))
    except Absent as error:
        unread = error
    data = bytearray(size)
    lost: list[tuple[int, int]] = []
    at = 0
    while at < size:
        part = min(_STEP - (address + at) % _STEP, size - at)
        try:
            data[at : at + part] = kernel.read(address + at, part)
        except Absent:
            start = lost.pop()[0] if lost and lost[-1][1] == at else at
            lost.append((start, at + part))
        at += part
    if lost == [(0, size)]:
        raise unread
    return Patchy(bytes(data), tuple(lost))


def patches(kernel: Kernel, address: int, size: int) -> Patchy:
    """The same, where nothing at all is a patch too."""
    try:
        return what_is_there(kernel, address, size)
    except Absent:
        return Patchy(bytes(size), ((0, size),))
