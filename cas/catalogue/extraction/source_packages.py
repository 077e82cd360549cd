"""Lines of a kernel's source, out of a package of sources that was built together with the kernel.

Such packages lie beside the kernel's own, as distributions keep them: ``kernel-debuginfo-common``,
``kernel-debugsource``, ``linux-source``. Their names tell which may be it; whether they are of the
very same build, headers and control files tell. Of any other build nothing is taken.

Source: Red Hat's and SUSE's ``kernel.spec``; rpm's build/pack.c (BUILDTIME is read once in a run);
``debian/rules.real`` of Debian's linux, whose tree is that of all its kernels but those with rt.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from cas.catalogue.advice import debian_version
from cas.catalogue.packages import deb, package_kinds, payload, rpm
from cas.catalogue.packages.archive import Listed
from cas.catalogue.source_lines import FILE_BYTES, around, paths_below
from cas.database.records import is_same
from cas.errors import CasError, PackageError
from cas.files.patient_calls import Attempt, answering, regular
from cas.frozen import dataclass
from cas.model.code import SourceLines
from cas.model.kernel import Kernel
from cas.streams.flow import Flow, Piece
from cas.streams.layer import Payload
from cas.streams.member import SizedMember
from cas.streams.tar import tar_members
from cas.streams.unpacked import unpacked
from cas.text import one_line

LIMIT_S = 30.0
"""For all of it, beside the debuggers; Debian's 130 MiB take 7 s on an idle machine."""

Doubt = Callable[[Path], str | None]
"""The remark on a package that nobody vouches for; raises `PackageNotTrusted` where one must."""

_DEBUG_TREE = "/usr/src/debug/"
_IN_EVERY_KERNEL = "/init/main.c"
"""Below the top of a kernel's tree, and built into every kernel."""
_TARBALL = re.compile(
    r"/usr/src/(?:linux-source-[^/]+/)?linux-source-[^/]+\.tar\.(?:xz|bz2|gz|zst)"
)
_WITH_OWN_PATCHES = "rt"
"""A kernel of Debian that is not built from the tree as it is packaged."""


class _TooLong(Exception):
    """The time is over."""


@dataclass(frozen=True, slots=True)
class Found:
    """What came of the search."""

    lines: SourceLines | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which line of a kernel's source is wanted."""

    kernel: Kernel
    banner: str | None
    """As the dump has it."""
    file: str
    """As the debug information names it."""
    line: int


class Search:
    """A search beside everything else, with the lowest priority."""

    def __init__(self, wanted: Wanted, doubt: Doubt) -> None:
        """Begin."""
        self._beside = wanted.kernel.source
        self._attempt = Attempt(partial(_lines_at_low_priority, wanted, doubt))
        threading.Thread(target=self._attempt.run, name="source lines", daemon=True).start()

    def is_slow(self) -> bool:
        """Whether it is at work still, and will be for more than a moment."""
        return self._attempt.is_slow()

    def finish(self, timeout_s: float) -> Found:
        """What was found; the thread is left behind where a file system does not answer.

        :param timeout_s: without a sign of life
        """
        try:
            return self._attempt.result(timeout_s)
        except (OSError, MemoryError) as error:
            why = getattr(error, "strerror", None) or str(error) or "memory is short"
            return Found(remarks=(_in_vain(f"beside {self._beside}: {why}"),))


def _lines_at_low_priority(wanted: Wanted, doubt: Doubt) -> Found:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)  # of this thread alone
    return packaged_lines(wanted, doubt)


def packaged_lines(wanted: Wanted, doubt: Doubt, limit_s: float = LIMIT_S) -> Found:
    """The lines around one of a file, from the packages of sources beside the kernel's own.

    :raises OSError: a file or directory cannot be read
    """
    until_s = time.monotonic() + limit_s
    if wanted.kernel.member is None or not any(paths_below(wanted.file)):
        return Found()
    remarks: list[str] = []
    for package, is_deb in _packages_of_build(wanted.kernel, wanted.banner):
        try:
            remark = doubt(package)
            read = _lines_in_deb if is_deb else _lines_in_rpm
            lines = read(package, wanted, until_s)
        except _TooLong:
            why = (
                f"{package} was not read in {limit_s:g} s; unpack it into a directory of `sources`"
            )
            return Found(remarks=(*remarks, _in_vain(why)))
        except CasError as error:
            remarks.append(_in_vain(str(error)))
            continue
        if lines is not None:
            return Found(lines, (*remarks, remark) if remark else tuple(remarks))
    return Found(remarks=tuple(remarks))


