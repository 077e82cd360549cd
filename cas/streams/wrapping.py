"""Compression and archive formats, told by their first bytes.

Sources: RFC 1952, RFC 8878, the format documents of xz, lz4 and lzop, APPNOTE.TXT of zip,
7zFormat.txt, tar(5) and cpio(5); apport, problem_report.py.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

PEEK_BYTES = 512
ARCHIVES = frozenset({"tar", "cpio", "zip", "7z", "rar", "apport"})

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x02\x21\x4c\x18", "old lz4"),
    (b"\x89LZO\0\r\n\x1a\n", "lzop"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PK\x07\x08PK\x03\x04", "zip"),
    (b"PK00PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"070701", "cpio"),
    (b"070702", "cpio"),
    (b"070707", "cpio"),
    (b"ProblemType: ", "apport"),
)
_BZIP2_CONTENTS = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
"""Behind ``BZh`` and the level: a block, or the end of an empty file."""


def wrapping(head: bytes) -> str | None:
    """Name of the wrapping that a file's first 512 bytes announce; ``None`` for a plain file."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    for name, is_it in _RULES:
        if is_it(head):
            return name
    return None


def is_wrapped(path: Path) -> bool:
    """Whether a file begins as compressed data or an archive do."""
    with path.open("rb") as file:
        return wrapping(file.read(PEEK_BYTES)) is not None


def tar_header(record: bytes) -> tarfile.TarInfo | None:
    """A header of tar, known by its checksum: tar before POSIX has no magic."""
    try:
        return tarfile.TarInfo.frombuf(record, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError):
        return None


def _is_lzma(head: bytes) -> bool:
    """A header of 13 bytes without a magic; what the lzma and xz programs write is recognised."""
    if len(head) < 14 or head[0] >= 225 or head[13] != 0:
        return False
    dictionary, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    is_usual = dictionary >= 4096 and dictionary & (dictionary - 1) in (0, dictionary // 2)
    return is_usual and (size == (1 << 64) - 1 or 0 < size < 1 << 48)


def _is_binary_cpio(head: bytes) -> bool:
    for order in ("little", "big"):
        words = [int.from_bytes(head[at : at + 2], order) for at in range(0, 26, 2)]
        if words[0] == 0o070707 and len(head) >= 26:
            end = 25 + words[10]
            return 1 < words[10] <= 4096 and head[end : end + 1] in (b"\0", b"")
    return False


_RULES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    (
        "bzip2",
        lambda head: (
            head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in _BZIP2_CONTENTS
        ),
    ),
    ("skippable", lambda head: head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5),
    ("tar", lambda head: tar_header(head[:512]) is not None),
    (
        "compress",
        lambda head: head[:2] == b"\x1f\x9d" and len(head) > 3 and 9 <= head[2] & 0x1F <= 16,
    ),
    ("lzma", _is_lzma),
    ("cpio", _is_binary_cpio),
)
