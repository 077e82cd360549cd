"""The regular files of a tar archive, in order; nothing is held but the piece at hand.

Python's tarfile reads single headers for us, no archives: in stream mode it takes the memory that a
hostile header asks for, remembers every member, follows links, and knows no limit of what it passes
over.

Source: tar(5); POSIX.1-2017, pax; GNU tar's manual, "Basic Tar Format" and "Storing Sparse Files".
"""

from __future__ import annotations

import itertools
import re
import tarfile
from collections.abc import Iterator, Mapping

from cas.frozen import dataclass
from cas.streams.flow import BLOCK_BYTES, CutOff, Damaged, Flow, Piece
from cas.streams.layer import Layer
from cas.streams.member import SizedMember
from cas.streams.wrapping import tar_header

RECORD_BYTES = 512
MAX_EXTENTS = 1 << 20
"""Pieces of a sparse file; a dump of 1 TiB has fewer, and each costs us 100 bytes."""
ZEROS = bytes(BLOCK_BYTES)

_WITHOUT_DATA = tuple(b"%d" % kind for kind in range(1, 7))
"""Links, devices, directories and FIFOs, whatever size they claim."""
_NUMBER = re.compile(r"\d{1,19}", re.ASCII)


def tar_members(flow: Flow, layer: Layer) -> Iterator[SizedMember]:
    """The regular files of a tar archive: v7, ustar, pax, GNU; sparse files are filled up."""
    extended: dict[str, str] = {}
    has_ended = False
    headers = itertools.count(1)
    while record := flow.read(RECORD_BYTES):
        if record.count(0) == len(record):
            has_ended = True  # unless archives were joined
            continue
        header = tar_header(record)
        if header is None and has_ended:
            return  # archives end with whatever the medium held
        if header is None:
            raise Damaged("no header where one is due") if len(record) == RECORD_BYTES else CutOff
        if next(headers) > layer.limits.headers:
            raise Damaged(f"more than {layer.limits.headers} headers")
        if header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            extended |= _pax_records(
                _extended_header(flow, layer, header.size, layer.limits.header_bytes)
            )
        elif header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            data = _extended_header(flow, layer, header.size, layer.limits.name_bytes)
            name = data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
            extended |= {"path": name} if header.type == tarfile.GNUTYPE_LONGNAME else {}
        else:
            yield from _tar_member(flow, layer, record, (header, extended))
            extended = {}
    if not has_ended:
        raise CutOff


def _tar_member(
    flow: Flow, layer: Layer, record: bytes, header: tuple[tarfile.TarInfo, Mapping[str, str]]
) -> Iterator[SizedMember]:
    info, extended = header
    size = 0
    if info.type not in _WITHOUT_DATA:
        text = extended.get("size")
        size = info.size if text is None else int(text) if _NUMBER.fullmatch(text) else -1
        if not 0 <= size < 1 << 63:
            raise Damaged("a file of impossible size")
    is_file = info.type in (*tarfile.REGULAR_TYPES, tarfile.GNUTYPE_SPARSE)
    if not is_file:
        layer.expect(size)
        return flow.skip(size + -size % RECORD_BYTES)
    name = extended.get("GNU.sparse.name") or extended.get("path") or info.name
    if len(name) > layer.limits.name_bytes:
        raise Damaged(f"a file name of {len(name)} bytes")
    is_sparse = info.type == tarfile.GNUTYPE_SPARSE or any(
        key.startswith("GNU.sparse.") for key in extended
    )
    if is_sparse and not layer.limits.has_sparse_files:
        raise Damaged("a sparse file")
    end = flow.position + size
    extents = _sparse_map(flow, record, info, extended)
    if extents is None and extended.get("GNU.sparse.major") == "1":
        extents = _map_before_data(flow, extended, end)
    stored = size_bytes = end - flow.position
    contents = whole(flow, layer, stored)
    if extents is not None:
        size_bytes = extents.size
        contents = _sparse_contents(Flow(contents, flow), extents, stored)
    layer.expect(size_bytes)
    yield SizedMember(name, Flow(layer.spent(contents), flow), size_bytes)
    if not flow.is_broken:
        flow.skip(end + -size % RECORD_BYTES - flow.position)


def whole(flow: Flow, layer: Layer, size: int) -> Iterator[Piece]:
    """A member's bytes; the archive's end in their midst is noted."""
    begun = flow.position
    yield from flow.take(size)
    if flow.position < begun + size:
        layer.damaged(CutOff())
        flow.break_off()


def _extended_header(flow: Flow, layer: Layer, size: int, limit: int) -> bytes:
    if not 0 <= size <= limit:
        raise Damaged(f"an extended header of {size} bytes")
    layer.expect(size)
    return flow.exactly(size + -size % RECORD_BYTES)[:size]


