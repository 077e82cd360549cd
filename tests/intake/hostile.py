"""Archives that mean harm, made by hand: members outside, special files, lying numbers."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zlib
from collections.abc import Iterator

import zstandard
from packing import DUMP, rar, seven_zip_of, sparse_tar, tar, zip_of

OUTSIDE = ("../escaped", "/tmp/escaped", "../../../../../../tmp/escaped", "..", "a/../../escaped")
SHORT = b"DUMP" + DUMP[4:5000]


def hostile() -> dict[str, bytes]:
    """Every archive by what is wrong with it."""
    found: dict[str, bytes] = {}
    for part in (_tar_paths, _tar_headers, _tar_sparse, _tar_pax, _zip, _cpio, _others):
        found |= dict(part())
    return found


def _entry(name: str, kind: bytes, link: str = "", size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    info.mode, info.uid = 0o6777, 0
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _end(dump: bytes = SHORT) -> bytes:
    return tar({"vmcore": dump})


def _tar_paths() -> Iterator[tuple[str, bytes]]:
    for name in OUTSIDE:
        yield f"tar path {name}", tar({name: SHORT})
        yield f"tar symlink to {name}", _entry("vmcore", tarfile.SYMTYPE, name) + _end()
        yield f"tar hard link to {name}", _entry("vmcore", tarfile.LNKTYPE, name) + _end()
    kinds = {"fifo": b"6", "device": b"3", "block device": b"4", "directory": b"5", "unknown": b"Z"}
    for what, kind in kinds.items():
        yield f"tar {what}", _entry("vmcore", kind) + _end()
    yield (
        "tar directory link, then a file in it",
        _entry("job", tarfile.SYMTYPE, "/tmp") + tar({"job/escaped": SHORT}),
    )


def _checked(record: bytearray) -> bytes:
    record[148:156] = b" " * 8
    record[148:156] = b"%06o\0 " % sum(record)
    return bytes(record)


def _tar_headers() -> Iterator[tuple[str, bytes]]:
    sizes = {
        "negative": b"\xff" * 12,
        "huge": b"\x80\0\0\0\x7f" + b"\xff" * 7,
        "octal maximum": b"77777777777\0",
        "no number": b"99999999999\0",
    }
    for what, size in sizes.items():
        record = bytearray(_entry("vmcore", b"0"))
        record[124:136] = size
        yield f"tar size {what}", _checked(record) + SHORT
    yield "tar long name without end", _entry("././@LongLink", b"L", size=1 << 30) + b"x" * 4096
    yield "tar long names without file", _entry("././@LongLink", b"L", size=5) * 2 + bytes(512)
    yield "tar damaged second header", tar({"a": b"x"})[:1024] + b"y" * 512 + _end()


def _sparse_record(pairs: list[tuple[int, int]], real: int, size: int) -> bytes:
    record = bytearray(_entry("vmcore", b"S", size=size))
    for number, (offset, length) in enumerate(pairs):
        record[386 + 24 * number : 410 + 24 * number] = b"%011o\0%011o\0" % (offset, length)
    record[483:495] = b"%011o\0" % real
    return _checked(record)


def _tar_sparse() -> Iterator[tuple[str, bytes]]:
    maps = {
        "beyond the end": ([(1 << 32, 512)], 1024, 512),
        "backwards": ([(4096, 512), (0, 512)], 8192, 1024),
        "overlapping": ([(0, 512), (256, 512)], 8192, 1024),
        "more than there is": ([(0, 1 << 30)], 1 << 30, 512),
        "less than there is": ([(0, 10)], 1024, 512),
        "far hole": ([(0, 512), ((1 << 33) - 512, 512)], (1 << 33), 1024),
    }
    for what, (pairs, real, size) in maps.items():
        yield f"tar sparse {what}", _sparse_record(pairs, real, size) + SHORT[:1024].ljust(1024)
    endless = bytearray(_sparse_record([(0, 1)], 1 << 30, 512))
    endless[482] = 1
    more = bytearray(512)
    more[504] = 1
    yield "tar sparse map without end", _checked(endless) + bytes(more) * 2000


def _pax_header(records: bytes, size: int | None = None) -> bytes:
    header = _entry("x", b"x", size=len(records) if size is None else size)
    return header + records + bytes(-len(records) % 512)


def _record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body) + len(str(len(body) + 3))
    return str(length).encode() + body


def _tar_pax() -> Iterator[tuple[str, bytes]]:
    for key, value in {
        "size": "-1",
        "size huge": "9" * 19,
        "size text": "many",
        "GNU.sparse.map": "5,1,0,1",
        "GNU.sparse.realsize": "-5",
        "GNU.sparse.size": "x",
        "path": "../../escaped",
        "linkpath": "/etc/passwd",
    }.items():
        records = _record(key.partition(" ")[0], value) + _record("GNU.sparse.size", "10")
        yield f"pax {key}={value[:8]}", _pax_header(records) + _end()
    yield "pax length that lies", _pax_header(b"99999999 path=x\n") + _end()
    yield "pax without lengths", _pax_header(b"path=../../x\n") + _end()
    yield "pax of gigabytes", _pax_header(b"12 path=x\n", 1 << 33) + _end()
    major = _record("GNU.sparse.major", "1") + _record("GNU.sparse.realsize", "100")
    for what, text in {"count": b"999999999\n", "text": b"a\nb\n", "nothing": b""}.items():
        info = _entry("vmcore", b"0", size=512)
        yield f"pax sparse 1.0 {what}", _pax_header(major) + info + text.ljust(512, b"\0")


def _zip() -> Iterator[tuple[str, bytes]]:
    for name in OUTSIDE:
        yield f"zip path {name}", zip_of({name: SHORT})
    good = zip_of({"vmcore": SHORT})
    lies = {"packed size": (18, 1 << 31), "size": (22, 1 << 31), "both": (18, 0xFFFFFFFF)}
    for what, (at, value) in lies.items():
        data = bytearray(good)
        data[at : at + 4] = struct.pack("<I", value)
        yield f"zip that lies about {what}", bytes(data)
    for what, at, value in (("name length", 26, 65535), ("extra length", 28, 65535)):
        data = bytearray(good)
        data[at : at + 2] = struct.pack("<H", value)
        yield f"zip that lies about {what}", bytes(data)
    method = bytearray(good)
    method[8] = 77
    yield "zip with an unknown method", bytes(method)
    yield "zip without a directory", good[: good.index(b"PK\x01\x02")]


def _newc(name: str, data: bytes) -> bytes:
    """A member of a cpio archive: thirteen numbers, name and data; see cpio(5)."""
    numbers = (1, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def _cpio() -> Iterator[tuple[str, bytes]]:
    good = _newc("vmcore", SHORT) + _newc("TRAILER!!!", b"")
    for what, at, value in (
        ("huge name", 94, b"FFFFFFFF"),
        ("no name", 94, b"00000000"),
        ("huge file", 54, b"FFFFFFFF"),
        ("no number", 54, b"-0000001"),
        ("device", 14, b"00002000"),
        ("link", 14, b"0000A1FF"),
    ):
        data = bytearray(good)
        data[at : at + 8] = value
        yield f"cpio {what}", bytes(data)
    yield "cpio path outside", good.replace(b"vmcore", b"../esc")


def _others() -> Iterator[tuple[str, bytes]]:
    seven = bytearray(seven_zip_of({"vmcore": SHORT}))
    for at in (12, 20, 28):
        lie = bytearray(seven)
        lie[at : at + 8] = struct.pack("<Q", 1 << 62)
        yield f"7z lie at {at}", bytes(lie)
    header = b"\x01\x04\x06\x00\x09" + b"\xff" * 40
    start = struct.pack("<QQI", 0, len(header), zlib.crc32(header))
    yield (
        "7z with endless counts",
        b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<I", zlib.crc32(start)) + start + header,
    )
    yield "rar path outside", rar(SHORT, "../../escaped")
    yield "rar absolute path", rar(SHORT, "/tmp/escaped")
    yield "rar of nothing", b"Rar!\x1a\x07\x01\0" + bytes(100)
    yield "gzip name without end", b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (4 << 20)
    yield "lzop block of 4 GiB", b"\x89LZO\0\r\n\x1a\n" + _lzop_header() + b"\xff" * 32
    yield "old lz4 block of 4 GiB", b"\x02\x21\x4c\x18" + b"\xff" * 64
    yield "compress of nonsense", b"\x1f\x9d\x90" + bytes(range(256)) * 20
    yield "sparse tar of GNU, cut", sparse_tar("gnu")(DUMP)[:3000]
    yield "gzip of a hostile tar", gzip.compress(tar({"../x": SHORT, "/tmp/y.txt": b"z"}))
    yield "bzip2 of nothing", bz2.compress(b"")
    yield "xz of nothing", lzma.compress(b"")
    yield "zstd of nothing", zstandard.compress(b"")
    yield "tar of nothing", io.BytesIO(tar({})).getvalue()
    big = bytearray(lzma.compress(SHORT, lzma.FORMAT_ALONE))
    big[1:5] = b"\0\0\0\xc0"
    yield "lzma with a dictionary of 3 GiB", bytes(big)


def _lzop_header() -> bytes:
    fixed = struct.pack(">HHHBBIIIIB", 0x1040, 0x20A0, 0x0940, 1, 5, 0, 0o100644, 0, 0, 0)
    return fixed + struct.pack(">I", zlib.adler32(fixed))
