"""What an ELF vmcore lacks, seen from its headers.

Source: elf(5); makedumpfile 1.7.2, elf_info.c (DUMP_ELF_INCOMPLETE in ``e_flags``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cas import elf
from cas.choices import Cause
from cas.dump.memory import Source, cut, no_record
from cas.dump.notes import lost_notes
from cas.model.dump import Missing
from cas.units import human_size

_INCOMPLETE = 1
"""In ``e_flags``, since makedumpfile 1.5.8 (e39216fce9f7)."""
_RISCV = 243
_SLACK = 1 << 16
"""A file copied from a partition may end behind its last segment."""
_TOP = 1 << 64
_TYPES, _FOREIGN_TYPES = 8, 0x60000000
"""Segments of the base standard are below, those of systems and machines from there on."""


def survey_elf(
    source: Source, header: elf.Header, segments: Sequence[elf.Segment]
) -> Iterator[Missing]:
    """Everything that the program headers promise and the file does not keep."""
    if len(segments) < header.phnum:
        what = f"only {len(segments)} of {header.phnum} program headers are there"
        yield Missing(what, source.size, Cause.CUT)
    declared = max((s.offset + s.filesz for s in segments), default=0)
    if declared > source.size:
        yield cut(declared, source.size)
    # RISC-V uses the bit for its compressed instructions (EF_RISCV_RVC).
    if header.flags & _INCOMPLETE and header.machine != _RISCV:
        yield Missing("makedumpfile marked the dump as incomplete", cause=Cause.INCOMPLETE)
    has_memory = any(s.filesz for s in segments if s.type == elf.PT_LOAD)
    if not has_memory and source.size > declared + _SLACK:
        size = human_size(source.size)
        what = f"no program header leads to memory, but the file goes on to {size}"
        yield Missing(what, declared, Cause.DAMAGED)
    front = header.phoff + header.phnum * header.phentsize
    for number, segment in enumerate(segments):
        if flaw := _flaw_of_segment(segment, front):
            what = f"program header {number} of {len(segments)} is damaged: {flaw}"
            yield Missing(what, header.phoff + number * header.phentsize, Cause.DAMAGED)
            break
    for segment in (s for s in segments if s.type == elf.PT_NOTE):
        data = source.read(segment.offset, min(segment.filesz, 1 << 16))
        if data and not data.strip(b"\0"):  # they come first in a file: zeros were never copied
            what = "the notes are zeros: the copy was not finished"
            yield Missing(what, segment.offset, Cause.BLANK)
            break
        yield from lost_notes(data, header.order, segment.offset)
    ranges = ((segment.offset, segment.offset + segment.filesz) for segment in segments)
    gaps = (source.gap(start, end) for start, end in ranges)
    gap = next((at for at in gaps if at is not None and at < source.size), None)
    if gap is not None:
        yield no_record(gap)


def _flaw_of_segment(segment: elf.Segment, front: int) -> str | None:
    """What no writer of dumps makes."""
    if segment.type not in (elf.PT_LOAD, elf.PT_NOTE):
        is_known = segment.type < _TYPES or segment.type >= _FOREIGN_TYPES
        return None if is_known and any(segment) else "it is blank, or of no known type"
    if not segment.filesz:
        return None
    if segment.offset < front:
        return f"its data begin inside the headers, at {segment.offset}"
    if segment.memsz and segment.filesz > segment.memsz and segment.type == elf.PT_LOAD:
        return f"{human_size(segment.filesz)} of data for {human_size(segment.memsz)} of memory"
    has_address = segment.type == elf.PT_LOAD and segment.paddr not in elf.NO_ADDRESS
    if has_address and segment.paddr + segment.filesz > _TOP:
        return f"it ends beyond the highest address, at {segment.paddr + segment.filesz:#x}"
    return None
