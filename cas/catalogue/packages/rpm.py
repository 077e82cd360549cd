"""The kernels of an RPM, from its header alone.

Nothing is made of the thousands of files that are neither a vmlinux nor a link to one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname
from typing import NamedTuple

from cas.catalogue.packages import rpm_header, rpm_layout
from cas.catalogue.packages.rpm_header import BadHeader, Tags
from cas.catalogue.packages.rpm_tags import (
    ARCH,
    BASENAMES,
    BUILDHOST,
    BUILDTIME,
    DIRINDEXES,
    DIRNAMES,
    EPOCH,
    FILEDIGESTALGO,
    FILEDIGESTS,
    FILELINKTOS,
    FILEMODES,
    FILESIZES,
    LONGFILESIZES,
    NAME,
    OLDFILENAMES,
    RELEASE,
    SOURCERPM,
    VERSION,
    digest_name,
    is_regular,
)
from cas.database.records import Package, PackagedKernel, PackageKind
from cas.errors import PackageError
from cas.text import one_line

_KERNELS_LIMIT = 64
_NAMES_LIMIT = 512
"""Of files, or of links to them, that are called vmlinux."""
_ARCH_LIMIT = 32
_TEXT_LIMIT = 200
_SIZE_LIMIT = 1 << 60


def read_rpm(path: Path) -> Package:
    """The kernels that a package holds debug information of, and how many kmods' files.

    :return: without kernels for a package that has no vmlinux
    :raises PackageError: the content is not an RPM, or is damaged
    :raises OSError: the file cannot be read
    """
    try:
        tags, _ = rpm_header.read_tags(path)
        name = _tag_text(tags, NAME)
        files = _Files(tags)
        found = list(files.vmlinux_files())
        by_target = files.linked_build_ids() if found else {}
        kernels = []
        for index, path_in_list, release in found:
            places = (path_in_list, *rpm_layout.installed_vmlinux(release))
            kernel = PackagedKernel(
                release,
                rpm_layout.flavour(release, name if len(found) == 1 else ""),
                path_in_list,
                next((by_target[place] for place in places if place in by_target), None),
                files.size_of(index),
                files.digest_of(index),
            )
            kernels.append(kernel)
        if len(kernels) > _KERNELS_LIMIT:
            raise BadHeader(f"it claims to hold {len(kernels)} kernels")
        return Package(
            name=name,
            arch=rpm_layout.uname_arch(_tag_text(tags, ARCH))[:_ARCH_LIMIT],
            build_time_s=tags.integer(BUILDTIME),
            kernels=tuple(kernels),
            kind=PackageKind.RPM,
            version=_full_version(tags),
            kmods=files.kmod_counts(),
        )
    except BadHeader as error:
        raise PackageError(f"{path} is no intact RPM: {error}") from error


class Origin(NamedTuple):
    """What all packages have in common that one run of rpmbuild made."""

    source: str
    """Name of the source package."""
    version: str
    """Version with epoch and release, as rpm compares it."""
    arch: str
    host: str
    """On which they were built."""
    build_time_s: int
    """When, in seconds since 1970: rpmbuild looks at the clock once."""


def read_origin(path: Path) -> Origin | None:
    """From which run of rpmbuild a package is; ``None``: its header does not tell.

    :raises PackageError: the content is not an RPM, or is damaged
    :raises OSError: the file cannot be read
    """
    try:
        tags, _ = rpm_header.read_tags(path)
        source, host = _tag_text(tags, SOURCERPM), _tag_text(tags, BUILDHOST)
        time_s = tags.integer(BUILDTIME)
        if not source or not host or not time_s:
            return None
        return Origin(source, _full_version(tags), _tag_text(tags, ARCH), host, time_s)
    except BadHeader as error:
        raise PackageError(f"{path} is no intact RPM: {error}") from error


def _full_version(tags: Tags) -> str:
    epoch = tags.integer(EPOCH)
    version = f"{_tag_text(tags, VERSION)}-{_tag_text(tags, RELEASE)}"
    return f"{epoch}:{version}" if epoch else version


class _Files:
    """The file list, as the header has it: names, directories, and which is in which."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self._names = tags.texts(BASENAMES)
        self._directories = tags.texts(DIRNAMES)
        self._is_old = not self._names.count
        """Whether it has the whole paths that rpm 3 wrote."""
        if self._is_old:
            self._names = self._directories = tags.texts(OLDFILENAMES)
        elif tags.item_count(DIRINDEXES) != self._names.count:
            raise BadHeader("its file list is inconsistent")
        named = not self._is_old and self._names.occurrences(b"/")
        if named or self._directories.occurrences(b"/../"):
            raise BadHeader("it lists a path that leads out of its directory")

    def vmlinux_files(self) -> Iterator[tuple[int, str, str]]:
        """Of each vmlinux its place in the list, its path and its release."""
        for place, name in self._names.containing(b"vmlinux", _NAMES_LIMIT):
            path = self._directory_of(place) + _name_text(name)
            release = rpm_layout.vmlinux_release(path)
            mode = self._tags.integer(FILEMODES, place)
            if release is not None and (mode is None or is_regular(mode)):
                yield place, path, release

    def linked_build_ids(self) -> dict[str, str]:
        """Build-ids by what the links that spell them lead to, where that may be a vmlinux."""
        links = [
            (self._directory_of(place), _name_text(self._names[place]), _name_text(target))
            for place, target in self._tags.texts(FILELINKTOS).containing(b"/vmlinux", _NAMES_LIMIT)
        ]
        found: dict[str, str] = {}
        for directory, name, target in sorted(links, key=lambda link: link[1].endswith(".debug")):
            path = directory + name
            build_id = rpm_layout.linked_build_id(path)
            if build_id is not None:  # a link to the file with debug information goes first
                found[rpm_layout.linked_path(dirname(path), target)] = build_id
        return found

    def kmod_counts(self) -> dict[str, int]:
        """How many kmods' files there are, by release."""
        found = self._names.occurrences(b".ko")
        release = self._directories.first(rpm_layout.A_RELEASE) if found else None
        if release is None:
            return {}
        if found == self._names.occurrences(b".ko.debug\0"):
            place = b"/lib/modules/"
            of_release = self._directories.occurrences(place + release + b"/")
            others = self._directories.occurrences(place) - of_release
            if others == self._directories.occurrences(place + b"\0"):  # no need to look at each
                return {_name_text(release): found}
        directories = list(self._directories)
        counts: Counter[str] = Counter()
        for index, name in enumerate(self._names):
            if rpm_layout.is_kmod(name):
                directory = name if self._is_old else directories[self._directory_index(index)]
                counts[rpm_layout.kmods_release(_name_text(directory)) or ""] += 1
        counts.pop("", None)
        if len(counts) > _KERNELS_LIMIT:
            raise BadHeader(f"it claims to hold kernel modules of {len(counts)} kernels")
        return dict(counts)

    def size_of(self, place: int) -> int | None:
        """:raises BadHeader: it is none that a file can have"""
        size = self._tags.integer(LONGFILESIZES, place)
        if size is None:
            size = self._tags.integer(FILESIZES, place)
        if size is not None and size >= _SIZE_LIMIT:
            raise BadHeader("it lists a file that no disk could hold")
        return size

    def digest_of(self, place: int) -> str | None:
        """As ``sha256:HEX``; ``None`` where the header has none that is known."""
        digests = self._tags.texts(FILEDIGESTS)
        if place >= digests.count:
            return None
        digest = digest_name(self._tags.integer(FILEDIGESTALGO), _name_text(digests[place]))
        return ":".join(digest) if digest else None

    def _directory_of(self, place: int) -> str:
        return "" if self._is_old else _name_text(self._directories[self._directory_index(place)])

    def _directory_index(self, place: int) -> int:
        index = self._tags.integer(DIRINDEXES, place)
        if index is None or index >= self._directories.count:
            raise BadHeader("its file list is inconsistent")
        return index


def _tag_text(tags: Tags, tag: int) -> str:
    return one_line(_name_text(tags.first_text(tag)))[:_TEXT_LIMIT]


def _name_text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
