"""What an RPM's header says, read without touching the payload.

rpmfile decodes the tags. It believes every count and offset, so this module first checks the index
and hands it only the tags that are used, in a header of our own making.

Source: rpm's docs/manual/format_v4.md, format_header.md and tags.md.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any, BinaryIO

from cas.catalogue.facts import Package, PackagedKernel
from cas.errors import PackageError

_LEAD = struct.Struct(">4sBBhh66shh16s")
_LEAD_MAGIC = b"\xed\xab\xee\xdb"
_INTRO = struct.Struct(">4s4sII")
_INTRO_MAGIC = b"\x8e\xad\xe8\x01"
_ENTRY = struct.Struct(">IIII")

_ENTRIES_LIMIT = 65535
_STORE_LIMIT = 32 << 20
"""A kernel-debuginfo with 30,000 files needs 4 MiB; rpm itself would allow 256."""
_KERNELS_LIMIT = 64
_ARCH_LIMIT = 32
_SIZE_LIMIT = 1 << 60
_INT64 = 5
_SMALLEST = {2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 1, 9: 1}
"""Bytes that one item of a tag type takes at least."""

_NAME, _BUILDTIME, _ARCH = 1000, 1006, 1022
_OLDFILENAMES, _FILESIZES, _FILEMODES, _FILEDIGESTS, _FILELINKTOS = 1027, 1028, 1030, 1035, 1036
_DEVICES, _INODES = 1095, 1096
_DIRINDEXES, _BASENAMES, _DIRNAMES = 1116, 1117, 1118
_LONGFILESIZES, _FILEDIGESTALGO = 5008, 5011
_WANTED = {
    _NAME,
    _BUILDTIME,
    _ARCH,
    _OLDFILENAMES,
    _FILESIZES,
    _FILEMODES,
    _FILEDIGESTS,
    _FILELINKTOS,
    _DEVICES,
    _INODES,
    _DIRINDEXES,
    _BASENAMES,
    _DIRNAMES,
    _LONGFILESIZES,
    _FILEDIGESTALGO,
}
_DIGESTS = {1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512"}
"""hashlib's names of rpm's FILEDIGESTALGO numbers (those of OpenPGP); 1 where there is none."""

_S_IFMT, _S_IFREG, _S_IFLNK = 0o170000, 0o100000, 0o120000

_RELEASE = r"[0-9][A-Za-z0-9._+~-]{0,127}"
_VMLINUX = re.compile(
    rf"/usr/lib/debug/(?:usr/)?lib/modules/(?P<modules>{_RELEASE})/vmlinux(?:\.debug)?"
    rf"|/usr/lib/debug/boot/vmlinux-(?P<boot>{_RELEASE}?)(?:\.debug)?"
)
_BUILD_ID_LINK = re.compile(
    r".*/\.build-id/([0-9a-f]{2})/([0-9a-f]{6,126})(?:\.[0-9]{1,3})?(\.debug)?"
)
_FLAVOUR = re.compile(
    r"\+(?P<plus>[A-Za-z0-9-]+)$"
    r"|\.el\d+(?:_\d+)?\.?(?P<el>PAE|xen|smp|largesmp|hugemem|kdump|debug)$"
    r"|EL(?P<EL>smp|largesmp|hugemem|xenU?)$"
    r"|\.(?P<dot>debug|rt|64k|kdump|lpae)$"
    r"|(?P<uek>uek)(?:\.|$)"
    r"|\.(?P<rt>rt)\d+\."
    r"|\d-(?P<suse>[a-z][a-z0-9_]*(?:-[a-z][a-z0-9_]*)?)$"
)
_ARCHES = {
    "i386": "i686",
    "i486": "i686",
    "i586": "i686",
    "athlon": "i686",
    "amd64": "x86_64",
    "ia32e": "x86_64",
    "x86_64_v2": "x86_64",
    "x86_64_v3": "x86_64",
    "x86_64_v4": "x86_64",
    "arm64": "aarch64",
    "ppc64el": "ppc64le",
    "ppc64p7": "ppc64",
    "armv5tel": "arm",
    "armv6hl": "arm",
    "armv7l": "arm",
    "armv7hl": "arm",
    "armv7hnl": "arm",
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
    digest: str
    """Of the content, in hex; empty when the header has none."""

    @property
    def is_regular(self) -> bool:
        """Whether it is a regular file, as far as the header tells."""
        return self.mode is None or self.mode & _S_IFMT == _S_IFREG


@dataclass(frozen=True, slots=True)
class Header:
    """The tags that CAS uses, decoded."""

    name: str
    arch: str
    """``uname -m`` spelling."""
    build_time_s: int | None
    files: tuple[File, ...]
    digest_algorithm: str | None
    """As hashlib spells it; ``None`` when it is none of those that are known."""
    payload_offset: int


def read_package(path: Path) -> Package:
    """The kernels that a package holds debug information of.

    :return: without kernels for a package that has no vmlinux
    :raises PackageError: the content is not an RPM, or is damaged
    :raises OSError: the file cannot be read
    """
    header = read_header(path)
    kernels = tuple(_kernels(header.files))
    if len(kernels) > _KERNELS_LIMIT:
        raise PackageError(f"{path} claims to hold {len(kernels)} kernels")
    return Package(header.name, header.arch, header.build_time_s, kernels)


def read_header(path: Path) -> Header:
    """The header of an RPM file.

    :raises PackageError: the content is not an RPM, or is damaged
    :raises OSError: the file cannot be read
    """
    try:
        with path.open("rb") as file:
            tags, payload_offset = _tags(file)
        return Header(
            name=_text(tags.get(_NAME)),
            arch=uname_arch(_text(tags.get(_ARCH)))[:_ARCH_LIMIT],
            build_time_s=next(iter(_numbers(tags.get(_BUILDTIME))), None),
            files=_files(tags),
            digest_algorithm=_DIGESTS.get(next(iter(_numbers(tags.get(_FILEDIGESTALGO))), 1)),
            payload_offset=payload_offset,
        )
    except _Damaged as error:
        raise PackageError(f"{path} is no intact RPM: {error}") from error


def uname_arch(arch: str) -> str:
    """A package's architecture as ``uname -m`` spells it."""
    return _ARCHES.get(arch, arch)


