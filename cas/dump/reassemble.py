"""A split dump put together again: the parts of ``makedumpfile --split`` as one KDUMP.

Each part has the header, the whole bitmap, and the descriptors and pages of its own page frames.
Source: makedumpfile 1.7.2, makedumpfile.c (reassemble_dumpfile), diskdump_mod.h; parts are read so
since makedumpfile 1.3.3 (5ad35c740ce1).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from cas.choices import Cause
from cas.dump.bitmap import Bitmap
from cas.dump.kdump_descriptors import DESCRIPTOR_BYTES
from cas.dump.kdump_header import Header, read_kdump_header, sub_header_fields
from cas.dump.kdump_memory import KdumpMemory
from cas.dump.kdump_survey import INCOMPLETE
from cas.dump.memory import cut
from cas.dump.source import FileSource, opened_source
from cas.errors import NotADump
from cas.files.whole import cannot_write
from cas.frozen import dataclass
from cas.model.dump import Dump, Missing
from cas.units import human_size

_CHUNK = 1 << 20
_BATCH_BYTES = DESCRIPTOR_BYTES << 14
_FRONT_LIMIT = 64 << 20
"""Most bytes before the bitmap: they hold the notes of all processors."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One file of the set."""

    path: Path
    source: FileSource
    header: Header
    memory: KdumpMemory
    data: tuple[int, int]
    """Where the pages begin and end; makedumpfile leaves room before them."""
    has_zeros: bool
    """The first page is one of zeros, which stands for all such pages."""

    @property
    def page_frames(self) -> tuple[int, int]:
        return self.header.start_pfn, self.header.end_pfn

    @property
    def has_bitmap(self) -> bool:
        return self.source.size >= self.memory.descriptors_offset


def reassemble(parts: Sequence[Path], target: Path) -> tuple[Missing, ...]:
    """Join the parts of a split dump, given in any order.

    The result is marked as incomplete when something is missing, as makedumpfile would.

    :param target: a file that is made or replaced; sparse, and on the disk when this returns
    :return: what is missing: parts with their page frames, and what is cut off of each
    :raises NotADump: not one usable part, or parts of different dumps
    :raises DiskFull: there is no room for the result
    """
    with ExitStack() as files:
        found, missing = _open_parts(files, parts)
        chain, more = _chain(found)
        missing += more
        for part in chain:  # what it lacks at its end, by its descriptors
            end, size = part.memory.descriptors_end, part.source.size
            if end <= size:
                last = max(end - _BATCH_BYTES, part.memory.descriptors_offset)
                rows = part.memory.descriptors(last, end)
                end = max((offset + length for offset, length, _, _ in rows), default=0)
            if end > size:
                lack = cut(end, size)
                what = f"{part.path.name} (page frames {_span(part.page_frames)}) {lack.what}"
                missing.append(Missing(what, lack.offset, lack.cause))
        ends = [0, *(part.header.end_pfn for part in chain)]
        starts = [*(part.header.start_pfn for part in chain), chain[0].header.max_mapnr]
        gaps = [(end, start) for end, start in zip(ends, starts, strict=True) if end < start]
        missing += _absent_frames(chain[0], gaps)
        is_incomplete = any(lack.cause is not Cause.TWICE for lack in missing)
        try:
            _write(target, _Joined(chain, gaps, is_incomplete=is_incomplete))
        except OSError as error:
            if target.is_file():
                target.unlink()
            raise cannot_write(target, error, sum(part.source.size for part in chain)) from error
    return tuple(missing)


def with_reason(dump: Dump, missing: Sequence[Missing]) -> Dump:
    """A joined dump of which parts are missing: the mark of an incomplete dump is ours.

    :param missing: what `reassemble` gave
    """
    causes = {lack.cause for lack in missing} - {Cause.TWICE}
    if not causes:
        return dump
    why = Missing("lacks what is cut off of its parts", cause=Cause.CUT)
    if Cause.PART in causes:
        why = Missing("lacks the page frames of parts that did not come", cause=Cause.PART)
    told = (why if lack.cause is Cause.INCOMPLETE else lack for lack in dump.missing)
    return replace(dump, missing=tuple(told))


