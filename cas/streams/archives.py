"""The files in an archive that is read from its beginning to its end: tar's and cpio's."""

from __future__ import annotations

import re
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cas.streams.budget import Layer
from cas.streams.flow import BLOCK_BYTES, Damaged, Flow

RECORD_BYTES = 512
HEADER_BYTES = 1 << 20
"""Of extended headers; honest ones hold a name and some times."""
MAX_EXTENTS = 1 << 20
"""Of a sparse file; a dump of 1 TiB has fewer, and each costs us 100 bytes."""
NAME_BYTES = 64 << 10
ZEROS = bytes(BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in an archive."""

    name: str
    """As the archive spells it; never a path of ours."""
    flow: Flow
    """Its contents."""


def tar_members(flow: Flow, layer: Layer) -> Iterator[Member]:
    """The regular files of a tar archive: v7, ustar, pax, GNU; sparse files are filled up."""
    extended: dict[str, str] = {}
    has_ended = False
    while record := flow.read(RECORD_BYTES):
        if record.count(0) == len(record):
            has_ended = True  # unless archives were joined
            continue
        header = _tar_header(record)
        if header is None and has_ended:
            return  # archives end with whatever the medium held
        if header is None:
            return _no_header(record)
        if header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            extended |= _pax(flow, header.size)
        elif header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            name = _padded(flow, header.size).rstrip(b"\0").decode("utf-8", "surrogateescape")
            extended |= {"path": name} if header.type == tarfile.GNUTYPE_LONGNAME else {}
        else:
            yield from _tar_member(flow, layer, record, (header, extended))
            extended = {}
    if not has_ended:
        raise Damaged("is cut off")


def _tar_header(record: bytes) -> tarfile.TarInfo | None:
    try:
        return tarfile.TarInfo.frombuf(record, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError):
        return None


def _no_header(record: bytes) -> None:
    if len(record) < RECORD_BYTES:
        raise Damaged("is cut off")
    raise Damaged("is damaged (no header where one is due)")


def _tar_member(
    flow: Flow, layer: Layer, record: bytes, header: tuple[tarfile.TarInfo, Mapping[str, str]]
) -> Iterator[Member]:
    info, extended = header
    size = _tar_size(info, extended)
    extents = _extents(flow, record, info, extended)
    end = flow.position + size
    if info.type not in (*tarfile.REGULAR_TYPES, tarfile.GNUTYPE_SPARSE):
        return flow.skip(0 if info.type in _WITHOUT_DATA else _round_up(size))
    if info.name.endswith("/") and info.type == tarfile.AREGTYPE:
        return flow.skip(_round_up(size))
    name = extended.get("GNU.sparse.name") or extended.get("path") or info.name
    if extents is None and _is_sparse_1(extended):
        extents = _map_before_data(flow, extended, end)
    stored = end - flow.position
    contents = _contents(flow, layer, stored)
    if extents is not None:
        contents = _filled(Flow(contents, flow), extents, stored)
    member = Member(name, Flow(layer.account.spent(contents), flow))
    yield member
    if not flow.is_broken:
        flow.skip(end + -size % RECORD_BYTES - flow.position)


_WITHOUT_DATA = frozenset(
    {tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE}
)


def _contents(flow: Flow, layer: Layer, size: int) -> Iterator[bytes]:
    """A member's bytes; the archive's end in their midst is noted."""
    begun = flow.position
    yield from flow.take(size)
    if flow.position < begun + size:
        layer.damaged(Damaged("is cut off"))
        flow.break_off()


def _tar_size(info: tarfile.TarInfo, extended: Mapping[str, str]) -> int:
    text = extended.get("size")
    size = info.size if text is None else int(text) if _NUMBER.fullmatch(text) else -1
    if not 0 <= size < 1 << 63:
        raise Damaged("is damaged (a file of impossible size)")
    return size


_NUMBER = re.compile(r"\d{1,19}", re.ASCII)


def _pax(flow: Flow, size: int) -> dict[str, str]:
    """The records of an extended header: ``length key=value`` and a newline."""
    data, found = _padded(flow, size), {}
    extents: list[str] = []
    while data:
        length, blank, _ = data[:21].partition(b" ")
        if not blank or not length.isdigit() or not len(length) + 2 < int(length) <= len(data):
            raise Damaged("is damaged (an extended header that contradicts itself)")
        record = data[len(length) + 1 : int(length)].removesuffix(b"\n")
        data = data[int(length) :]
        key, _, value = record.decode("utf-8", "surrogateescape").partition("=")
        if key in ("GNU.sparse.offset", "GNU.sparse.numbytes"):  # version 0.0: each many times
            extents.append(value)
        found[key] = value
    if extents:
        found["GNU.sparse.map"] = ",".join(extents)
    return found


def _padded(flow: Flow, size: int) -> bytes:
    if not 0 <= size <= HEADER_BYTES:
        raise Damaged("is damaged (an extended header of impossible size)")
    return flow.exactly(_round_up(size))[:size]


def _round_up(size: int) -> int:
    return size + -size % RECORD_BYTES


@dataclass(frozen=True, slots=True)
class _Extents:
    """Where a sparse file's stored bytes belong."""

    places: tuple[tuple[int, int], ...]
    """Offset and length of each piece."""
    size: int
    """Of the whole file."""


def _extents(
    flow: Flow, record: bytes, info: tarfile.TarInfo, extended: Mapping[str, str]
) -> _Extents | None:
    if info.type == tarfile.GNUTYPE_SPARSE:
        return _old_gnu_extents(flow, record)
    if "GNU.sparse.map" in extended:  # versions 0.0 and 0.1
        numbers = [_decimal(text) for text in extended["GNU.sparse.map"].split(",")]
        return _checked(numbers, _decimal(extended.get("GNU.sparse.size", "")))
    return None


def _is_sparse_1(extended: Mapping[str, str]) -> bool:
    return extended.get("GNU.sparse.major") == "1"


def _old_gnu_extents(flow: Flow, record: bytes) -> _Extents:
    """Four pieces in the header, 21 in each record behind it."""
    numbers, more = _pieces(record, 386, 4), record[482]
    size = _octal(record[483:495])
    while more:
        if len(numbers) > 2 * MAX_EXTENTS:
            raise Damaged("is damaged (a sparse file of too many pieces)")
        record = flow.exactly(RECORD_BYTES)
        numbers += _pieces(record, 0, 21)
        more = record[504]
    return _checked(numbers, size)


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
        raise Damaged("is damaged (a number that is none)")
    return int(text or b"0", 8)


def _decimal(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise Damaged("is damaged (a number that is none)")
    return int(text)


def _map_before_data(flow: Flow, extended: Mapping[str, str], end: int) -> _Extents:
    """Version 1.0: decimal numbers, each on a line, padded to a whole record."""
    size = _decimal(extended.get("GNU.sparse.realsize", ""))
    lines = _lines(flow, end)
    wanted = 2 * next(lines, 0)
    if wanted > 2 * MAX_EXTENTS:
        raise Damaged("is damaged (a sparse file of too many pieces)")
    numbers = [number for _, number in zip(range(wanted), lines, strict=False)]
    if len(numbers) < wanted:
        raise Damaged("is damaged (a sparse file whose map is too short)")
    return _checked(numbers, size)


def _lines(flow: Flow, end: int) -> Iterator[int]:
    text = b""
    while flow.position < end:
        text += flow.exactly(RECORD_BYTES)
        *whole, text = text.split(b"\n")
        for number in whole:
            if not re.fullmatch(rb"\d{1,19}", number):
                raise Damaged("is damaged (a number that is none)")
            yield int(number)


def _checked(numbers: list[int], size: int) -> _Extents:
    """Extents that ascend and stay inside the file."""
    places = tuple(zip(numbers[::2], numbers[1::2], strict=len(numbers) % 2 == 0))
    at = 0
    for offset, length in places:
        if offset < at or length < 0 or offset + length > size:
            raise Damaged("is damaged (a sparse file whose map contradicts itself)")
        at = offset + length
    if len(places) > MAX_EXTENTS or not 0 <= size < 1 << 63:
        raise Damaged("is damaged (a sparse file of impossible size)")
    return _Extents(places, size)


def _filled(flow: Flow, extents: _Extents, stored: int) -> Iterator[bytes]:
    """A sparse file with zeros where its map has nothing."""
    if sum(length for _, length in extents.places) != stored:
        raise Damaged("is damaged (a sparse file whose map does not fit its data)")
    at = 0
    for offset, length in (*extents.places, (extents.size, 0)):
        yield from _zeros(offset - at)
        begun = flow.position
        yield from flow.take(length)
        if flow.position - begun < length:
            return
        at = offset + length


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield ZEROS[:count]
        count -= BLOCK_BYTES


def cpio_members(flow: Flow, layer: Layer) -> Iterator[Member]:
    """The regular files of a cpio archive: newc, crc, odc and binary of either byte order."""
    while magic := flow.peek(6):
        header = _cpio_header(flow, magic)
        name = flow.exactly(header.name_size).rstrip(b"\0").decode("utf-8", "surrogateescape")
        flow.skip(-(header.bytes + header.name_size) % header.alignment)
        if name == "TRAILER!!!":
            return
        end = flow.position + header.size
        if stat.S_ISREG(header.mode):
            contents = _contents(flow, layer, header.size)
            yield Member(name, Flow(layer.account.spent(contents), flow))
        if not flow.is_broken:
            flow.skip(end + -header.size % header.alignment - flow.position)
    raise Damaged("is cut off")


@dataclass(frozen=True, slots=True)
class _CpioHeader:
    mode: int
    name_size: int
    size: int
    bytes: int
    alignment: int


def _cpio_header(flow: Flow, magic: bytes) -> _CpioHeader:
    if magic in (b"070701", b"070702"):
        header = _hex_header(flow.exactly(110))
    elif magic == b"070707":
        header = _octal_header(flow.exactly(76))
    elif magic[:2] in (b"\xc7\x71", b"\x71\xc7"):
        header = _binary_header(flow.exactly(26))
    else:
        raise Damaged("is damaged (no header where one is due)")
    if not 0 < header.name_size <= NAME_BYTES:
        raise Damaged("is damaged (a name of impossible length)")
    return header


def _hex_header(data: bytes) -> _CpioHeader:
    numbers = [_number(data[at : at + 8], 16) for at in range(6, 110, 8)]
    return _CpioHeader(numbers[1], numbers[11], numbers[6], 110, 4)


def _octal_header(data: bytes) -> _CpioHeader:
    mode, name_size, size = data[18:24], data[59:65], data[65:76]
    return _CpioHeader(_number(mode, 8), _number(name_size, 8), _number(size, 8), 76, 1)


def _binary_header(data: bytes) -> _CpioHeader:
    order = "little" if data[0] == 0xC7 else "big"
    word = [int.from_bytes(data[at : at + 2], order) for at in range(0, 26, 2)]  # type: ignore[arg-type]
    return _CpioHeader(word[3], word[10], word[11] << 16 | word[12], 26, 2)


def _number(digits: bytes, base: int) -> int:
    if not re.fullmatch(rb"[0-9a-fA-F]+" if base == 16 else rb"[0-7]+", digits):
        raise Damaged("is damaged (a number that is none)")
    return int(digits, base)
