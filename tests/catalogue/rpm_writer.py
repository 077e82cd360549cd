"""RPM files written tag by tag: any layout, any lie, and headers that rpm itself accepts.

Source: rpm's docs/manual/format_v4.md, format_header.md and tags.md.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

INT16, INT32, STRING, BINARY, STRINGS, I18N = 3, 4, 6, 7, 8, 9
ALIGNMENT = {INT16: 2, INT32: 4}
BUILT = 1_700_000_000
SENSE_EQUAL = 8

Tag = tuple[int, int, int, bytes]
"""Number, type, count, content."""


@dataclass(frozen=True)
class Entry:
    """A file of the list; its directory ends in a slash."""

    directory: str
    name: str
    mode: int = 0o100644
    size: int = 0
    link: str = ""
    digest: str = ""


def entry(path: str, size: int = 0, digest: str = "") -> Entry:
    before, slash, name = path.rpartition("/")
    return Entry(before + slash, name, 0o100644, size, "", digest)


def link(path: str, target: str) -> Entry:
    before, slash, name = path.rpartition("/")
    return Entry(before + slash, name, 0o120777, len(target), target)


def text(tag: int, value: str, kind: int = STRING) -> Tag:
    return tag, kind, 1, value.encode() + b"\0"


def texts(tag: int, values: Sequence[str]) -> Tag:
    return tag, STRINGS, len(values), ("\0".join(values) + "\0").encode()


def numbers(tag: int, values: Sequence[int], kind: int = INT32) -> Tag:
    code = "H" if kind == INT16 else "I"
    return tag, kind, len(values), struct.pack(f">{len(values)}{code}", *values)


def description(name: str, version: str, release: str, arch: str = "x86_64") -> list[Tag]:
    """The tags that say what a package is."""
    return [
        texts(100, ["C"]),
        text(1000, name),
        text(1001, version),
        text(1002, release),
        text(1004, "Debug information for package kernel", I18N),
        text(1005, "This package provides debug information for package kernel.", I18N),
        numbers(1006, [BUILT]),
        text(1007, "build.example.org"),
        text(1011, "CAS"),
        text(1014, "GPLv2 and Redistributable, no modification permitted"),
        text(1016, "Development/Debug", I18N),
        text(1021, "linux"),
        text(1022, arch),
        text(1044, f"kernel-{version}-{release}.src.rpm"),
        text(1064, "4.18.0"),
        text(1124, "cpio"),
        text(1132, f"{arch}-redhat-linux-gnu"),
        numbers(5011, [8]),
        text(5062, "utf-8"),
    ]


def file_list(files: Sequence[Entry]) -> list[Tag]:
    """The tags of the file list that tell one file from another."""
    places: dict[str, int] = {}
    indexes = [places.setdefault(file.directory, len(places)) for file in files]
    return [
        numbers(1028, [file.size for file in files]),
        numbers(1030, [file.mode for file in files], INT16),
        texts(1035, [file.digest for file in files]),
        texts(1036, [file.link for file in files]),
        numbers(1116, indexes),
        texts(1117, [file.name for file in files]),
        texts(1118, list(places)),
    ]


def old_file_list(files: Sequence[Entry]) -> list[Tag]:
    """The same as rpm 3 wrote it, with whole paths and no digests."""
    return [
        texts(1027, [file.directory + file.name for file in files]),
        numbers(1028, [file.size for file in files]),
        numbers(1030, [file.mode for file in files], INT16),
        texts(1036, [file.link for file in files]),
    ]


def constants(count: int) -> tuple[Tag, ...]:
    """The tags of the file list that are the same for every file."""
    return (
        numbers(1033, [0] * count, INT16),
        numbers(1034, [BUILT] * count),
        numbers(1037, [0] * count),
        texts(1039, ["root"] * count),
        texts(1040, ["root"] * count),
        numbers(1045, [0xFFFFFFFF] * count),
        numbers(1095, [1] * count),
        numbers(1096, range(1, count + 1)),
        texts(1097, [""] * count),
    )


def header(tags: Sequence[Tag], region: int) -> bytes:
    """A header of these tags, all of it in the region that digests and signatures cover."""
    index, store = bytearray(), bytearray()
    for tag, kind, count, content in sorted(tags, key=lambda tag: tag[0]):
        store += bytes(-len(store) % ALIGNMENT.get(kind, 1))
        index += struct.pack(">4I", tag, kind, len(store), count)
        store += content
    first = struct.pack(">4I", region, BINARY, len(store), 16)
    store += struct.pack(">2IiI", region, BINARY, -(len(index) + 16), 16)
    intro = b"\x8e\xad\xe8\x01" + struct.pack(">4x2I", len(index) // 16 + 1, len(store))
    return intro + first + bytes(index) + bytes(store)


def signature(main: bytes, payload: bytes, lies: Mapping[int, int] = {}) -> bytes:
    """The digests and sizes of header and payload.

    :param lies: numbers to put in place of the right ones, by tag
    """
    md5 = hashlib.md5(main, usedforsecurity=False)
    md5.update(payload)
    signed = header(
        [
            text(269, hashlib.sha1(main, usedforsecurity=False).hexdigest()),
            text(273, hashlib.sha256(main).hexdigest()),
            numbers(1000, [lies.get(1000, len(main) + len(payload))]),
            (1004, BINARY, 16, md5.digest()),
            numbers(1007, [len(payload)]),
        ],
        62,
    )
    return signed + bytes(-len(signed) % 8)


def lead(name: str) -> bytes:
    magic = b"\xed\xab\xee\xdb\x03\x00"
    return magic + struct.pack(">HH66sHH16x", 0, 1, name.encode()[:65], 1, 5)


def package(tags: Sequence[Tag], payload: bytes = b"") -> bytes:
    """A package file of these tags; without a payload digest of its own if they have none."""
    main = header(tags, 63)
    return lead("kernel-debuginfo") + signature(main, payload) + main + payload


def resigned(content: bytes, begin: int, end: int) -> bytes:
    """A package whose header, from begin to end, was changed, with right digests again."""
    main, payload = content[begin:end], content[end:]
    return content[:96] + signature(main, payload) + main + payload


def header_begin(content: bytes) -> int:
    """Where the header of a package stands: behind the signature."""
    entries, store = struct.unpack_from(">II", content, 96 + 8)
    return 96 + (16 + 16 * entries + store + 7) // 8 * 8


def newc(path: str, content: bytes) -> bytes:
    """A member of a cpio archive."""
    name = path.encode() + b"\0"
    fields = [1, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return aligned(aligned(head) + content)


def aligned(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


TRAILER = newc("TRAILER!!!", b"")