def _open_parts(files: ExitStack, paths: Sequence[Path]) -> tuple[list[_Part], list[Missing]]:
    """The usable parts, all of one dump, and what is missing.

    :raises NotADump: no part is usable, or headers or bitmaps of two of them differ
    """
    found: list[_Part] = []
    missing: list[Missing] = []
    for path in paths:
        try:
            part = _read_part(path, files.enter_context(opened_source(path)))
        except NotADump as error:
            what = f"{path.name} is not a part of the dump: {error}"
            missing.append(Missing(what, cause=Cause.PART))
            continue
        if part.has_bitmap:
            found.append(part)
        else:
            what = f"{path.name} ends before its pages: page frames {_span(part.page_frames)}"
            missing.append(Missing(what, part.source.size, Cause.CUT))
    if not found:
        raise NotADump("; ".join(lack.what for lack in missing) or "no part of a split dump")
    first = found[0]
    start, end = first.header.bitmap_offset, first.memory.descriptors_offset
    pieces = [(at, min(_CHUNK, end - at)) for at in range(start, end, _CHUNK)]
    for part in found[1:]:
        if _identity(part) != _identity(first) or any(
            part.source.read(*piece) != first.source.read(*piece) for piece in pieces
        ):
            raise NotADump(
                f"{first.path.name} and {part.path.name} are parts of different dumps",
                hint="give the parts of one dump only",
            )
    return found, missing


def _read_part(path: Path, source: FileSource) -> _Part:
    if not source.read(0, 8).startswith(b"KDUMP"):
        raise NotADump("no KDUMP header")
    header = read_kdump_header(source)
    if not header.split or not 0 <= header.start_pfn <= header.end_pfn:
        raise NotADump("it is not split")
    front = header.block_size + sub_header_fields(header).size
    if not front <= header.bitmap_offset <= _FRONT_LIMIT:
        raise NotADump(f"its header has {human_size(header.bitmap_offset)}")
    memory = KdumpMemory(source, header)

    # The pages begin at the lowest offset that a descriptor leads to.
    low = end = memory.descriptors_end
    starts = range(memory.descriptors_offset, min(end, source.size), _BATCH_BYTES)
    batches = (memory.descriptors(at, min(at + _BATCH_BYTES, end)) for at in starts)
    offsets = (row[0] for batch in batches for row in batch if low <= row[0] < source.size)
    start = min(offsets, default=min(low, source.size))
    page = source.read(start, header.block_size)
    has_zeros = len(page) == header.block_size and not page.strip(b"\0")
    return _Part(path, source, header, memory, (start, source.size), has_zeros)


def _identity(part: _Part) -> tuple[object, ...]:
    header = part.header
    sizes = header.block_size, header.sub_blocks, header.bitmap_blocks, header.max_mapnr
    kind = header.order, header.bits, header.version
    return kind, sizes, header.utsname, header.timestamp_s, header.vmcoreinfo, header.notes


def _chain(parts: list[_Part]) -> tuple[list[_Part], list[Missing]]:
    """The parts in the order of their page frames, without empty ones and copies.

    A small dump has parts without page frames. Of two copies the longer one is taken; who sends one
    part twice has most likely left out another, which may be one without pages.
    """
    chain: list[_Part] = []
    twice: list[Missing] = []
    for part in sorted(parts, key=lambda part: (part.page_frames, -part.source.size)):
        start, end = part.page_frames
        if chain and part.page_frames == chain[-1].page_frames:
            what = f"{part.path.name} is the same part as {chain[-1].path.name}"
            twice.append(Missing(what, cause=Cause.TWICE))
        elif chain and start < chain[-1].header.end_pfn:
            raise NotADump(f"{part.path.name} and {chain[-1].path.name} share page frames")
        elif start < end or not chain:
            chain.append(part)
    return [part for part in chain if part.page_frames[0] < part.page_frames[1]] or chain[:1], twice


def _absent_frames(part: _Part, gaps: list[tuple[int, int]]) -> Iterator[Missing]:
    """The gaps in which the whole dump holds pages, by the bitmap that each part has of it."""
    header = part.header
    half = header.bitmap_bytes // 2
    for gap in gaps:
        end = min(gap[1], 8 * half)
        bitmap = Bitmap(part.source, header.bitmap_offset + half, min(gap[0], end), end)
        if pages := bitmap.count:
            size = human_size(pages * header.block_size)
            what = f"no part has page frames {_span(gap)}: {pages} pages, {size}"
            yield Missing(what, cause=Cause.PART)


