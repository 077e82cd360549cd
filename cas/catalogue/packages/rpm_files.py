"""All files that an RPM lists, for those who unpack it.

rpmfile decodes the tags. It believes every count and offset, so it is given only the tags that are
used, one by one, after `rpm_header` has checked them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from posixpath import dirname
from typing import Any

from cas.catalogue.packages import rpm_header, rpm_layout
from cas.catalogue.packages.rpm_header import BadHeader, Entry
from cas.catalogue.packages.rpm_tags import (
    BASENAMES,
    DEVICES,
    DIRINDEXES,
    DIRNAMES,
    FILEDIGESTALGO,
    FILEDIGESTS,
    FILELINKTOS,
    FILEMODES,
    FILESIZES,
    INODES,
    LONGFILESIZES,
    OLDFILENAMES,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    digest_name,
    is_regular,
)
from cas.errors import PackageError
from cas.frozen import dataclass

_INT64 = 5
_SIZE_LIMIT = 1 << 60
_WANTED = {
    *(OLDFILENAMES, FILESIZES, FILEMODES, FILEDIGESTS, FILELINKTOS, DEVICES, INODES),
    *(DIRINDEXES, BASENAMES, DIRNAMES, LONGFILESIZES, FILEDIGESTALGO),
}


@dataclass(frozen=True, slots=True)
class File:
    """A file that the header lists, with the names as the header spells them."""

    path: str
    size_bytes: int | None
    mode: int | None
    link: str
    """Target of a symbolic link; else empty."""
    payload_bytes: int
    """How many bytes it takes in a payload of the stripped kind."""
    digest: tuple[str, str] | None
    """hashlib's name of the algorithm, and the hex digest of the content."""

    @property
    def is_regular(self) -> bool:
        """Whether it is a regular file, as far as the header tells."""
        return self.mode is None or is_regular(self.mode)


@dataclass(frozen=True, slots=True)
class Header:
    """The file list, and where the files' content begins."""

    files: tuple[File, ...]
    payload_offset: int

    @property
    def content_bytes(self) -> int | None:
        """Bytes of all files together; ``None`` when the header lacks a file's size."""
        if any(file.size_bytes is None for file in self.files):
            return None
        return sum(file.payload_bytes for file in self.files)


def read_file_list(path: Path) -> Header:
    """The files that a package lists.

    :raises PackageError: the content is not an RPM, or is damaged
    :raises OSError: the file cannot be read
    """
    try:
        tags, payload_offset = rpm_header.read_tags(path)
        return Header(
            _file_list(_rpmfile_tags(tags.index_entries(_WANTED), tags.store)), payload_offset
        )
    except BadHeader as error:
        raise PackageError(f"{path} is no intact RPM: {error}") from error


def build_ids_of_links(files: Sequence[File]) -> dict[str, str]:
    """Build-id of every file that a ``.build-id`` link points to; ``.debug`` links go first."""
    found: dict[str, str] = {}
    for file in sorted(files, key=lambda file: file.path.endswith(".debug")):
        build_id = rpm_layout.linked_build_id(file.path) if file.link else None
        if build_id is not None:
            found[rpm_layout.linked_path(dirname(file.path), file.link)] = build_id
    return found


def _rpmfile_tags(wanted: Sequence[Entry], store: bytes) -> dict[int, Any]:
    """What rpmfile makes of the entries, by tag number."""
    # rpmfile costs 10 to 30 ms, which a job with a warm cache does not have to spend.
    from rpmfile.errors import RPMError
    from rpmfile.headers import extract_data

    try:
        return {
            tag: struct.unpack_from(f">{count}Q", store, offset)
            if kind == _INT64  # rpmfile does not know this type
            else extract_data(kind, offset, count, store)
            for tag, kind, offset, count in wanted
        }
    except (RPMError, AssertionError, LookupError, TypeError, ValueError, struct.error) as error:
        raise BadHeader(f"its header cannot be decoded ({error})") from error


def _file_list(tags: dict[int, Any]) -> tuple[File, ...]:
    """The file list; what a shorter list leaves out is unknown."""
    names = [_decoded_name(name) for name in _strings(tags.get(BASENAMES))]
    if names:
        directories = [_decoded_name(name) for name in _strings(tags.get(DIRNAMES))]
        indexes = _as_numbers(tags.get(DIRINDEXES))
        if len(indexes) != len(names) or max(indexes) >= len(directories):
            raise BadHeader("its file list is inconsistent")
        paths = [directories[index] + name for index, name in zip(indexes, names, strict=True)]
    else:
        paths = [_decoded_name(name) for name in _strings(tags.get(OLDFILENAMES))]
    count = len(paths)
    sizes = _as_numbers(tags.get(LONGFILESIZES)) or _as_numbers(tags.get(FILESIZES))
    if any(size >= _SIZE_LIMIT for size in sizes):
        raise BadHeader("it lists a file that no disk could hold")
    modes = _padded(_as_numbers(tags.get(FILEMODES)), count)
    links = _texts(tags.get(FILELINKTOS), count)
    algorithm = next(iter(_as_numbers(tags.get(FILEDIGESTALGO))), None)
    digests = [digest_name(algorithm, text) for text in _texts(tags.get(FILEDIGESTS), count)]
    padded_sizes = _padded(sizes, count)

    devices, inodes = _as_numbers(tags.get(DEVICES)), _as_numbers(tags.get(INODES))
    pairs = list(zip(devices, inodes, strict=False))[:count]
    identities = [*pairs, *([None] * (count - len(pairs)))]
    # bytes of each file in a stripped payload: only the last of several hard links has content
    last = {identity: index for index, identity in enumerate(identities)}
    payload = [
        size or 0
        if (mode or 0) & S_IFMT == S_IFLNK
        or ((mode or 0) & S_IFMT == S_IFREG and (identity is None or last[identity] == index))
        else 0
        for index, (size, mode, identity) in enumerate(
            zip(padded_sizes, modes, identities, strict=True)
        )
    ]
    return tuple(map(File, paths, padded_sizes, modes, links, payload, digests))


def _strings(value: object) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    return [item for item in value if isinstance(item, bytes)] if isinstance(value, list) else []


def _as_numbers(value: object) -> tuple[int, ...]:
    """rpmfile gives one number as an integer, several as a tuple."""
    if isinstance(value, int):
        return (value,)
    return value if isinstance(value, tuple) else ()


def _texts(value: object, count: int) -> list[str]:
    texts = [_decoded_name(text) for text in _strings(value)[:count]]
    return texts + [""] * (count - len(texts))


def _padded(values: Sequence[int], count: int) -> list[int | None]:
    return [*values[:count], *([None] * (count - len(values)))]


def _decoded_name(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
