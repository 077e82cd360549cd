"""The files that an archive keeps as they are, as ranges of it: tar's, and those that zip stores.

Only headers are read. What needs more than that to be found (extended sizes, sparse files, members
that are packed) is not a range, and is left to who reads the archive from its beginning.
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Iterator

from cas.streams.random_access import Readable, Stretch
from cas.streams.tar import RECORD_BYTES
from cas.streams.wrapping import PEEK_BYTES, tar_header, wrapping

MEMBERS_LIMIT = 256
"""An archive of a dump has a few; each costs a piece unpacked where the archive is packed, too."""

_ZIP_HEADER = struct.Struct("<4s5H3I2H")
_WIDE = 0xFFFFFFFF
_TAR_RANGES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE)


def stored_members(archive: Readable) -> list[Readable] | None:
    """The members of a tar or zip archive.

    :return: ``None``: it is neither, or one of its members is no range
    """
    kinds = {"tar": _tar_members, "zip": _zip_members}
    find = kinds.get(wrapping(archive.read(0, PEEK_BYTES)) or "")
    found = list[Readable]()
    for member in find(archive) if find else (None,):
        if member is None or len(found) == MEMBERS_LIMIT:
            return None
        found.append(member)
    return found


def _tar_members(archive: Readable) -> Iterator[Stretch | None]:
    at = 0
    while len(record := archive.read(at, RECORD_BYTES)) == RECORD_BYTES and any(record):
        header = tar_header(record)
        at += RECORD_BYTES
        if header is None or header.type not in _TAR_RANGES or header.size < 0:
            yield None
            return
        size = header.size if header.type != tarfile.DIRTYPE else 0
        yield Stretch(archive, at, size)
        at += size + -size % RECORD_BYTES


def _zip_members(archive: Readable) -> Iterator[Stretch | None]:
    at = 0
    while len(record := archive.read(at, _ZIP_HEADER.size)) == _ZIP_HEADER.size:
        fields = _ZIP_HEADER.unpack(record)
        magic, _, flags, method, _, _, _, packed, size, name_bytes, extra_bytes = fields
        if magic != b"PK\3\4":  # the directory
            return
        extra_at = at + _ZIP_HEADER.size + name_bytes
        if _WIDE in (packed, size):
            extra = archive.read(extra_at, extra_bytes)
            # of zip64, alone or first: both sizes in 64 bits
            if extra[:2] != b"\1\0" or len(extra) < 20:
                yield None
                return
            size, packed = struct.unpack_from("<QQ", extra, 4)
        if flags & 0x2049 or method or packed != size:
            yield None
            return
        at = extra_at + extra_bytes
        yield Stretch(archive, at, size)
        at += size
