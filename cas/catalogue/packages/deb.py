"""A Debian package of debug information: an ar archive of two tar archives.

Its control archive tells name, version and, in most packages, path and MD5 of every regular file;
who the kernels are, only the data archive tells.

Source: deb(5), deb-control(5), deb-md5sums(5), ar(5).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from cas.catalogue.packages import identity
from cas.catalogue.packages.archive import Listed, Listing, payload_of
from cas.catalogue.packages.rpm_layout import is_kmod, kmods_release, vmlinux_release
from cas.database.records import Package, PackagedKernel, PackageKind
from cas.errors import PackageError
from cas.frozen import dataclass
from cas.streams import ar
from cas.streams.flow import Damaged
from cas.streams.layer import Payload
from cas.streams.member import SizedMember
from cas.streams.tar import tar_members
from cas.streams.unpacked import unpacked_stretch
from cas.streams.xz_blocks import AHEAD_BYTES
from cas.text import count, short_line

MAGIC = ar.MAGIC
NAME = re.compile(r".*\.d?deb")

_CONTROL_LIMIT = 1 << 20
_MD5SUMS_LIMIT = 8 << 20
_CONTROL_TOTAL_LIMIT = 64 << 20
_FILES_LIMIT = 1 << 16
"""A Debian kernel has 4,000 modules, an Ubuntu one 7,000."""
_KERNELS_LIMIT = 64
_TEXT_LIMIT = 200
_ARCH_LIMIT = 32
_AHEAD = 4 << 20
"""Of a pass that ends at the notes of the kernel."""

_FORMATS = {
    ".gz": b"\x1f\x8b",
    ".xz": b"\xfd7zXZ\0",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".bz2": b"BZh",
    ".lzma": b"\x5d\0\0",
}
_ARCHES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "armel": "arm",
    "armhf": "arm",
    "i386": "i686",
    "loong64": "loongarch64",
    "mips64el": "mips64",
    "powerpc": "ppc",
    "ppc64el": "ppc64le",
    "sparc64": "sparc64",
}
_FIELD = re.compile(r"^(Package|Source|Version|Architecture):[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_MD5SUM = re.compile(rb"^([0-9a-f]{32}) [ *](?:\./)?/*(.{1,4096})$", re.MULTILINE)
_FLAVOUR = re.compile(r"[0-9]-((?:686|[a-z])[a-z0-9-]*)$")


@dataclass(frozen=True, slots=True)
class Control:
    """What the control archive says."""

    fields: Mapping[str, str]
    """``Package``, ``Source``, ``Version``, ``Architecture``, those that are there."""
    md5sums: Mapping[str, str]
    """MD5 in hex of each regular file, by absolute path."""

    @property
    def source(self) -> str:
        """Name of the source package; the control file leaves out what is the package's own."""
        return (self.fields.get("Source") or self.fields.get("Package", "")).partition(" ")[0]


@dataclass(frozen=True, slots=True)
class _Deb:
    """Where everything is, and what the control archive says."""

    path: Path
    data: ar.Stretch
    date_s: int
    fields: Mapping[str, str]
    md5sums: Mapping[str, str] | None
    """MD5 in hex by absolute path; ``None``: the package has no such list."""


def read_deb(path: Path) -> Package:
    """The kernels that a package holds debug information of, with build-id and banner.

    :return: without kernels for a package that has no vmlinux
    :raises PackageError: the content is not a DEB, or is damaged
    :raises OSError: the file cannot be read
    """
    deb = _read_deb(path)
    files = _regular_files(deb)
    found = [file for file in files if vmlinux_release(file)]
    if len(found) > _KERNELS_LIMIT:
        raise PackageError(f"{path} claims to hold {len(found)} kernels")
    identities = identity.in_payload(path, partial(_open_data, deb, ahead_bytes=_AHEAD), found)
    kernels = tuple(_deb_kernels(deb, files, identities))
    paths = (path.rpartition("/") for path in files)
    releases = (
        kmods_release(directory + "/") for directory, _, name in paths if is_kmod(name.encode())
    )
    kmods = Counter(release for release in releases if release)
    arch = deb.fields.get("Architecture", "")
    arches = {it.arch for it in identities.values()} or {_ARCHES.get(arch, arch)[:_ARCH_LIMIT]}
    return Package(
        name=deb.fields.get("Package", ""),
        arch=min(arches),
        build_time_s=deb.date_s,
        kernels=kernels,
        kind=PackageKind.DEB,
        version=deb.fields.get("Version", ""),
        kmods=dict(kmods),
    )


def deb_listing(path: Path) -> Listing:
    """What a package lists: its md5sums, or where they name no vmlinux its payload's members.

    :raises PackageError: the content is not a DEB, or is damaged
    :raises OSError: the file cannot be read
    """
    deb = _read_deb(path)
    return Listing(_regular_files(deb), deb.data.size_bytes, partial(_open_data, deb))


def read_control(path: Path) -> Control:
    """What a package says of itself, without a look at its payload.

    :raises PackageError: the content is not a DEB, or is damaged
    :raises OSError: the file cannot be read
    """
    deb = _read_deb(path)
    return Control(deb.fields, deb.md5sums or {})


def open_deb_payload(
    path: Path, advance: Callable[[int], None]
) -> AbstractContextManager[Iterator[SizedMember]]:
    """The payload, for the length of a ``with`` block.

    :param advance: told how many compressed bytes have been read
    :raises PackageError: at any point where it turns out to be damaged or unreadable
    :raises OSError: the file cannot be read
    """
    return _open_data(_read_deb(path), advance)


