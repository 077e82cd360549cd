"""Members of a package into their places in the cache: streamed, in one pass.

A kmod's file that turns out to be damaged, or of another build, costs only itself; a damaged
vmlinux, or payload, ends it all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field
from functools import partial
from pathlib import Path

from cas import elf
from cas.catalogue.cache.entry import Entry
from cas.catalogue.cache.placing import Place, WrongDigest, make_directory
from cas.catalogue.packages.archive import Listed, Listing
from cas.errors import NotADump, PackageError
from cas.frozen import dataclass
from cas.streams.flow import Damaged, Flow, Piece
from cas.streams.layer import Payload
from cas.streams.member import SizedMember
from cas.streams.unpacked import unpacked

_KMOD_LIMIT = 1 << 30
"""Most bytes that a compressed kernel module may become; the largest known has 100 MB."""


class Unfit(Exception):
    """A kmod's file cannot be used; the message says why."""


class OtherBuild(Unfit):
    """It is whole, but not what was loaded."""

    def __init__(self, build_id: str | None) -> None:
        super().__init__(f"build-id {build_id or '(none)'}")
        self.build_id = build_id


class _Outside(Exception):
    """The package itself is damaged, around a compressed file."""

    def __init__(self, damage: Damaged) -> None:
        super().__init__(str(damage))
        self.damage = damage


@dataclass(frozen=True, slots=True)
class Target:
    """Where a member goes."""

    path: Path
    verify: Callable[[Path], None]
    """Raises what keeps the finished file from being published."""
    digest: tuple[str, str] | None = None
    is_kmod: bool = False
    packed: bool = False
    """The member may be compressed once more, as ``.ko.xz``; only its content tells."""


@dataclass(slots=True)
class Unpacking:
    """What shall come out of one package."""

    source: Path
    entry: Entry
    """Locked."""
    targets: dict[str, Target]
    """By their paths in the package."""
    unfit: dict[str, Unfit] = field(default_factory=dict)
    """Kmods' files that could not be used, by path."""

    def run(self, listing: Listing, advance: Callable[[int], None]) -> None:
        """Read the payload as far as the last member that is wanted.

        :raises PackageError: it is damaged, or lacks one of them
        """
        left = dict(self.targets)
        with listing.opened(advance) as members:
            for member in members:
                target = left.pop(member.path, None)
                if target is not None:
                    self._store_member(member, target, listing.files.get(member.path))
                if not left:
                    return
        for path, target in left.items():
            if not target.is_kmod:
                raise PackageError(f"{self.source}: the payload lacks {path}")
            self.unfit[path] = Unfit("the payload lacks it")

    def _store_member(self, member: SizedMember, target: Target, listed: Listed | None) -> None:
        path = member.path
        try:
            if listed is not None and (wrong := listed.size_contradiction(member.size_bytes)):
                raise WrongDigest(wrong)
            store_file(self.entry, target, member.size_bytes, member.flow.rest())
        except Unfit as error:
            self.unfit[path] = error
        except WrongDigest as error:
            if not target.is_kmod:
                raise PackageError(f"{self.source}: {path} is damaged: {error}") from error
            self.unfit[path] = Unfit(f"it is damaged: {error}")


def store_file(entry: Entry, target: Target, size_bytes: int, content: Iterator[Piece]) -> None:
    """Put a file's content in its place.

    :raises WrongDigest: it is not what was promised
    :raises Unfit: a kmod's file cannot be used
    """
    make_directory(target.path.parent)
    digest = None if target.packed else target.digest
    entry.put(
        Place(target.path, 0 if target.packed else size_bytes, target.verify, digest),
        _unpacked_kmod(content) if target.packed else content,
    )


def kmod_target(
    path: Path, build_id: str | None, digest: tuple[str, str] | None, *, packed: bool
) -> Target:
    """Where a kmod's file goes.

    :param build_id: that it must have; ``None``: any
    """
    return Target(path, partial(_verify_kmod, build_id), digest, is_kmod=True, packed=packed)


def _verify_kmod(wanted: str | None, path: Path) -> None:
    try:
        build_id = elf.build_id(path)
    except NotADump as error:
        raise Unfit(f"it is no kernel module: {error}") from error
    if wanted is not None and build_id != wanted:
        raise OtherBuild(build_id)


def _unpacked_kmod(content: Iterator[Piece]) -> Iterator[Piece]:
    """The content of a file that may be compressed."""
    size = 0
    pieces = unpacked(Flow(_marking_damage(content)), Payload())
    while True:
        try:
            piece = next(pieces, None)
        except _Outside as error:
            raise error.damage from error
        except Damaged as error:
            raise Unfit(f"its compressed data is damaged: {error.reason}") from error
        if piece is None:
            return
        size += len(piece)
        if size > _KMOD_LIMIT:
            raise Unfit(f"a kernel module of more than {_KMOD_LIMIT} bytes")
        yield piece


def _marking_damage(content: Iterator[Piece]) -> Iterator[Piece]:
    """The package's own damage stays told apart from that of the file in it."""
    try:
        yield from content
    except Damaged as error:
        raise _Outside(error) from error
