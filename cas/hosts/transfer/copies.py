"""Copies of dumps and kernels on a host, by their SHA-256: sent once, checked, cleaned by use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cas.errors import TryAgain
from cas.frozen import dataclass
from cas.hosts.link import HostUnfit, Link, ScriptResult
from cas.hosts.transfer.file import FileToCopy
from cas.hosts.transfer.packing import is_worth_compressing
from cas.hosts.transfer.script import LIST, PLACE, REMOVE
from cas.hosts.transfer.sending import STALL_S, FileTransfer, NoRoom
from cas.progress import Progress
from cas.settings.rules import HostRules
from cas.text import count, short_line

YOUNG_S = 600
"""What was used that recently stays: somebody is about to use it."""
PART_S = 24 * 3600
"""Seconds after which nobody comes back to a copy that was begun."""
LIST_BYTES = 4 << 20
LISTED = re.compile(
    r"([0-9a-f]{2}/[0-9a-f]{64}(?:\.part)?) (-?\d{1,18}) (\d{1,18}) (\d{1,6}) (idle|busy)"
)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy on a host, or the beginning of one."""

    path: str
    """The path below objects/."""
    unused_s: int
    kept_bytes: int
    """What it takes up on the disk."""
    is_busy: bool
    """Somebody uses it at this moment."""

    @property
    def is_part(self) -> bool:
        """Whether it is only the beginning."""
        return self.path.endswith(".part")


class Copies:
    """The copies of our files on one host."""

    def __init__(self, link: Link, rules: HostRules, progress: Progress) -> None:
        """Prepare; nothing is asked yet."""
        self._link = link
        self._rules = rules
        self._progress = progress

    def place_copy(self, path: Path, digest: str | None = None) -> str:
        """The absolute path of a copy on the host, checked there.

        :param digest: SHA-256 of the file, in hex, where it is known
        :raises HostLost: the link broke
        :raises HostUnfit: the host has no room, or does not keep what it was given
        :raises TryAgain: our file cannot be read
        """
        try:
            file = FileToCopy.of(path, digest)
            codecs = "zstd gzip cat" if is_worth_compressing(path) else "cat"
            placed = self._with_room(file, codecs) or self._with_room(file, codecs)
        except OSError as error:
            raise TryAgain(f"cannot read {path}: {error.strerror}") from error
        if placed is None:
            raise HostUnfit(
                f"{self._link.name}: what arrives of {file.name} has another SHA-256 than "
                f"{file.digest}, twice"
            )
        return placed

    def make_room(self, needed_bytes: int = 0) -> None:
        """Remove the copies that were not used for the longest time, as far as room is needed.

        :param needed_bytes: for what is to come
        :raises HostLost: the link broke
        :raises HostUnfit: the host does not say what it has
        """
        free_bytes, copies = self._list_copies()
        kept_bytes = sum(copy.kept_bytes for copy in copies)
        beyond_limit = kept_bytes + needed_bytes - self._rules.cache_bytes
        paths = superfluous(copies, max(beyond_limit, needed_bytes - free_bytes))
        if paths:
            said = self._run_on_host(REMOVE, self._rules.directory, str(YOUNG_S), *paths).stdout
            gone = set(said.decode("ascii", "replace").split("\n")).intersection(paths)
            self._progress.say(f"Removed {count(len(gone), 'old file')} on {self._link.name}")

    def _with_room(self, file: FileToCopy, codecs: str) -> str | None:
        """The path of the copy, after cleaning if need be; ``None``: what arrived was wrong."""
        try:
            return self._transfer_file(file, codecs)
        except NoRoom as error:
            self.make_room(error.needed_bytes)
        return self._transfer_file(file, codecs)

    def _transfer_file(self, file: FileToCopy, codecs: str) -> str | None:
        words = (self._rules.directory, file.digest, str(file.size_bytes), codecs)
        with self._link.script_channel(PLACE, *words, f"{STALL_S:.0f}") as channel:
            sending = FileTransfer(self._link, channel, self._progress, file)
            return sending.transfer(self._rules.cache_bytes)

    def _list_copies(self) -> tuple[int, list[Copy]]:
        """Free bytes, and what is there."""
        said = self._run_on_host(LIST, self._rules.directory, str(YOUNG_S)).stdout
        lines = said.decode("ascii", "replace").split("\n")
        found = re.fullmatch(r"free (\d{1,18}) (\d{1,9})", lines[0])
        if not found:
            return self._rules.cache_bytes, []
        free_bytes, copies = int(found[1]) * int(found[2]), []
        for line in filter(None, lines[1:]):
            listed = LISTED.fullmatch(line)
            if not listed:
                raise HostUnfit(
                    f"{self._link.name}: it answers what makes no sense: {short_line(line, 200)}"
                )
            path, unused_s, blocks, block_bytes, state = listed.groups()
            kept_bytes = int(blocks) * int(block_bytes)
            copies.append(Copy(path, int(unused_s), kept_bytes, state == "busy"))
        return free_bytes, copies

    def _run_on_host(self, script: str, *words: str) -> ScriptResult:
        return self._link.run_script(script, *words, timeout_s=STALL_S, max_bytes=LIST_BYTES)


def superfluous(copies: Sequence[Copy], excess_bytes: int) -> list[str]:
    """What is removed to be rid of so many bytes, the longest unused first.

    Nothing that is in use or was so a moment ago; a beginning that nobody went on with is removed
    in any case.
    """
    found = [copy for copy in copies if copy.is_part and copy.unused_s >= PART_S]
    excess_bytes -= sum(copy.kept_bytes for copy in found)
    for copy in sorted(copies, key=lambda copy: -copy.unused_s):
        if excess_bytes > 0 and copy.unused_s >= YOUNG_S and copy not in found and not copy.is_busy:
            found.append(copy)
            excess_bytes -= copy.kept_bytes
    return [copy.path for copy in found if not copy.is_busy]
