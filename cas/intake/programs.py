"""Formats that a program of its own unpacks: watched, bounded, and gone when we are."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cas.errors import EngineError
from cas.intake.seven_zip_child import ENCRYPTED, UNKNOWN
from cas.settings.rules import Supervision
from cas.streams.budget import Account, UploadLayer
from cas.streams.flow import Damaged, Flow, Piece
from cas.streams.member import Member
from cas.streams.tar import tar_members
from cas.supervise import Child, Confinement, find_program
from cas.text import printable

MEMORY_BYTES = 1 << 30
"""Address space of such a program; 7z's largest usual dictionary is 64 MiB, rar's 128 MiB."""
SILENCE_S = 60.0
"""Without output, after which it is taken to hang."""
POLL_S = 0.2


class Ended(Exception):
    """A program ended with something other than success."""

    def __init__(self, status: int, reason: str) -> None:
        """Keep exit status and last words."""
        super().__init__(reason)
        self.status = status


def program_output(argv: Sequence[str | Path], account: Account) -> Iterator[bytes]:
    """What a program writes, block by block.

    :raises Ended: it failed, hung, or could not be started
    """
    confinement = Confinement(account.directory, Supervision(memory_bytes=MEMORY_BYTES))
    try:
        child = Child(argv, confinement)
    except EngineError as error:
        raise Ended(-1, str(error)) from error
    with child:
        child.close_stdin()
        last = time.monotonic()
        while (data := child.read(POLL_S)) != b"":
            account.check()
            if data:
                yield data
                last = time.monotonic()
            elif time.monotonic() - last > SILENCE_S:
                raise Ended(-1, f"nothing came for {SILENCE_S:.0f} s")
        status = child.wait(SILENCE_S)
        if status != 0:
            last_line = child.stderr.strip().rpartition("\n")[2][:200]
            raise Ended(-1 if status is None else status, last_line or "it gave no reason")


def seven_zip_members(path: Path, parent: Flow, layer: UploadLayer) -> Iterator[Member]:
    """The regular files of a 7z archive."""
    script = Path(__file__).with_name("seven_zip_child.py")
    yield from _through_tar([sys.executable, "-I", script, path], parent, layer)


def rar_members(path: Path, parent: Flow, layer: UploadLayer) -> Iterator[Member]:
    """The regular files of a rar archive, where libarchive's tar is installed."""
    program = find_program("bsdtar")
    if program is None:
        layer.note_locked(
            f"the {printable(layer.what)} needs the program bsdtar (Debian: libarchive-tools)"
        )
        return
    yield from _through_tar([program, "-c", "-f", "-", "--format=pax", f"@{path}"], parent, layer)


def _through_tar(argv: Sequence[str | Path], parent: Flow, layer: UploadLayer) -> Iterator[Member]:
    failures: list[Ended] = []

    def blocks() -> Iterator[Piece]:
        try:
            yield from layer.spent(program_output(argv, layer.account))
        except Ended as ended:
            failures.append(ended)

    try:
        yield from tar_members(Flow(blocks(), parent), layer)
    except Damaged:
        if not failures:
            raise
    for ended in failures:
        what = f"the {printable(layer.what)}"
        if ended.status == ENCRYPTED:
            layer.note_locked(f"{what} is encrypted")
        elif ended.status == UNKNOWN:
            layer.note_locked(f"{what} is packed by a method that CAS does not unpack: {ended}")
        else:
            layer.damaged(Damaged(printable(str(ended))), concerns_all=True)
