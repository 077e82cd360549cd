"""vmlinux and kernel modules, out of a package and into the cache: streamed, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cas import elf
from cas.catalogue import installed, kmod_files, sources
from cas.catalogue.archive import Listing
from cas.catalogue.cache import Entry, verify_vmlinux
from cas.catalogue.decompress import Damaged, Pieces, decompressed
from cas.catalogue.kmod_files import KmodFile
from cas.catalogue.placing import Piece, Place, WrongDigest, place
from cas.errors import NotADump, PackageError
from cas.model import Kernel, Match
from cas.progress import Progress
from cas.text import count

_KMOD_LIMIT = 1 << 30
"""Most bytes that a compressed kernel module may become; the largest known has 100 MB."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was asked for."""

    vmlinux: Path
    kmods: Mapping[str, Path]
    """By the names that were asked for; a kmod that there is no file of is left out."""


def vmlinux(match: Match, cache: Path, progress: Progress) -> Path:
    """The vmlinux of a match.

    :raises KernelMismatch: the package holds another one than its header says
    :raises PackageError: the package is damaged or gone
    :raises DiskFull: the cache has no room for it
    """
    return extract(match, (), cache, progress).vmlinux


def kmods(match: Match, names: Iterable[str], cache: Path, progress: Progress) -> dict[str, Path]:
    """Files of the named kernel modules, by those names; what the package lacks is left out.

    :param names: hyphens and underscores mean the same
    :raises PackageError: the package is damaged or gone
    :raises DiskFull: the cache has no room for them
    """
    by_kmod = {kmod_files.kernel_spelling(name): name for name in names}
    found = _provide(_Wanted(match.kernel, frozenset(by_kmod), vmlinux=False), cache, progress)
    return {by_kmod[kmod]: path for kmod, path in found.items()}