def flavour(release: str) -> str:
    """The kernel variant that a release names: ``rt``, ``PAE``, ``default``, …; else empty."""
    found = _FLAVOUR.search(release)
    return next((text for text in found.groups() if text), "") if found else ""


class _Damaged(ValueError):
    """What is wrong with the file."""


def _tags(file: BinaryIO) -> tuple[dict[int, Any], int]:
    """The wanted tags, and where the payload begins."""
    lead = file.read(_LEAD.size)
    if not lead:
        raise _Damaged("the file is empty")
    if lead[:4] != _LEAD_MAGIC:
        raise _Damaged("it does not begin like one")
    entries, store_size = _intro(file, "signature")
    signature_size = _INTRO.size + entries * _ENTRY.size + store_size
    file.seek(_LEAD.size + (signature_size + 7) // 8 * 8)
    entries, store_size = _intro(file, "header")
    index = _exactly(file, entries * _ENTRY.size, "header")
    store = _exactly(file, store_size, "header")
    wanted = _checked(index, store_size)
    return _decoded(wanted, store), file.tell()


def _intro(file: BinaryIO, part: str) -> tuple[int, int]:
    magic, _, entries, store_size = _INTRO.unpack(_exactly(file, _INTRO.size, part))
    if magic != _INTRO_MAGIC:
        raise _Damaged(f"its {part} does not begin where it must")
    if entries > _ENTRIES_LIMIT or store_size > _STORE_LIMIT:
        raise _Damaged(f"its {part} declares {entries} entries and {store_size} bytes")
    return entries, store_size


def _exactly(file: BinaryIO, size: int, part: str) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise _Damaged(f"the file ends inside the {part}")
    return data


def _checked(index: bytes, store_size: int) -> list[tuple[int, int, int, int]]:
    """The wanted index entries, each inside the store; together they cannot exceed it."""
    wanted = {entry[0]: entry for entry in _ENTRY.iter_unpack(index) if entry[0] in _WANTED}
    for tag, kind, offset, count in wanted.values():
        if offset + count * _SMALLEST.get(kind, 1) > store_size:
            raise _Damaged(f"tag {tag} points outside the header")
    if sum(entry[3] for entry in wanted.values()) > store_size:
        raise _Damaged("its tags overlap")
    return [wanted[tag] for tag in sorted(wanted) if wanted[tag][3]]


def _decoded(wanted: Sequence[tuple[int, int, int, int]], store: bytes) -> dict[int, Any]:
    """What rpmfile makes of the entries, by tag number."""
    # rpmfile costs 10 to 30 ms, which a job with a warm cache does not have to spend.
    from rpmfile.errors import RPMError
    from rpmfile.headers import get_headers, tags

    image = io.BytesIO(
        b"".join(
            (
                bytes(_LEAD.size),
                _INTRO.pack(_INTRO_MAGIC, bytes(4), 0, 0),
                _INTRO.pack(_INTRO_MAGIC, bytes(4), len(wanted), len(store)),
                *(_ENTRY.pack(*entry) for entry in wanted),
                store,
            )
        )
    )
    try:
        _, by_name = get_headers(image)
    except (RPMError, AssertionError, LookupError, TypeError, ValueError, struct.error) as error:
        raise _Damaged(f"its header cannot be decoded ({error})") from error
    decoded = {tags.get(name, name): value for name, value in by_name.items()}
    decoded.update(
        (tag, struct.unpack_from(f">{count}Q", store, offset))
        for tag, kind, offset, count in wanted
        if kind == _INT64  # rpmfile does not know this type
    )
    return decoded


def _files(tags: dict[int, Any]) -> tuple[File, ...]:
    """The file list; what a shorter list leaves out is unknown."""
    paths = _paths(tags)
    count = len(paths)
    sizes = _numbers(tags.get(_LONGFILESIZES)) or _numbers(tags.get(_FILESIZES))
    if any(size >= _SIZE_LIMIT for size in sizes):
        raise _Damaged("it lists a file that no disk could hold")
    modes = _padded(_numbers(tags.get(_FILEMODES)), count)
    links = _texts(tags.get(_FILELINKTOS), count)
    digests = _texts(tags.get(_FILEDIGESTS), count)
    padded_sizes = _padded(sizes, count)
    payload = _payload_sizes(padded_sizes, modes, _hardlinks(tags, count))
    return tuple(map(File, paths, padded_sizes, modes, links, payload, digests))


def _paths(tags: dict[int, Any]) -> list[str]:
    names = [_decode(name) for name in _strings(tags.get(_BASENAMES))]
    if not names:
        return [_decode(name) for name in _strings(tags.get(_OLDFILENAMES))]
    directories = [_decode(name) for name in _strings(tags.get(_DIRNAMES))]
    indexes = _numbers(tags.get(_DIRINDEXES))
    if len(indexes) != len(names) or max(indexes) >= len(directories):
        raise _Damaged("its file list is inconsistent")
    return [directories[index] + name for index, name in zip(indexes, names, strict=True)]


def _hardlinks(tags: dict[int, Any], count: int) -> list[tuple[int, int] | None]:
    inodes = _numbers(tags.get(_INODES))
    devices = _numbers(tags.get(_DEVICES))
    pairs = list(zip(devices, inodes, strict=False))[:count]
    return [*pairs, *([None] * (count - len(pairs)))]


def _payload_sizes(
    sizes: Sequence[int | None],
    modes: Sequence[int | None],
    identities: Sequence[tuple[int, int] | None],
) -> list[int]:
    """Bytes of each file in a stripped payload: only the last of several hard links has content."""
    last = {identity: index for index, identity in enumerate(identities)}
    return [
        size or 0
        if (mode or 0) & _S_IFMT == _S_IFLNK
        or ((mode or 0) & _S_IFMT == _S_IFREG and (identity is None or last[identity] == index))
        else 0
        for index, (size, mode, identity) in enumerate(zip(sizes, modes, identities, strict=True))
    ]


def _kernels(files: Sequence[File]) -> list[PackagedKernel]:
    by_target = build_ids(files)
    kernels = []
    for file in files:
        found = _VMLINUX.fullmatch(file.path)
        if found is None or not file.is_regular:
            continue
        release = found["modules"] or found["boot"]
        build_id = by_target.get(file.path) or by_target.get(_binary(release))
        kernels.append(
            PackagedKernel(release, flavour(release), file.path, build_id, file.size_bytes)
        )
    return kernels


def _binary(release: str) -> str:
    """Where the kernel package has the vmlinux that the plain ``.build-id`` link points to."""
    return f"/lib/modules/{release}/vmlinux"


def build_ids(files: Sequence[File]) -> dict[str, str]:
    """Build-id of every file that a ``.build-id`` link points to; ``.debug`` links go first."""
    found_ids: dict[str, str] = {}
    for file in sorted(files, key=lambda file: file.path.endswith(".debug")):
        found = _BUILD_ID_LINK.fullmatch(file.path) if file.link else None
        if found is not None:
            target = normpath(join(dirname(file.path), file.link))
            found_ids[target] = found[1] + found[2]
    return found_ids


def _text(value: object) -> str:
    strings = _strings(value)
    return _decode(strings[0]) if strings else ""


def _strings(value: object) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    return [item for item in value if isinstance(item, bytes)] if isinstance(value, list) else []


def _numbers(value: object) -> tuple[int, ...]:
    """rpmfile gives one number as an integer, several as a tuple."""
    if isinstance(value, int):
        return (value,)
    return value if isinstance(value, tuple) else ()


def _texts(value: object, count: int) -> list[str]:
    texts = [_decode(text) for text in _strings(value)[:count]]
    return texts + [""] * (count - len(texts))


def _padded(values: Sequence[int], count: int) -> list[int | None]:
    return [*values[:count], *([None] * (count - len(values)))]


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
