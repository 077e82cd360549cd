"""What every format reader gives: physical memory at random, and the facts of its headers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol

from cas.choices import Cause, Checked
from cas.elf import Note, Segment
from cas.errors import NotADump
from cas.frozen import dataclass
from cas.model.dump import Missing
from cas.units import human_size

_EARLIEST_S, _LATEST_S = 946_684_800, 4_102_444_800  # the years 2000 and 2100


class Absent(NotADump):
    """The dump does not hold this memory, or does not tell this fact."""


class Foreign(NotADump):
    """The file is no kernel dump at all: nothing is to be salvaged."""


class Source(Protocol):
    """The bytes of a dump as its format means them: a file, or a flattened stream put in order."""

    @property
    def size(self) -> int:
        """Bytes, holes included."""

    def read(self, offset: int, size: int) -> bytes:
        """The bytes there; fewer at the end."""

    def data(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a range that are not holes, as start and end."""

    def gap(self, start: int, end: int) -> int | None:
        """The first offset of a range that a flattened stream wrote nothing to."""


class Memory(Protocol):
    """Physical memory of the crashed machine."""

    def read(self, address: int, size: int) -> bytes:
        """All the bytes there.

        :raises Absent: some of them are excluded, or lie beyond the end of a damaged dump
        """

    def chunks(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """What the dump holds of a physical range: addresses ascending, each with some bytes.

        Every chunk begins at a page; a range without holes may come in several chunks.
        """


@dataclass(frozen=True, slots=True)
class Image:
    """An opened dump."""

    format: str
    """``ELF`` or ``KDUMP``."""
    arch: str | None
    order: str
    """Byte order, as `struct` spells it."""
    memory: Memory
    page_size: int | None = None
    phys_base: int | None = None
    """phys_base of an x86_64 kernel, in bytes, for those whose VMCOREINFO does not tell it."""
    vmcoreinfo: bytes | None = None
    osrelease: str | None = None
    """From the KDUMP header's utsname."""
    nodename: str | None = None
    """From the same."""
    written: datetime | None = None
    """The KDUMP header's timestamp, UTC."""
    dump_level: int | None = None
    compression: str | None = None
    notes: tuple[Note, ...] = ()
    loads: tuple[Segment, ...] = ()
    """The segments of an ELF core that hold memory."""
    missing: tuple[Missing, ...] = ()
    checked: Checked = Checked.LENGTH
    pages: int | None = None
    pages_checked: int | None = None
    remarks: tuple[str, ...] = ()


def moment(seconds: int) -> datetime | None:
    """A kernel's clock as UTC; ``None`` for zero and for what no crash in this century says."""
    if not _EARLIEST_S <= seconds < _LATEST_S:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def cut(declared: int, size: int) -> Missing:
    """The statement that a dump ends before what its headers promise."""
    share = 100 * size // declared
    sizes = f"{human_size(declared)}, data ends at {human_size(size)}"
    if human_size(declared) == human_size(size):
        sizes = f"{declared} bytes, data ends at {size}"
    return Missing(f"declares {sizes} ({share} %)", size, Cause.CUT)


def no_record(offset: int) -> Missing:
    """The statement that a flattened stream wrote nothing to a place of the dump."""
    what = f"the flattened stream has no record for offset {offset} of the dump"
    return Missing(what, cause=Cause.DAMAGED)