def extract(match: Match, names: Iterable[str], cache: Path, progress: Progress) -> Extraction:
    """The vmlinux of a match and the files of the named kmods, in one pass over the package.

    Raises what `vmlinux` and `kmods` raise.
    """
    kernel = match.kernel
    by_kmod = {kmod_files.kernel_spelling(name): name for name in names}
    found = _provide(_Wanted(kernel, frozenset(by_kmod), vmlinux=True), cache, progress)
    return Extraction(
        vmlinux=kernel.source if kernel.member is None else Entry(cache, kernel).vmlinux,
        kmods={by_kmod[kmod]: path for kmod, path in found.items()},
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What of a kernel shall be in the cache; kmods in the kernel's spelling."""

    kernel: Kernel
    kmods: frozenset[str]
    vmlinux: bool

    def missing_in(self, entry: Entry) -> _Wanted | None:
        """What of it is not there; ``None`` when all is."""
        kmods = self.kmods - kmod_files.in_directory(entry.kmods, self.kmods).keys()
        packaged = entry.packaged_kmods() if kmods else None
        kmods = kmods if packaged is None else kmods & packaged
        vmlinux = self.vmlinux and not entry.has_vmlinux()
        return _Wanted(self.kernel, kmods, vmlinux) if kmods or vmlinux else None


def _provide(wanted: _Wanted, cache: Path, progress: Progress) -> dict[str, Path]:
    """Have the cache hold what is wanted; the kmods found."""
    entry = Entry(cache, wanted.kernel)
    if wanted.kernel.member is None:
        return _installed_kmods(wanted, entry, progress) if wanted.kmods else {}
    if wanted.missing_in(entry):
        with entry.locked(progress):
            missing = wanted.missing_in(entry)  # another process may have been faster
            if missing is not None:
                _fill(missing, entry, progress)
    return kmod_files.in_directory(entry.kmods, wanted.kmods)


def _fill(missing: _Wanted, entry: Entry, progress: Progress) -> None:
    source = missing.kernel.source
    try:
        listing = sources.listing(source)
    except OSError as error:
        raise PackageError(f"{source} cannot be read: {error.strerror}") from error
    targets = _targets(missing, entry, listing)
    if missing.kmods:
        entry.remember_kmods(kmod_files.names(_kmod_paths(missing.kernel, listing)))
    if not targets:
        return
    what = "vmlinux" if missing.vmlinux else count(len(targets), "kernel module")
    with progress.bar(
        f"Extracting {what} of {missing.kernel.release}", listing.payload_bytes
    ) as advance:
        _unpack(source, listing, targets, advance)
    if missing.vmlinux:
        entry.remember_kernel()


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a member goes."""

    path: Path
    verify: Callable[[Path], None]
    packed: bool = False
    """Whether it is compressed once more, as ``.ko.xz``."""
    digest: tuple[str, str] | None = None

    def store(self, size_bytes: int, content: Iterator[Piece]) -> None:
        """Put the member's content in its place.

        :raises WrongDigest: it is not what the header promised
        """
        digest = None if self.packed else self.digest
        place(
            Place(self.path, size_bytes, self.verify, digest),
            _unpacked(content) if self.packed else content,
        )


def _targets(missing: _Wanted, entry: Entry, listing: Listing) -> dict[str, _Target]:
    """The members to extract, by path."""
    targets = {}
    member = missing.kernel.member
    if missing.vmlinux and member is not None:
        targets[member] = _Target(
            entry.vmlinux,
            verify_vmlinux(missing.kernel),
            digest=listing.files[member].digest if member in listing.files else None,
        )
    paths = _kmod_paths(missing.kernel, listing)
    for kmod in kmod_files.choose(paths, missing.kmods).values():
        targets[kmod.path] = _Target(
            entry.kmods / kmod.plain_name,
            partial(_verify_kmod, kmod.path),
            kmod.packed,
            listing.files[kmod.path].digest,
        )
    return targets


def _kmod_paths(kernel: Kernel, listing: Listing) -> list[str]:
    """Paths of the package that may be files of kmods of this kernel."""
    part = f"lib/modules/{kernel.release}/"
    return [path for path in listing.files if part in path]


def _unpack(
    source: Path,
    listing: Listing,
    targets: Mapping[str, _Target],
    advance: Callable[[int], None],
) -> None:
    """Read the payload as far as the last member that is wanted."""
    left = dict(targets)
    with listing.opened(advance) as members:
        for member in members:
            target = left.pop(member.path, None)
            if target is not None:
                with _damage_named(source, member.path):
                    target.store(member.size_bytes, members.content())
            if not left:
                return
    raise PackageError(f"{source}: the payload lacks {next(iter(left))}")


@contextmanager
def _damage_named(source: Path, member: str) -> Iterator[None]:
    try:
        yield
    except WrongDigest as error:
        raise PackageError(f"{source}: {member} is damaged: {error}") from error


def _unpacked(content: Iterator[Piece]) -> Iterator[bytes]:
    """The content of a compressed kmod."""
    size = 0
    for piece in decompressed(Pieces(content)):
        size += len(piece)
        if size > _KMOD_LIMIT:
            raise Damaged(f"a kernel module of more than {_KMOD_LIMIT} bytes")
        yield piece


def _verify_kmod(member: str, path: Path) -> None:
    try:
        elf.build_id(path)
    except NotADump as error:
        raise PackageError(f"{member} is no kernel module: {error}") from error


def _installed_kmods(wanted: _Wanted, entry: Entry, progress: Progress) -> dict[str, Path]:
    """Files of the machine itself; compressed ones are decompressed into the cache."""
    paths = map(str, installed.kmod_paths(wanted.kernel))
    found = kmod_files.choose(paths, wanted.kmods)
    packed = {kmod: file for kmod, file in found.items() if file.packed}
    if packed:
        with entry.locked(progress):
            for file in packed.values():
                _unpack_installed(file, entry.kmods / file.plain_name)
    return {
        kmod: entry.kmods / file.plain_name if file.packed else Path(file.path)
        for kmod, file in found.items()
    }


def _unpack_installed(file: KmodFile, destination: Path) -> None:
    if destination.exists():
        return
    try:
        with Path(file.path).open("rb", buffering=0) as stream:
            content = _unpacked(iter(partial(stream.read, 1 << 20), b""))
            place(Place(destination, 0, partial(_verify_kmod, file.path)), content)
    except Damaged as error:
        raise PackageError(f"{file.path} is damaged: {error}") from error
