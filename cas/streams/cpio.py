"""The regular files of a cpio archive, in order; nothing is held but the piece at hand.

Source: cpio(5); Documentation/driver-api/early-userspace/buffer-format.rst for newc and crc;
rpm's docs/manual/format_payload.md and lib/cpio.c for rpm's own format without names, 07070X.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cas.streams.flow import CutOff, Damaged, Flow
from cas.streams.layer import Layer
from cas.streams.member import SizedMember
from cas.streams.tar import whole

_TRAILER = "TRAILER!!!"
_STRIPPED = b"07070X"


def cpio_members(
    flow: Flow, layer: Layer, listed: Sequence[tuple[str, int]] = ()
) -> Iterator[SizedMember]:
    """The regular files of a cpio archive: newc, crc, odc and binary of either byte order.

    :param listed: path and size in bytes of the files that rpm's own format means by their place
        in this list; each of them is given, also where it is a link
    """
    headers = 0
    while magic := flow.peek(6):
        if magic == _STRIPPED:
            # the archive has only the member's place in the package's list of files
            place = _number_of(flow.exactly(14)[6:], 16)
            if place >= len(listed):
                raise Damaged("no file of the header is meant")
            name, size = listed[place]
            header = _Header(stat.S_IFREG, 0, size, 14, 4)
        else:
            header = _member_header(flow, magic)
            if not 0 < header.name_size <= layer.limits.name_bytes:
                raise Damaged(f"a file name of {header.name_size} bytes")
            name = flow.exactly(header.name_size).rstrip(b"\0").decode("utf-8", "surrogateescape")
        flow.skip(-(header.size + header.name_size) % header.alignment)
        if name == _TRAILER:
            return
        headers += 1
        if headers > layer.limits.headers:
            raise Damaged(f"more than {layer.limits.headers} headers")
        layer.expect(header.content_size)
        end = flow.position + header.content_size
        if stat.S_ISREG(header.mode):
            contents = whole(flow, layer, header.content_size)
            yield SizedMember(name, Flow(layer.spent(contents), flow), header.content_size)
        if not flow.is_broken:
            flow.skip(end + -header.content_size % header.alignment - flow.position)
    raise CutOff


class _Header(NamedTuple):
    """Of a member; sizes in bytes."""

    mode: int
    name_size: int
    content_size: int
    size: int
    alignment: int


def _member_header(flow: Flow, magic: bytes) -> _Header:
    if magic in (b"070701", b"070702"):
        data = flow.exactly(110)
        numbers = [_number_of(data[at : at + 8], 16) for at in range(6, 110, 8)]
        return _Header(numbers[1], numbers[11], numbers[6], 110, 4)
    if magic == b"070707":
        data = flow.exactly(76)
        mode, name_size, size = (
            _number_of(part, 8) for part in (data[18:24], data[59:65], data[65:])
        )
        return _Header(mode, name_size, size, 76, 1)
    if magic[:2] in (b"\xc7\x71", b"\x71\xc7"):
        data, order = flow.exactly(26), "little" if magic[0] == 0xC7 else "big"
        word = [int.from_bytes(data[at : at + 2], order) for at in range(0, 26, 2)]  # type: ignore[arg-type]
        return _Header(word[3], word[10], word[11] << 16 | word[12], 26, 2)
    raise Damaged("no header where one is due") if len(magic) == 6 else CutOff


def _number_of(digits: bytes, base: int) -> int:
    if not re.fullmatch(rb"[0-9a-fA-F]+" if base == 16 else rb"[0-7]+", digits):
        raise Damaged("a number that is none")
    return int(digits, base)
