"""How we know that a crash has done what it was told, and that it is one.

Behind each command crash is asked for a word that no dump can know, and for a sum. What only
repeats its input, as a terminal does, or only echoes words, does not add up: the end of a command's
output is the sum behind the word. ``echo`` and ``eval`` are there in every crash, also with
``--minimal``. Besides, the first command asks for what only the dump can tell, the kernel's banner.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection

TRUTH = "rd -a linux_banner"
"""``rd`` works without gdb, also with ``--minimal``."""
REACH = 1024
"""Bytes that a marker may take, an echo of its commands included."""
_ADDENDS = range(1 << 29, 1 << 30)
"""A sum of two fits into a crash for 32 bits; it prints negative numbers in another way."""
_PROMPT = re.compile(rb"^(?:\x1b\[[0-9;?]*[a-zA-Z]|\r|crash> )*")
_ADDRESS = rb"[ \t]*[0-9a-f]{8,16}:  "
_BANNER = re.compile(
    rb"^%b(Linux version [^\n]*(?:\n%b[^\n]*)*)" % (_ADDRESS, _ADDRESS), re.MULTILINE
)
_JOINT = re.compile(rb"\r?\n%b" % _ADDRESS)
"""What stands between the lines into which ``rd -a`` breaks a text."""
_COMPLAINTS = (b"rd: ", b"crash: ")


class Marker:
    """The end of one command's output."""

    def __init__(self) -> None:
        """Make one that there was never before."""
        self._word = f"cas-end-of-command-{secrets.token_hex(10)}"
        one, other = secrets.choice(_ADDENDS), secrets.choice(_ADDENDS)
        self._commands = (f"echo {self._word}", f"eval {one} + {other}")
        self._end = re.compile(
            rb"%b[^\n]*\n(?:[^\n]{0,300}\n)?[^\n]*hexadecimal: %x\b[^\n]*\n(?:[^\n]*\n){0,2}"
            rb"\s*binary: [01]+[^\n]*\n" % (self._word.encode(), one + other)
        )

    @property
    def text(self) -> bytes:
        """crash's commands for it, as lines."""
        return "".join(f"{command}\n" for command in self._commands).encode()

    def find_end(self, said: bytes | bytearray, start: int = 0) -> tuple[int, int] | None:
        """Where it stands in what crash wrote: its first byte, and the first byte behind it."""
        found = self._end.search(said, start)
        return found.span() if found else None

    def is_echoed(self, said: bytes | bytearray) -> bool:
        """Whether what crash wrote before the marker repeats what it was told."""
        return self._word.encode() in said

    def unechoed(self, said: bytes, *commands: str) -> bytes:
        """What crash wrote, without the lines in which a terminal repeats what it was told."""
        if not self.is_echoed(said):
            return said
        sent = {b"", *(command.encode() for command in (*commands, *self._commands))}
        kept = (
            _PROMPT.sub(b"", line).replace(b"\r\n", b"\n")
            for line in said.splitlines(keepends=True)
            if _PROMPT.sub(b"", line).strip() not in sent or not line.strip()
        )
        return b"".join(kept)


def banner_contradiction(said: bytes, releases: Collection[str]) -> str | None:
    """What is wrong with the answer to :data:`TRUTH`, in a sentence; ``None``: nothing.

    :param releases: ``uname -r`` of the dump's kernel, as far as it is known
    """
    found = _BANNER.search(said)
    if found is None:
        # a damaged dump may lack that very page, and then crash says so
        has_complained = any(line.startswith(_COMPLAINTS) for line in said.splitlines())
        return None if has_complained else "it does not say which kernel the dump is of"
    release = _JOINT.sub(b"", found[1]).split()[2].decode("ascii", "replace")
    if releases and release not in releases:
        return f"it shows Linux {release}, the dump is of {' or '.join(sorted(releases))}"
    return None
