"""The files in a zip archive, read from its beginning to its end by their local headers.

The central directory at the end is not needed, so that a cut archive, and one inside another,
give what is there, and one that lies about its members costs nothing. Source: APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

import bz2
import lzma
import struct
from collections.abc import Callable, Iterator
from typing import Any

from cas.frozen import dataclass
from cas.streams.budget import UploadLayer
from cas.streams.decompress import decoded, unzstd_frame
from cas.streams.flow import CutOff, Damaged, Flow
from cas.streams.inflate import crc32, inflate
from cas.streams.layer import UPLOAD
from cas.streams.member import Member
from cas.text import printable

_HEADER = struct.Struct("<4s5H3I2H")
_NEXT = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x08")
_DESCRIPTOR = b"PK\x07\x08"
_WIDE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class _Header:
    flags: int
    method: int
    crc: int
    packed: int
    """Size in bytes of the packed data; 0 when it stands behind them."""
    size: int
    name: str

    @property
    def has_descriptor(self) -> bool:
        """Checksum and sizes follow the data."""
        return bool(self.flags & 8)

    @property
    def is_open_ended(self) -> bool:
        """Only the data themselves say where they end."""
        return self.has_descriptor and not self.packed


def zip_members(flow: Flow, layer: UploadLayer) -> Iterator[Member]:
    """The regular files of a zip archive; those that cannot be unpacked are named."""
    if flow.peek(4) in (_DESCRIPTOR, b"PK00"):  # it was, or could have been, split
        flow.exactly(4)
    while (magic := flow.peek(4)) == _NEXT[0]:
        fields = _HEADER.unpack(flow.exactly(_HEADER.size))
        _, _, flags, method, _, _, crc, packed, size, name_size, extra_size = fields
        name = flow.exactly(name_size).decode("utf-8", "surrogateescape")
        extra = flow.exactly(extra_size)
        while _WIDE in (packed, size) and len(extra) >= 4:  # 64 bits in an extra field of their own
            kind, length = struct.unpack_from("<2H", extra)
            if kind == 1:
                numbers = iter(struct.unpack(f"<{length // 8}Q", extra[4 : 4 + length // 8 * 8]))
                size, packed = (next(numbers, 0) if one == _WIDE else one for one in (size, packed))
                break
            extra = extra[4 + length :]
        header = _Header(flags, method, crc, packed, size, name)
        end = flow.position + header.packed
        if reason := _why_unreadable(header, flow):
            layer.note_locked(f"{printable(header.name)} in the {printable(layer.what)} {reason}")
            if header.is_open_ended:
                return
        elif header.packed or header.is_open_ended:
            contents = Flow(layer.spent(_member_contents(flow, layer, header)), flow)
            yield Member(header.name, contents)
            _ = header.is_open_ended and contents.drain()
        if flow.is_broken:
            return
        flow.skip(max(0, end - flow.position))
        if header.has_descriptor:
            flow.skip(_descriptor(flow)[0])
    if magic not in _NEXT:
        raise CutOff if len(magic) < 4 else Damaged("no header where one is due")


def _why_unreadable(header: _Header, flow: Flow) -> str | None:
    if header.flags & 0x2041 or header.method == 99:
        return "is encrypted"
    if header.method not in _METHODS:
        return f"is packed by method {header.method}, which CAS does not unpack"
    is_stored_from_a_pipe = header.is_open_ended and header.method == 0
    if is_stored_from_a_pipe and not _descriptor(flow)[0]:
        return "was stored without its length"
    return None


def _member_contents(flow: Flow, layer: UploadLayer, header: _Header) -> Iterator[bytes]:
    source = flow if header.is_open_ended else Flow(flow.take(header.packed), flow)
    crc = size = 0
    try:
        for block in _METHODS[header.method](source):
            crc, size = crc32(block, crc), size + len(block)
            layer.unpacked_bytes += len(block)
            yield block
    except Damaged as damage:
        if size == header.size and header.method == 14:  # has no mark at its end
            return
        layer.damaged(damage)
        if header.is_open_ended or not flow.peek(1):
            flow.break_off()
        return
    if not header.is_open_ended:
        source.drain()
    length, behind = _descriptor(flow) if header.has_descriptor else (0, header.crc)
    if crc != (behind if length or not header.has_descriptor else crc):
        layer.mismatch()


def _descriptor(flow: Flow) -> tuple[int, int]:
    """Length of the data descriptor that comes next, and the checksum in it; 0 if none does."""
    data = flow.peek(28)
    has_magic = data.startswith(_DESCRIPTOR)
    for length in (16, 24) if has_magic else (12, 20):
        if data[length : length + 4] in _NEXT:
            start = 4 if has_magic else 0
            return length, int.from_bytes(data[start : start + 4], "little")
    return 0, 0


def _inflate64(flow: Flow) -> Iterator[bytes]:
    from inflate64 import Inflater

    decoder: Any = Inflater()
    while not decoder.eof:
        offset = flow.offset
        data = flow.read(4096)  # its output cannot be bounded: at most 1,000 times as much
        if not data:
            raise CutOff
        try:
            block = decoder.inflate(data)
        except (ValueError, RuntimeError, EOFError, SystemError) as error:
            raise Damaged(offset=offset) from error
        if block:
            yield bytes(block)


def _lzma(flow: Flow) -> Iterator[bytes]:
    """LZMA with the properties of its first bytes (APPNOTE.TXT 5.8.8)."""
    properties_size = int.from_bytes(flow.exactly(4)[2:], "little")
    properties = flow.exactly(properties_size)
    if properties_size != 5 or properties[0] >= 225:
        raise Damaged("impossible properties")
    dictionary = int.from_bytes(properties[1:], "little")
    if dictionary > UPLOAD.lzma_bytes:
        raise Damaged(predicate="needs more memory to unpack than CAS gives it")
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    if lc + lp > 4:
        raise Damaged("impossible properties")
    known = {"id": lzma.FILTER_LZMA1, "dict_size": max(dictionary, 4096)}
    filters = [{**known, "lc": lc, "lp": lp, "pb": pb}]
    yield from decoded(lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), flow)


_METHODS: dict[int, Callable[[Flow], Iterator[bytes]]] = {
    0: lambda flow: iter(flow.block, b""),
    8: inflate,
    9: _inflate64,
    12: lambda flow: decoded(bz2.BZ2Decompressor(), flow),
    14: _lzma,
    20: lambda flow: unzstd_frame(flow, UPLOAD),
    93: lambda flow: unzstd_frame(flow, UPLOAD),
    95: lambda flow: decoded(lzma.LZMADecompressor(lzma.FORMAT_XZ, UPLOAD.lzma_bytes), flow),
}