def is_built_with(kernel: Kernel, kmod: Path, timeout_s: float) -> bool:
    """Whether a kmod's file is one that the kernel's own package has, by name and digest.

    :param timeout_s: for the package's file system to answer
    """
    if kernel.member is None:
        return False
    try:
        answering(kernel.source, timeout_s)
        if package_kinds.package_kind(kernel.source) == "deb":
            md5sums = deb.read_control(kernel.source).md5sums
            digests = {path: ("md5", digits) for path, digits in md5sums.items()}
        else:
            files = payload.rpm_listing(kernel.source).files
            digests = {path: listed.digest for path, listed in files.items() if listed.digest}
        for name, digits in {
            digest for path, digest in digests.items() if path.endswith(f"/{kmod.name}")
        }:
            empty = partial(hashlib.new, name, usedforsecurity=False)
            with kmod.open("rb") as file:
                if hashlib.file_digest(file, empty).hexdigest() == digits:
                    return True
    except (OSError, PackageError):
        return False
    return False


def _in_vain(why: str) -> str:
    return one_line(f"no source lines from packages: {why}")


def _packages_of_build(kernel: Kernel, banner: str | None) -> Iterator[tuple[Path, bool]]:
    """The packages of sources, each with whether it is a DEB."""
    try:
        regular(kernel.source)
        is_deb = package_kinds.package_kind(kernel.source) == "deb"
        found = _linux_sources(kernel, banner) if is_deb else _debug_sources(kernel)
        for path in found:
            yield path, is_deb
    except (FileNotFoundError, PackageError):  # the kernel was extracted before
        return


def _debug_sources(kernel: Kernel) -> Iterator[Path]:
    """RPMs of the run of rpmbuild that made the kernel's own."""
    ours = rpm.read_origin(kernel.source)
    if ours is None or not any(
        is_same(kernel, packaged) for packaged in rpm.read_rpm(kernel.source).kernels
    ):
        return
    version = ours.version.rpartition(":")[2]
    name = re.compile(
        rf".+-(?:debuginfo-common(?:-\w+)?|debugsource)-{re.escape(f'{version}.{ours.arch}')}\.rpm"
    )
    for path in _beside(kernel.source, name):
        with suppress(PackageError):
            if rpm.read_origin(path) == ours:
                yield path


def _linux_sources(kernel: Kernel, banner: str | None) -> Iterator[Path]:
    """DEBs of the source package, and its version, that the kernel's own is of."""
    ours = deb.read_control(kernel.source)
    version, arch = ours.fields.get("Version", ""), ours.fields.get("Architecture", "")
    listed = ours.md5sums.get(kernel.member or "")
    is_changed = (
        listed and (kernel.digest or "").startswith("md5:") and kernel.digest != f"md5:{listed}"
    )
    if (
        not version
        or is_changed
        or _WITH_OWN_PATCHES in deb.deb_flavour(kernel.release, arch).split("-")
    ):
        return
    plain = version.partition(":")[2] or version
    if any(debian_version(each) not in (None, plain) for each in (banner, kernel.banner)):
        return
    name = re.compile(rf"linux-source-\d[\w.-]*_(?:\d+%3a)?{re.escape(plain)}_all\.deb")
    for path in _beside(kernel.source, name):
        with suppress(PackageError):
            theirs = deb.read_control(path)
            is_source = theirs.fields.get("Package", "").startswith("linux-source-")
            if (
                is_source
                and theirs.fields.get("Version") == version
                and theirs.source == ours.source
            ):
                yield path