def deb_flavour(release: str, arch: str) -> str:
    """The kernel variant that a release names: ``cloud``, ``rt``, ``generic``, …; else empty.

    :param arch: of the package, in Debian's spelling, which most releases end in
    """
    found = _FLAVOUR.search(release)
    return found[1].removesuffix(arch).rstrip("-") if found else ""


def _deb_kernels(
    deb: _Deb, files: Mapping[str, Listed], identities: Mapping[str, identity.Identity]
) -> Iterator[PackagedKernel]:
    """The kernels of the package; of several names of one file, that with the content."""
    contents = {files[path].digest for path in identities}
    for path, listed in files.items():
        release = vmlinux_release(path)
        if release is None:
            continue
        if path not in identities:
            if listed.digest in contents:
                continue
            raise PackageError(f"{deb.path}: the payload has no regular file {path}")
        known = identities[path]
        yield PackagedKernel(
            release=release,
            flavour=deb_flavour(release, deb.fields.get("Architecture", "")),
            member=path,
            build_id=known.build_id,
            size_bytes=known.size_bytes,
            digest=":".join(listed.digest) if listed.digest else None,
            banner=known.banner,
            is_examined=True,
        )


def _read_deb(path: Path) -> _Deb:
    try:
        with path.open("rb", buffering=0) as file:
            members = ar.members(file, os.fstat(file.fileno()).st_size)
            version = members[0] if members else None
            if version is None or version.name != "debian-binary":
                raise Damaged("its first member is not debian-binary")
            file.seek(version.begin)
            number = file.read(min(version.size_bytes, 16)).decode(errors="replace")
            if not number.startswith("2."):
                raise Damaged(f"its format is {short_line(number)!r}, not 2.x")
            control, data = _only_member(members, "control.tar"), _only_member(members, "data.tar")
            _check_format(file, control)
            _check_format(file, data)
            fields, md5sums = _control_facts(file, control)
            return _Deb(path, data, version.date_s, fields, md5sums)
    except Damaged as error:
        raise PackageError(f"{path} is no intact DEB: {error.reason}") from error


def _only_member(members: list[ar.Stretch], name: str) -> ar.Stretch:
    found = [member for member in members if member.name.startswith(name)]
    if len(found) != 1:
        raise Damaged(f"it has {count(len(found), 'member')} {name}, not one")
    return found[0]


def _check_format(file: BinaryIO, member: ar.Stretch) -> None:
    """Whether a member is compressed in the way that its name says."""
    ending = member.name.partition(".tar")[2]
    if ending and ending not in _FORMATS:
        raise Damaged(f"{member.name} is compressed in a way that is not known")
    file.seek(member.begin)
    head = file.read(min(8, member.size_bytes))
    found = next((name for name, magic in _FORMATS.items() if head.startswith(magic)), "")
    if found != ending:
        raise Damaged(f"{member.name} is not what its name says: {found or 'no'} compression")


def _control_facts(
    file: BinaryIO, control: ar.Stretch
) -> tuple[dict[str, str], dict[str, str] | None]:
    """The fields of the control file, and the list of checksums."""
    fields, md5sums = None, None
    layer, place = Payload(_CONTROL_TOTAL_LIMIT), (control.begin, control.size_bytes)
    with unpacked_stretch(file, place, layer, lambda _: None) as flow:
        for member in tar_members(flow, layer):
            if member.path == "/control":
                text = _whole(member, _CONTROL_LIMIT).decode("utf-8", "backslashreplace")
                fields = {
                    name: short_line(value, _TEXT_LIMIT)
                    for name, value in reversed(_FIELD.findall(text))
                }
            elif member.path == "/md5sums":
                md5sums = {
                    "/" + line[2].decode("utf-8", "backslashreplace"): line[1].decode()
                    for line in _MD5SUM.finditer(_whole(member, _MD5SUMS_LIMIT))
                }
                _check_count(len(md5sums))
    if fields is None:
        raise Damaged(f"{control.name} has no file control")
    return fields, md5sums


def _whole(member: SizedMember, limit: int) -> bytes:
    if member.size_bytes > limit:
        raise Damaged(f"a control file of {member.size_bytes} bytes")
    return member.flow.exactly(member.size_bytes)


def _check_count(files: int) -> None:
    if files > _FILES_LIMIT:
        raise Damaged(f"it has more than {_FILES_LIMIT} files")


def _regular_files(deb: _Deb) -> dict[str, Listed]:
    """The regular files; a list without a vmlinux may be short of more than that."""
    listed = {path: Listed(("md5", digest)) for path, digest in (deb.md5sums or {}).items()}
    if any(map(vmlinux_release, listed)):
        return listed
    files = {}
    with _open_data(deb, lambda _: None) as members:
        for member in members:
            files[member.path] = listed.get(member.path, Listed())
            _check_count(len(files))
    return files


@contextmanager
def _open_data(
    deb: _Deb, advance: Callable[[int], None] = lambda _: None, ahead_bytes: int = AHEAD_BYTES
) -> Iterator[Iterator[SizedMember]]:
    """The payload's members, for the length of a ``with`` block.

    :raises PackageError: at any point where it turns out to be damaged or unreadable
    """
    layer, place = Payload(), (deb.data.begin, deb.data.size_bytes)
    with payload_of(deb.path, place, layer, advance, ahead_bytes) as flow:
        yield tar_members(flow, layer)