def _span(frames: tuple[int, int]) -> str:
    return f"{frames[0]} to {frames[1]}"


class _Joined:
    """The layout of the result."""

    def __init__(
        self, chain: list[_Part], gaps: list[tuple[int, int]], *, is_incomplete: bool
    ) -> None:
        self.chain = chain
        self.gaps = gaps
        self.is_incomplete = is_incomplete
        self.descriptors = chain[0].memory.descriptors_offset
        counts = [part.memory.bitmap.count for part in chain]
        at = self.descriptors + DESCRIPTOR_BYTES * sum(counts)
        self.moves: list[int] = []
        """How far each part's pages move in the file."""
        for part in chain:
            start, end = part.data
            self.moves.append(at - start)
            at += end - start
        self.size = at

    def moved(self, part: _Part, descriptor: tuple[int, ...], move: int) -> tuple[int, ...]:
        """A descriptor for the result; one that points out of the part's pages leads to no page."""
        offset, size, flags, page_flags = descriptor
        low, high = part.data
        if not low <= offset <= high - size:
            return 0, 0, flags, page_flags
        if offset == low and part.has_zeros and self.chain[0].has_zeros:
            low, move = self.chain[0].data[0], self.moves[0]
            return low + move, size, flags, page_flags
        return offset + move, size, flags, page_flags


def _write(target: Path, joined: _Joined) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(target, flags, 0o600), "wb", buffering=0) as file:
        fd = file.fileno()
        _write_front(fd, joined)
        place = joined.descriptors
        for part, move in zip(joined.chain, joined.moves, strict=True):
            row = struct.Struct(part.header.order + "qIIQ")
            start, end = part.memory.descriptors_offset, part.memory.descriptors_end
            for at in range(start, end, _BATCH_BYTES):
                rows = part.memory.descriptors(at, min(at + _BATCH_BYTES, end))
                moved = (row.pack(*joined.moved(part, one, move)) for one in rows)
                _put(fd, b"".join(moved), place + at - start)
            place += end - start
            for begin, stop in part.source.data(*part.data):
                for at in range(begin, stop, _CHUNK):
                    _put(fd, part.source.read(at, min(_CHUNK, stop - at)), at + move)
        os.ftruncate(fd, joined.size)
        os.fsync(fd)


def _write_front(fd: int, joined: _Joined) -> None:
    """Header and sub-header, no longer those of a part, and both bitmaps.

    Page frames that no part has are taken out of the second bitmap.
    """
    first = joined.chain[0]
    header = first.header
    front = bytearray(first.source.read(0, header.bitmap_offset))
    status = header.status | (INCOMPLETE if joined.is_incomplete else 0)
    struct.pack_into(header.order + "I", front, header.status_offset, status & 0xFFFFFFFF)
    fields = sub_header_fields(header)
    row = list(fields.unpack_from(front, header.block_size))
    row[2:5] = 0, 0, 0
    if header.version >= 5 and row[10]:
        row[9] = row[9] + joined.moves[0] & (1 << 64) - 1
    if header.version >= 6:
        row[11:13] = 0, 0
    fields.pack_into(front, header.block_size, *row)
    _put(fd, bytes(front), 0)
    second = header.bitmap_offset + header.bitmap_bytes // 2
    for at in range(header.bitmap_offset, joined.descriptors, _CHUNK):
        data = bytearray(first.source.read(at, min(_CHUNK, joined.descriptors - at)))
        origin = 8 * (second - at)
        for gap in joined.gaps:
            start, end = max(gap[0] + origin, origin, 0), min(gap[1] + origin, 8 * len(data))
            if start < end:
                low, high = start // 8, -(-end // 8)
                bits = int.from_bytes(data[low:high], "little")
                bits &= ~(((1 << end - start) - 1) << start - 8 * low)
                data[low:high] = bits.to_bytes(high - low, "little")
        _put(fd, bytes(data), at)


def _put(fd: int, data: bytes, offset: int) -> None:
    """Write what is not zeros: the file has its size already."""
    if not data.strip(b"\0"):
        return
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done
