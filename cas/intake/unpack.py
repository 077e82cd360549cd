"""Down through the wrappings of an upload, to every file in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from cas.intake import apport, programs
from cas.intake.quicker import NotQuicker, quicker
from cas.intake.space import Sink
from cas.intake.upload_file import HEAD_BYTES
from cas.streams import cpio, decompress, old_formats, tar, zip
from cas.streams.budget import Account, UploadLayer
from cas.streams.decompress import Decompress
from cas.streams.flow import BLOCK_BYTES, Damaged, Flow
from cas.streams.member import Member
from cas.streams.unpacked import OF_PACKAGES
from cas.streams.wrapping import ARCHIVES, PEEK_BYTES, wrapping

FIRST_READ_BYTES = 4 << 10

KindOf = Callable[[bytes], str | None]
Leaf = Callable[[Member], None]
"""Takes a file that is no wrapping."""

_OF_UPLOADS: dict[str, Decompress] = {
    **OF_PACKAGES,
    "lz4": decompress.unlz4,
    "old lz4": old_formats.unlz4_old,
    "lzop": old_formats.unlzop,
    "compress": old_formats.uncompress,
    "skippable": decompress.skippable,
}
_STREAMED: dict[str, Callable[[Flow, UploadLayer], Iterator[Member]]] = {
    "tar": tar.tar_members,
    "cpio": cpio.cpio_members,
    "zip": zip.zip_members,
    "apport": apport.apport_members,
}
_SEEKING: dict[str, Callable[[Path, Flow, UploadLayer], Iterator[Member]]] = {
    "7z": programs.seven_zip_members,
    "rar": programs.rar_members,
}


class Search:
    """The way down through one upload."""

    def __init__(self, upload: Path, account: Account, kind_of: KindOf, leaf: Leaf) -> None:
        """Prepare.

        :param kind_of: a dump is not searched for wrappings, whatever it looks like
        :param leaf: takes each file that is found
        """
        self._upload = upload
        self._account = account
        self._kind_of = kind_of
        self._leaf = leaf
        self._descriptor = -1

    def run(self, name: str) -> None:
        """Search the upload.

        :param name: to call it in messages
        """
        with self._upload.open("rb", buffering=0) as file:
            self._descriptor = file.fileno()
            flow = Flow(_growing_blocks(self._descriptor, self._account))
            self._search_member(Member(name, flow), 1)

    def _search_member(self, member: Member, depth: int) -> None:
        head = member.flow.peek(HEAD_BYTES)
        kind = None if self._kind_of(head) else wrapping(head[:PEEK_BYTES])
        if kind is None:
            return self._leaf(member)
        self._account.enter_layer(depth)
        if kind in ARCHIVES:
            return self._search_archive(kind, member, depth)
        what = f"{kind} data of {member.name}"
        layer = UploadLayer(self._account, member.flow, what, holds_files=False)
        inner = Flow(self._paid_blocks(kind, member.flow, layer), member.flow)
        self._search_member(Member(member.name, inner), depth + 1)
        inner.drain()

    def _paid_blocks(self, kind: str, flow: Flow, layer: UploadLayer) -> Iterator[bytes]:
        """What a compressed layer holds, paid for, up to where it is damaged."""
        try:
            for block in self._decompressed(kind, flow, layer):
                self._account.spend(len(block))
                layer.unpacked_bytes += len(block)
                yield block
        except Damaged as damage:
            layer.damaged(damage)
            flow.break_off()

    def _decompressed(self, kind: str, flow: Flow, layer: UploadLayer) -> Iterator[bytes]:
        done = 0
        if flow.is_upload:
            try:
                for block in quicker(kind, self._upload, self._descriptor, self._account):
                    done += len(block)
                    yield block
                return
            except NotQuicker:
                self._account.read_bytes = 0
        for block in _OF_UPLOADS[kind](flow, layer):
            self._account.check()
            if len(block) > done:
                yield block[done:]
            done = max(0, done - len(block))

    def _search_archive(self, kind: str, archive: Member, depth: int) -> None:
        layer = UploadLayer(
            self._account, archive.flow, f"{kind} archive {archive.name}", holds_files=True
        )
        prefix = "" if depth == 1 else f"{archive.name}/"
        spooled: Path | None = None
        try:
            if kind in _STREAMED:
                members = _STREAMED[kind](archive.flow, layer)
            elif archive.flow.is_upload:
                members = _SEEKING[kind](self._upload.absolute(), archive.flow, layer)
            else:  # it cannot be read as it comes: it is written out first
                spooled = self._account.directory / f".archive-{layer.number}"
                with Sink(spooled, self._account, f"an archive in {self._upload.name}") as sink:
                    while block := archive.flow.block():
                        sink.put(block)
                members = _SEEKING[kind](spooled, archive.flow, layer)
            for member in members:
                self._account.enter_member()
                self._search_member(Member(prefix + member.name, member.flow), depth + 1)
        except Damaged as damage:
            layer.damaged(damage)
            archive.flow.break_off()
        finally:
            if spooled is not None:
                spooled.unlink(missing_ok=True)
        archive.flow.drain()


def _growing_blocks(descriptor: int, account: Account) -> Iterator[bytes]:
    """A file's bytes; little at first, so that what is near its beginning outlives any damage."""
    size = FIRST_READ_BYTES
    while block := os.read(descriptor, size):
        account.check()
        account.read_bytes += len(block)
        yield block
        size = min(2 * size, BLOCK_BYTES)
