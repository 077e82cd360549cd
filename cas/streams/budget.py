"""What an upload has cost so far, what it lost on the way, and whether anybody still waits."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from cas.choices import Cause
from cas.errors import LimitExceeded
from cas.model.dump import Missing
from cas.settings.rules import IntakeLimits
from cas.streams.flow import Damaged, Flow, Piece
from cas.streams.layer import UPLOAD
from cas.text import count, printable
from cas.units import human_size

MAX_NOTES = 50
"""More remarks than anybody reads."""


class Stopped(Exception):
    """Nobody waits for the dump any more."""


class Account:
    """The limits of one upload, and the notes about its wrappings."""

    def __init__(self, limits: IntakeLimits, directory: Path) -> None:
        """Open the account.

        :param directory: of the job; everything that is written lies in it
        """
        self.limits = limits
        self.directory = directory
        self.read_bytes = 0
        """Bytes of the uploads that were read, for the progress bar."""
        self.unpacked_bytes = 0
        self.dumps = 0
        """How many dumps were found so far."""
        self.is_writing = False
        """A dump is being written at the moment."""
        self.missing: list[Missing] = []
        self.remarks: list[str] = []
        self.damages: list[Missing] = []
        """Damage of wrappings in which no dump was found."""
        self.locked: list[str] = []
        """What could not be opened, e.g. because it is encrypted."""
        self.members = 0
        """Files of all archives so far."""
        self.sidecar_bytes = 0
        self.layers = 0
        self._stop = threading.Event()

    def stop(self) -> None:
        """End the work at its next block."""
        self._stop.set()

    def check(self) -> None:
        """Go on only while somebody waits.

        :raises Stopped: nobody does
        """
        if self._stop.is_set():
            raise Stopped

    def note_read(self, size_bytes: int) -> None:
        """Note how much more of the uploads was read."""
        self.read_bytes += size_bytes

    def spend(self, size_bytes: int) -> None:
        """Note what was unpacked.

        :raises LimitExceeded: it is more than the configuration allows
        """
        self.check()
        self.unpacked_bytes += size_bytes
        if self.unpacked_bytes > self.limits.unpack_bytes:
            allowed = human_size(self.limits.unpack_bytes)
            raise LimitExceeded(f"the upload unpacks to more than {allowed}", limit="unpackLimit")

    def enter_layer(self, depth: int) -> None:
        """Note a wrapping inside others.

        :raises LimitExceeded: nobody packs so deep by accident
        """
        if depth > self.limits.depth:
            wrappings = count(self.limits.depth, "wrapping")
            raise LimitExceeded(
                f"the upload has more than {wrappings} inside one another", limit="depthLimit"
            )

    def enter_member(self) -> None:
        """Note a member of an archive.

        :raises LimitExceeded: there are too many
        """
        self.check()
        self.members += 1
        if self.members > self.limits.members:
            members = count(self.limits.members, "file")
            raise LimitExceeded(f"the upload holds more than {members}", limit="memberLimit")

    def remark(self, text: str) -> None:
        """Keep something that a reader of the report should know."""
        if len(self.remarks) < MAX_NOTES and text not in self.remarks:
            self.remarks.append(text)


class UploadLayer:
    """One wrapping on the way to the dump, and what was wrong with it: what can be had is taken."""

    limits = UPLOAD

    def __init__(self, account: Account, flow: Flow, what: str, *, holds_files: bool) -> None:
        """Begin.

        :param flow: the wrapping's bytes
        :param what: its name, e.g. ``gzip data of vmcore.gz``
        :param holds_files: an archive, whose members are whole or not one by one
        """
        self.account = account
        self.what = what
        self.unpacked_bytes = 0
        self._flow = flow
        self._holds_files = holds_files
        self._dumps_before = account.dumps
        account.layers += 1
        self.number = account.layers

    @property
    def has_dump(self) -> bool:
        """Whether a dump was found in it."""
        return self.account.dumps > self._dumps_before

    def expect(self, size_bytes: int) -> None:
        """What an upload claims costs nothing: it pays for what comes."""

    def spent(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The same pieces, paid for."""
        for piece in pieces:
            self.account.spend(len(piece))
            yield piece

    def damaged(self, damage: Damaged, *, concerns_all: bool = False) -> None:
        """Note damage; what it means depends on whether the dump is touched by it.

        :param concerns_all: whole files of an archive too, e.g. a wrong checksum around them
        """
        if self._flow.is_broken:  # the wrapping around this one is to blame, and said so
            return
        offset = self._flow.offset if damage.offset is None else damage.offset
        place, unpacked = human_size(offset), human_size(self.unpacked_bytes)
        what = f"the {printable(self.what)} {damage} at {place} of the upload"
        missing = Missing(f"{what}; {unpacked} were unpacked", offset, Cause.WRAPPING)
        concerns_dump = concerns_all or not self._holds_files
        if self.account.is_writing or (concerns_dump and self.has_dump):
            self.account.missing.append(missing)
        elif len(self.account.damages) < MAX_NOTES:
            self.account.damages.append(missing)

    def note_locked(self, sentence: str) -> None:
        """Note a file that cannot be unpacked; there may be others beside it."""
        if len(self.account.locked) < MAX_NOTES:
            self.account.locked.append(sentence)

    def mismatch(self) -> None:
        """Note that all bytes are there, and not all are right."""
        self.damaged(Damaged(predicate="do not match their checksum"), concerns_all=True)

    def trailing(self, flow: Flow) -> None:
        """Note the bytes behind the end of the packed data, and pass over them."""
        first = flow.peek(1)
        ignored = flow.drain()
        if ignored:
            kind = "of padding " if first == b"\0" else ""
            bytes_ = count(ignored, "byte")
            self.account.remark(f"{bytes_} {kind}behind the end of the {self.what} were ignored")
