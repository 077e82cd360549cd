"""Who a vmlinux is, by its own word, told while its bytes stream by.

The ELF header says where the notes and the loaded segments are; both lie before the debug
information, so that a few per cent of the file are enough, and nothing of it is kept but the notes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import field
from pathlib import Path

from cas import elf
from cas.errors import NotADump, PackageError
from cas.frozen import dataclass
from cas.streams.flow import Flow
from cas.streams.member import SizedMember
from cas.text import one_line
from cas.units import human_size

Opened = Callable[[], AbstractContextManager[Iterator[SizedMember]]]
"""Opens a payload from its beginning."""

_HEAD = 64 << 10
"""Holds the program headers: linkers put them right behind the file header."""
_PIECE = 1 << 20
_OVERLAP = 2 << 10
"""More than the longest banner, which may lie across two pieces."""
_BEGINNING = 256 << 20
"""Text, read-only data and notes of distributions' kernels end at 60 MB or less."""
_VMLINUX_LIMIT = 4 << 30
_NOTES_LIMIT = 1 << 20
_RANGES = 16
_CANDIDATES = 256
_SECTIONS_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """What a vmlinux says about itself."""

    arch: str
    size_bytes: int
    build_id: str | None
    """``None``: it was linked without one, as before Linux 2.6.23."""
    banner: str | None
    """``None``: it has no contents but debug information."""


def in_payload(source: Path, opened: Opened, paths: Iterable[str]) -> dict[str, Identity]:
    """The identity of each of the named members, in one pass that ends behind the last of them.

    Only for a vmlinux that lacks contents a second pass looks into its section headers.

    :return: without the paths that are no regular file of the payload
    :raises PackageError: the payload is damaged, or a member is no vmlinux
    """
    found = _identities_in_one_pass(source, opened, paths, _identity_by_segments)
    bare = [path for path, it in found.items() if it.build_id is None and it.banner is None]
    return found | (
        _identities_in_one_pass(source, opened, bare, _identity_by_sections) if bare else {}
    )


def _identities_in_one_pass(
    source: Path,
    opened: Opened,
    paths: Iterable[str],
    identify: Callable[[Flow, int], Identity],
) -> dict[str, Identity]:
    found: dict[str, Identity] = {}
    wanted = set(paths)
    with opened() as members:
        for member in members:
            if member.path in wanted:
                what = f"{source}: {one_line(member.path)}"
                if member.size_bytes > _VMLINUX_LIMIT:
                    size = human_size(member.size_bytes)
                    raise PackageError(f"{what} claims to be {size} large")
                try:
                    found[member.path] = identify(member.flow, member.size_bytes)
                except NotADump as error:
                    raise PackageError(f"{what} is no vmlinux: {error}") from error
            if wanted <= found.keys():
                break
    return found


@dataclass(slots=True)
class _Range:
    """A stretch of the file that is collected while it streams by."""

    offset: int
    size: int
    align: int
    data: bytearray = field(default_factory=bytearray)

    def take_piece(self, at: int, piece: bytes) -> None:
        """Take what of a piece belongs here; pieces come in order, and may overlap."""
        begin = self.offset + len(self.data) - at
        if 0 <= begin < len(piece):
            self.data += piece[begin : begin + self.size - len(self.data)]

    @property
    def is_full(self) -> bool:
        return len(self.data) >= self.size


def _identity_by_segments(content: Flow, size_bytes: int) -> Identity:
    head = content.read(_HEAD)
    header = elf.header(elf.reader(head))
    segments = elf.segments(elf.reader(head), header)
    notes = [
        _Range(segment.offset, min(segment.filesz, _NOTES_LIMIT), segment.align)
        for segment in segments
        if segment.type == elf.PT_NOTE
    ][:_RANGES]
    ends = [s.offset + s.filesz for s in segments if s.type in (elf.PT_LOAD, elf.PT_NOTE)]
    banner = build_id = None
    for at, piece in _overlapping(head, content, min(max(ends, default=0), _BEGINNING)):
        for note in notes:
            note.take_piece(at, piece)
        banner = banner or elf.banner_in(piece)
        build_ids = (
            note.desc[:64].hex()
            for part in notes
            if part.is_full
            for note in elf.notes(bytes(part.data), header.order, part.align)
            if note.name == "GNU" and note.type == 3 and note.desc
        )
        build_id = build_id or next(build_ids, None)
        if banner and (build_id or all(note.is_full for note in notes)):
            break
    return Identity(elf.arch(header), size_bytes, build_id, banner)


def _overlapping(head: bytes, content: Flow, end: int) -> Iterator[tuple[int, bytes]]:
    """The bytes up to an offset, in pieces that begin with the end of the one before."""
    at, piece = 0, head
    while piece:
        yield at, piece
        if content.position >= end:
            return
        more = content.read(min(_PIECE, end - content.position))
        if not more:
            return
        tail = piece[-_OVERLAP:]
        at, piece = content.position - len(more) - len(tail), tail + more


def _identity_by_sections(content: Flow, size_bytes: int) -> Identity:
    """Of a file whose segments point nowhere: their contents were stripped off.

    The section headers, at its end, tell which of the notes seen on the way are the kernel's own.
    """
    head = content.read(_HEAD)
    header = elf.header(elf.reader(head))
    table = _Range(header.shoff, min(header.shnum * header.shentsize, _SECTIONS_LIMIT), 1)
    seen: dict[int, str] = {}
    for at, piece in _overlapping(head, content, size_bytes):
        table.take_piece(at, piece)
        # remember what looks like a build-id's note, by its offset in the file
        mark = (b"\x03\0\0\0" if header.order == "<" else b"\0\0\0\x03") + b"GNU\0"
        found = piece.find(mark, 8)
        while found >= 0 and len(seen) < _CANDIDATES:
            for note in elf.notes(piece[found - 8 : found + 8 + 64], header.order):
                if len(note.desc) >= 8:
                    seen[at + found - 8] = note.desc[:64].hex()
                break
            found = piece.find(mark, found + 1)

    def read(offset: int, size: int) -> bytes:
        begin = offset - table.offset
        return bytes(table.data[begin : begin + size]) if begin >= 0 and size > 0 else b""

    notes = [s for s in elf.sections(read, header) if s.type == elf.SHT_NOTE]
    if not table.is_full:
        raise NotADump("it is cut, or was never whole")
    own = (seen[at] for s in notes for at in seen if s.offset <= at < s.offset + s.size)
    return Identity(elf.arch(header), size_bytes, next(own, None), None)