def _pax_records(data: bytes) -> dict[str, str]:
    """The records of an extended header: ``length key=value`` and a newline."""
    found: dict[str, str] = {}
    extents: list[str] = []
    at = 0
    while at < len(data):
        length, blank, _ = data[at : at + 21].partition(b" ")
        if not blank or not length.isdigit() or not len(length) + 2 < int(length) <= len(data) - at:
            raise Damaged("an extended header that is out of order")
        record = data[at + len(length) + 1 : at + int(length)].removesuffix(b"\n")
        at += int(length)
        key, _, value = record.decode("utf-8", "surrogateescape").partition("=")
        if key in ("GNU.sparse.offset", "GNU.sparse.numbytes"):  # version 0.0: each many times
            extents.append(value)
        found[key] = value
    if extents:
        found["GNU.sparse.map"] = ",".join(extents)
    return found


@dataclass(frozen=True, slots=True)
class _Extents:
    """Where a sparse file's stored bytes belong."""

    places: tuple[tuple[int, int], ...]
    """Offset and length of each piece."""
    size: int
    """Bytes of the whole file, holes included."""


def _sparse_map(
    flow: Flow, record: bytes, info: tarfile.TarInfo, extended: Mapping[str, str]
) -> _Extents | None:
    if info.type == tarfile.GNUTYPE_SPARSE:
        # four pieces in the header, 21 in each record behind it
        numbers, more = _pieces(record, 386, 4), record[482]
        size = _octal(record[483:495])
        while more:
            if len(numbers) > 2 * MAX_EXTENTS:
                raise Damaged("a sparse file of too many pieces")
            record = flow.exactly(RECORD_BYTES)
            numbers += _pieces(record, 0, 21)
            more = record[504]
        return _checked_extents(numbers, size)
    if "GNU.sparse.map" in extended:  # versions 0.0 and 0.1
        numbers = [_decimal(text) for text in extended["GNU.sparse.map"].split(",")]
        return _checked_extents(numbers, _decimal(extended.get("GNU.sparse.size", "")))
    return None


def _pieces(record: bytes, start: int, count: int) -> list[int]:
    fields = [record[at : at + 12] for at in range(start, start + 24 * count, 24)]
    lengths = [record[at + 12 : at + 24] for at in range(start, start + 24 * count, 24)]
    pairs = zip(fields, lengths, strict=True)
    return [_octal(field) for pair in pairs if pair[0].strip(b"\0 ") for field in pair]


def _octal(field: bytes) -> int:
    """A number of GNU's: octal digits, or big-endian behind a first byte of 0x80."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    text = field.strip(b"\0 ")
    if not re.fullmatch(rb"[0-7]*", text):
        raise Damaged("a number that is none")
    return int(text or b"0", 8)


def _decimal(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise Damaged("a number that is none")
    return int(text)


def _map_before_data(flow: Flow, extended: Mapping[str, str], end: int) -> _Extents:
    """Version 1.0: decimal numbers, each on a line, padded to a whole record."""

    def map_numbers() -> Iterator[int]:
        text = b""
        while flow.position < end:
            text += flow.exactly(RECORD_BYTES)
            *lines, text = text.split(b"\n")
            for line in lines:
                if not re.fullmatch(rb"\d{1,19}", line):
                    raise Damaged("a number that is none")
                yield int(line)

    size = _decimal(extended.get("GNU.sparse.realsize", ""))
    lines = map_numbers()
    wanted = 2 * next(lines, 0)
    if wanted > 2 * MAX_EXTENTS:
        raise Damaged("a sparse file of too many pieces")
    numbers = [number for _, number in zip(range(wanted), lines, strict=False)]
    if len(numbers) < wanted:
        raise Damaged("a sparse file whose map is too short")
    return _checked_extents(numbers, size)


def _checked_extents(numbers: list[int], size: int) -> _Extents:
    """Extents that ascend and stay inside the file."""
    places = tuple(zip(numbers[::2], numbers[1::2], strict=len(numbers) % 2 == 0))
    at = 0
    for offset, length in places:
        if offset < at or length < 0 or offset + length > size:
            raise Damaged("a sparse file whose map contradicts itself")
        at = offset + length
    if len(places) > MAX_EXTENTS or not 0 <= size < 1 << 63:
        raise Damaged("a sparse file of impossible size")
    return _Extents(places, size)


def _sparse_contents(flow: Flow, extents: _Extents, stored: int) -> Iterator[Piece]:
    """A sparse file with zeros where its map has nothing."""
    if sum(length for _, length in extents.places) != stored:
        raise Damaged("a sparse file whose map does not fit its data")
    at = 0
    for offset, length in (*extents.places, (extents.size, 0)):
        for hole_at in range(at, offset, BLOCK_BYTES):
            yield ZEROS[: offset - hole_at]
        begun = flow.position
        yield from flow.take(length)
        if flow.position - begun < length:
            return
        at = offset + length