def _beside(package: Path, name: re.Pattern[str]) -> list[Path]:
    """Regular files of such a name in a package's directory, by name."""
    with os.scandir(package.parent) as entries:
        return sorted(
            Path(entry) for entry in entries if name.fullmatch(entry.name) and entry.is_file()
        )


def _lines_in_rpm(package: Path, wanted: Wanted, until_s: float) -> SourceLines | None:
    listing = payload.rpm_listing(package)
    path = _listed_path(listing.files, wanted.file)
    if path is None:
        return None
    with listing.opened(lambda _: _check_time(until_s)) as members:
        for member in members:
            _check_time(until_s)
            if member.path != path or not member.size_bytes:
                continue
            listed, content = listing.files[path], _small_content(member)
            if content is not None:
                what = f"{package}: {path} is damaged"
                if wrong := listed.size_contradiction(len(content)):
                    raise PackageError(f"{what}: {wrong}")
                name, digits = listed.digest or ("", "")
                if name and hashlib.new(name, content, usedforsecurity=False).hexdigest() != digits:
                    raise PackageError(f"{what}: it has not the promised {name}")
            return _lines_around(content, wanted, f"{package}: {path}")
    raise PackageError(f"{package}: the payload lacks {path}")


def _listed_path(files: Mapping[str, Listed], file: str) -> str | None:
    """The file of a list that debug information names so; several that may be it are none."""
    if file in files and file.startswith(_DEBUG_TREE):
        return file
    trees = {
        path.removesuffix(_IN_EVERY_KERNEL)
        for path in files
        if path.endswith(_IN_EVERY_KERNEL) and path.startswith(_DEBUG_TREE)
    }
    for path in paths_below(file):
        found = [there for tree in trees if (there := f"{tree}/{path}") in files]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _lines_in_deb(package: Path, wanted: Wanted, until_s: float) -> SourceLines | None:
    promised = deb.read_control(package).md5sums
    paths = [str(path) for path in paths_below(wanted.file)]
    with deb.open_deb_payload(package, lambda _: _check_time(until_s)) as members:
        for member in members:
            if not _TARBALL.fullmatch(member.path):
                continue
            digest = hashlib.md5(usedforsecurity=False)
            packed = _hashed(member, digest.update)
            layer = Payload()
            pieces = _within_time(unpacked(Flow(packed), layer), until_s)
            path, content = _first_in_tree(tar_members(Flow(pieces), layer), paths)
            for _ in packed:  # the digest is of all of it
                _check_time(until_s)
            if promised.get(member.path, digest.hexdigest()) != digest.hexdigest():
                raise PackageError(
                    f"{package}: {member.path} is damaged: it has not the promised md5"
                )
            return _lines_around(content, wanted, f"{package}: {member.path}: {path}")
    return None


def _first_in_tree(
    members: Iterator[SizedMember], paths: Sequence[str]
) -> tuple[str, bytes | None]:
    """The file that has the first of these paths below the only directory at the top."""
    ranks = {path: rank for rank, path in enumerate(paths)}
    best = len(paths)
    found: tuple[str, bytes | None] = ("", None)
    for member in members:
        rank = ranks.get(member.path[1:].partition("/")[2], best)
        if rank < best:
            best, found = rank, (member.path, _small_content(member))
        if best == 0:
            break
    return found


def _small_content(member: SizedMember) -> bytes | None:
    """The whole of a member; ``None``: it is too large."""
    size = member.size_bytes
    return None if size > FILE_BYTES else member.flow.exactly(size)


def _lines_around(content: bytes | None, wanted: Wanted, found: str) -> SourceLines | None:
    lines = (content or b"").decode("utf-8", "replace").splitlines()
    return around(lines, wanted.file, wanted.line, found) if wanted.line <= len(lines) else None


def _hashed(member: SizedMember, update: Callable[[Piece], None]) -> Iterator[Piece]:
    for piece in member.flow.rest():
        update(piece)
        yield piece


def _within_time(pieces: Iterator[Piece], until_s: float) -> Iterator[Piece]:
    for piece in pieces:
        _check_time(until_s)
        yield piece


def _check_time(until_s: float) -> None:
    if time.monotonic() > until_s:
        raise _TooLong
