"""An RPM's header as it stands in the file, every count, offset and size checked before use.

Nothing is decoded that nobody asks for: a kernel's debuginfo lists many thousands of files, and ten
thousand packages are read in one run.

Source: rpm's docs/manual/format_v4.md, format_header.md and tags.md.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from bisect import bisect_right
from collections.abc import Collection, Iterator
from pathlib import Path

_LEAD_BYTES = 96
_LEAD_MAGIC = b"\xed\xab\xee\xdb"
_INTRO = struct.Struct(">4s4sII")
_INTRO_MAGIC = b"\x8e\xad\xe8\x01"
_ENTRY = struct.Struct(">IIII")

_FIRST_READ = 64 << 10
"""Holds the signature and the index of any header, and the whole of most."""
_MAGIC_BYTES = 6
_STEP = 256
"""Bytes of texts that are looked at one by one, rather than counted."""
_ENTRIES_LIMIT = 65535
_STORE_LIMIT = 32 << 20
"""A kernel-debuginfo with 30,000 files needs 4 MiB; rpm itself would allow 256."""
_ITEMS_LIMIT = 1 << 17
"""Of one tag. All files of Linux's source code are 90,000."""

_INT16, _INT32, _INT64, _STRING, _STRING_ARRAY, _I18N = 3, 4, 5, 6, 8, 9
_SMALLEST = {1: 1, 2: 1, _INT16: 2, _INT32: 4, _INT64: 8, _STRING: 1, 7: 1, 8: 1, 9: 1}
"""Bytes that one item of a tag type takes at least."""
_CODES = {_INT16: struct.Struct(">H"), _INT32: struct.Struct(">I"), _INT64: struct.Struct(">Q")}
_TEXTS = {_STRING, _STRING_ARRAY, _I18N}

_SIGNED_SIZE, _LONG_SIGNED_SIZE = 1000, 270
_DIGESTS = {273: "sha256", 269: "sha1"}
"""Tags of the signature that hold a digest of the header, and hashlib's names."""
_COMPRESSOR = 1125
_BEGINNINGS = {
    "gzip": rb"\x1f\x8b",
    "bzip2": rb"BZh",
    "xz": rb"\xfd7zXZ\0",
    "lzma": rb"\x5d\0\0",
    "zstd": rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18",
}

Entry = tuple[int, int, int, int]
"""Tag, type, offset in the store, count."""


class BadHeader(ValueError):
    """What is wrong with the file."""


class Texts:
    """The texts of a tag, where they stand in the header, each ended by a zero byte.

    None of them becomes an object of its own before it is asked for.
    """

    def __init__(self, data: bytes, begin: int, end: int, count: int) -> None:
        self._data = data
        self._begin = begin
        self._end = end
        self._last = (0, begin)
        """The text that was asked for last: its place, and where it begins."""
        self.count = count

    def __getitem__(self, place: int) -> bytes:
        """:raises BadHeader: there are not so many"""
        if not 0 <= place < self.count:
            raise _inconsistent_list()
        # where the text of this place begins, counted in growing steps from the last one
        last, begin = self._last if place >= self._last[0] else (0, self._begin)
        left, step = place - last, _STEP
        while left and step >= _STEP and begin < self._end:
            passed = self._data.count(b"\0", begin, min(begin + step, self._end))
            if passed < left:
                begin, left, step = begin + step, left - passed, step * 2
            else:
                step //= 2
        for _ in range(left):
            begin = self._ending(begin) + 1
        self._last = place, begin
        return self._data[begin : self._ending(begin)]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._data[self._begin : self._end].split(b"\0")[: self.count])

    def containing(self, part: bytes, limit: int) -> Iterator[tuple[int, bytes]]:
        """Every text in which this part stands, with its place.

        :raises BadHeader: there are more of them than the limit
        """
        data, begin, place = self._data, self._begin, 0
        for _ in range(limit):
            at = data.find(part, begin, self._end)
            if at < 0:
                return
            place += data.count(b"\0", begin, at)
            begin = self._ending(at) + 1
            if place < self.count:
                before = data.rfind(b"\0", self._begin, at)
                yield place, data[max(before + 1, self._begin) : begin - 1]
            place += 1
        raise BadHeader(f"more than {limit} of its files are called {part.decode()}")

    def occurrences(self, part: bytes) -> int:
        """How often these bytes stand in the texts."""
        return self._data.count(part, self._begin, self._end)

    def first(self, pattern: re.Pattern[bytes]) -> bytes | None:
        """What the group of a pattern is where it fits first."""
        found = pattern.search(self._data, self._begin, self._end)
        return found[1] if found else None

    def _ending(self, begin: int) -> int:
        end = self._data.find(b"\0", begin, self._end)
        if end < 0:
            raise _inconsistent_list()
        return end


