"""Sizes that a dump's headers claim and that debuggers take memory for without asking.

drgn 0.3.0 and crash 8.0.2 take as much memory as notes, erase info and bitmaps have bytes, holes of
a sparse file included (measured): a dump of a few KB can claim all of a machine's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cas import elf
from cas.choices import Cause
from cas.dump.kdump_header import Header
from cas.errors import CasError
from cas.model.dump import Dump, Missing
from cas.units import human_size

BITMAPS_LIMIT = 4 << 30
"""Bytes of both bitmaps of a KDUMP: a bit for each page of 4 KiB in 64 TiB, twice."""


class Overclaimed(CasError):
    """A dump claims what no kernel writes, and a debugger would take memory for it."""

    hint = "ask for the dump again, and compare checksums"


def require_modest(dump: Dump) -> None:
    """Make sure that a debugger may be given a dump.

    :raises Overclaimed: it may not
    """
    for lack in dump.missing:
        if lack.cause is Cause.CLAIM:
            message = f"no debugger is given this dump: it {lack.what}"
            raise Overclaimed(message, offset=lack.offset)


def of_elf(segments: Iterable[elf.Segment]) -> Iterator[Missing]:
    """What the program headers of an ELF core claim."""
    notes = [segment for segment in segments if segment.type == elf.PT_NOTE]
    yield from _beyond(sum(note.filesz for note in notes), elf.NOTES_LIMIT, "notes")


def of_kdump(header: Header) -> Iterator[Missing]:
    """What the header and sub-header of a KDUMP claim."""
    yield from _beyond(header.notes[1], elf.NOTES_LIMIT, "notes")
    yield from _beyond(header.vmcoreinfo[1], elf.NOTES_LIMIT, "VMCOREINFO")
    yield from _beyond(header.eraseinfo[1], elf.NOTES_LIMIT, "erase info")
    yield from _beyond(header.bitmap_bytes, BITMAPS_LIMIT, "bitmaps")


def _beyond(size: int, limit: int, what: str) -> Iterator[Missing]:
    if size > limit:
        told = (
            f"claims {human_size(size)} of {what}, and no kernel has more than {human_size(limit)}"
        )
        yield Missing(told, cause=Cause.CLAIM)