class Tags:
    """The tags of a header, by number; each is decoded when it is asked for."""

    def __init__(self, data: bytes, index_size: int, store_size: int) -> None:
        """:param data: the index and, behind it, the store; what follows does not count"""
        self._data = data
        self._begin = index_size
        self._size = store_size
        index = memoryview(data)[:index_size]
        self._entries = {entry[0]: entry for entry in _ENTRY.iter_unpack(index)}
        self._offsets = sorted({entry[2] for entry in self._entries.values()})

    def index_entries(self, wanted: Collection[int]) -> list[Entry]:
        """Index entries of these tags that have content, each inside the store.

        :raises BadHeader: one is not, or together they would be larger than the store
        """
        entries = [self._entries[tag] for tag in sorted(wanted) if tag in self._entries]
        for entry in entries:
            self._check_entry(entry)
        if sum(entry[3] for entry in entries) > self._size:
            raise BadHeader("its tags overlap")
        return [entry for entry in entries if entry[3]]

    @property
    def store(self) -> bytes:
        """What the offsets of `index_entries` count in."""
        return self._data[self._begin : self._begin + self._size]

    def header_digest(self, name: str) -> str:
        """Of the whole header, in hex.

        :param name: hashlib's, of an algorithm
        """
        intro = _INTRO.pack(_INTRO_MAGIC, bytes(4), self._begin // _ENTRY.size, self._size)
        hashed = hashlib.new(name, intro, usedforsecurity=False)
        hashed.update(memoryview(self._data)[: self._begin + self._size])
        return hashed.hexdigest()

    def item_count(self, tag: int) -> int:
        """How many items a tag has."""
        entry = self._entries.get(tag)
        return entry[3] if entry else 0

    def integer(self, tag: int, place: int = 0) -> int | None:
        """One integer of a tag; ``None`` where there is none in this place."""
        entry = self._entries.get(tag)
        if entry is None or entry[1] not in _CODES or not 0 <= place < entry[3]:
            return None
        self._check_entry(entry)
        at = self._begin + entry[2] + place * _SMALLEST[entry[1]]
        return int(_CODES[entry[1]].unpack_from(self._data, at)[0])

    def texts(self, tag: int) -> Texts:
        """The texts of a tag; none where it is absent or of another kind."""
        entry = self._entries.get(tag)
        if entry is None or entry[1] not in _TEXTS:
            return Texts(b"", 0, 0, 0)
        self._check_entry(entry)
        count = 1 if entry[1] == _STRING else entry[3]
        # up to where the tag begins that follows in the store
        following = bisect_right(self._offsets, entry[2])
        after = self._offsets[following] if following < len(self._offsets) else self._size
        end = self._begin + min(after, self._size)
        return Texts(self._data, self._begin + entry[2], end, count)

    def first_text(self, tag: int) -> bytes:
        """The first text of a tag; empty where it is absent."""
        texts = self.texts(tag)
        return texts[0] if texts.count else b""

    def _check_entry(self, entry: Entry) -> None:
        tag, kind, offset, count = entry
        if count > _ITEMS_LIMIT:
            raise BadHeader(f"tag {tag} declares {count} items")
        if offset + count * _SMALLEST.get(kind, 1) > self._size:
            raise BadHeader(f"tag {tag} points outside the header")


def read_tags(path: Path) -> tuple[Tags, int]:
    """A package's tags, and where in the file its payload begins.

    Of the payload no more is read than the bytes that name its compression.

    :raises BadHeader: the file is no RPM, is damaged, cut or followed by something else
    :raises OSError: it cannot be read
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _Head(descriptor).tags_and_payload()
    finally:
        os.close(descriptor)


class _Head:
    """The beginning of a package file, in as few reads as can be."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._first = os.pread(descriptor, _FIRST_READ, 0)

    def tags_and_payload(self) -> tuple[Tags, int]:
        """The header's tags, and where the payload begins."""
        if not self._first:
            raise BadHeader("the file is empty")
        if not self._first.startswith(_LEAD_MAGIC):
            raise BadHeader("it does not begin like one")
        signature, end, _ = self._tags(_LEAD_BYTES, "signature")
        begin = (end + 7) // 8 * 8
        tags, end, payload = self._tags(begin, "header")

        # the signature says how long header and payload are together
        declared = signature.integer(_LONG_SIGNED_SIZE) or signature.integer(_SIGNED_SIZE)
        found = os.fstat(self._descriptor).st_size - begin
        if declared is not None and found < declared:
            raise BadHeader(f"the file is cut: {found:,} of {declared:,} bytes are there")
        if declared is not None and found > declared:
            raise BadHeader(f"{found - declared:,} bytes stand behind its end")

        # and since rpm 4 it has a digest of the header
        for tag, name in _DIGESTS.items():
            promised = signature.first_text(tag).decode("ascii", "backslashreplace")
            if promised:
                if tags.header_digest(name) != promised:
                    raise BadHeader(f"its header is damaged: it does not have the promised {name}")
                break

        compression = tags.first_text(_COMPRESSOR).decode("ascii", "backslashreplace")
        magic = _BEGINNINGS.get(compression)
        if magic is not None and not re.match(magic, payload):
            raise BadHeader(f"its payload is not compressed with {compression}, as the header says")
        return tags, end

    def _tags(self, offset: int, part: str) -> tuple[Tags, int, bytes]:
        """The tags of a part, where it ends, and the first bytes of what follows."""
        intro = self._bytes_at(offset, _INTRO.size)
        if len(intro) < _INTRO.size:
            raise BadHeader(f"the file ends inside the {part}")
        magic, _, entries, store_size = _INTRO.unpack(intro)
        if magic != _INTRO_MAGIC:
            raise BadHeader(f"its {part} does not begin where it must")
        if entries > _ENTRIES_LIMIT or store_size > _STORE_LIMIT:
            raise BadHeader(f"its {part} declares {entries} entries and {store_size} bytes")
        begin, index_size = offset + _INTRO.size, entries * _ENTRY.size
        size = index_size + store_size
        data = self._bytes_at(begin, size + _MAGIC_BYTES)
        if len(data) < size:
            raise BadHeader(f"the file ends inside the {part}")
        return Tags(data, index_size, store_size), begin + size, data[size:]

    def _bytes_at(self, offset: int, size: int) -> bytes:
        """So many bytes, fewer at the end of the file."""
        have = self._first[offset : offset + size]
        while len(have) < size:
            # From the beginning again, rather than to copy a large remainder behind it.
            more = os.pread(self._descriptor, size, offset)
            if len(more) <= len(have):
                break
            have = more
        return have


def _inconsistent_list() -> BadHeader:
    return BadHeader("its file list is inconsistent")
