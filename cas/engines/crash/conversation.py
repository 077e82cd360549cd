"""The conversation with a crash: what it is told, where its answer ends, what its last words were.

All who talk to crash do it so: a job's session, and ``cas debug`` through pipes or on a terminal.
An :class:`Exchange` is commands and crash's answer to them, up to a marker. The first one is the
:class:`Opening`, with a question that only a crash with this dump can answer.

Through a pipe the commands are sent first. On a terminal they stand in a file for ``-i``: typed
ones would be shown and kept in the history. crash 8.0.2 runs such a file before its first prompt,
without showing its lines since ``-s`` is given; what that version does wrong with such files is
redirections, of which a prelude has no need.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from pathlib import Path

from cas.engines.crash.marker import REACH, TRUTH, Marker, banner_contradiction
from cas.engines.crash.place import Place
from cas.engines.crash.start_failures import NotOpened
from cas.errors import UsageError
from cas.frozen import dataclass
from cas.supervise import describe_status
from cas.text import short_line

MESSAGES_BYTES = 1 << 20
"""What crash may say while it opens a dump."""
LAST_WORDS_LIMIT = 300
"""Characters of a line of crash's in a sentence of ours."""
_INVALID = re.compile(r"^crash: (?:invalid|unrecognized) option:? '?(-[^\s']+)", re.MULTILINE)
_USAGE = re.compile(r"Usage:|Enter \"crash -h\"|crash \[OPTION\]")
"""What crash ends with when it does not like its files."""
_HELP = re.compile(rb"^\n((?:[^\n]+\n)+)\ncrash version: ", re.MULTILINE)
"""What ``help`` answers, with the names of all commands in columns."""
_KMOD = re.compile(r"[A-Za-z0-9_]{1,55}").fullmatch
"""A kernel module as the kernel spells it."""
_IN_QUOTES = re.compile(r"[^\"'\x00-\x1f]+").fullmatch

Read = Callable[[float], bytes | None]
"""As in :class:`cas.supervise.dialogue.Dialogue`."""
HowEnded = Callable[[], tuple[int, str]]
"""How a program ended, of which all is read: its status, and what else it said."""


class Stop(StrEnum):
    """Why no more of an answer was read."""

    MARKER = "marker"  # it is whole
    LIMIT = "limit"  # it is longer than it may be
    SILENCE = "silence"  # it took too long, or the watchdog wants crash ended
    END = "end"  # crash has ended, or closed its output


class Exchange:
    """Commands that crash is told at once, and its answer to them."""

    def __init__(self, *commands: str) -> None:
        """Prepare them, with a marker of their own; crash is told nothing yet."""
        self._marker = Marker()
        self._commands = commands
        self.said = bytearray()
        """crash's answer, as far as it was read, without the marker."""
        self.rest = b""
        """What crash wrote behind the marker."""

    @property
    def text(self) -> bytes:
        """The lines to send."""
        lines = "".join(f"{command}\n" for command in self._commands)
        return lines.encode("utf-8", "surrogateescape") + self._marker.text

    @property
    def answer(self) -> bytes:
        """What crash wrote, without the lines in which a terminal repeats what it was told."""
        return self._marker.unechoed(bytes(self.said), *self._commands)

    @property
    def is_echoed(self) -> bool:
        """Whether crash, or what passes for it, repeats what it was told."""
        return self._marker.is_echoed(self.said)

    def wait(self, read: Read, timeout_s: float, max_bytes: int | None) -> Stop:
        """Read crash's answer up to the marker.

        :param max_bytes: what of it is kept; ``None``: nothing is, and it may be of any length
        """
        said, deadline = self.said, time.monotonic() + timeout_s
        while True:
            data = read(max(0.0, deadline - time.monotonic()))
            if data is None:
                return Stop.SILENCE
            if not data:
                return Stop.END
            said += data
            # only the tail can hold the marker
            found = self._marker.find_end(said, max(0, len(said) - len(data) - REACH))
            if found:
                self.rest = bytes(said[found[1] :])
                del said[found[0] :]
                # crash's line reader writes an empty line before what a command writes
                said[:1] = said[:1].replace(b"\n", b"")
            if max_bytes is None:
                del said[:-REACH]
            elif len(said) > max_bytes:
                del said[max_bytes:]
                return Stop.LIMIT
            if found:
                return Stop.MARKER
            if time.monotonic() > deadline:
                return Stop.SILENCE


class Opening(Exchange):
    """The first exchange: which kernel the dump is of, then the commands before all others."""

    def __init__(self, commands: Sequence[str] = (), *, asks_commands: bool = False) -> None:
        """Prepare them; nothing is started yet.

        :param asks_commands: whether crash is asked which commands it has
        """
        # the banner's own newline ends what `rd -a` shows, not the line
        super().__init__(TRUTH, "echo", *commands, *(("help",) if asks_commands else ()))
        self._own = commands

    def contradiction(self, releases: Collection[str]) -> str | None:
        """Why it was not answered by a crash with this dump, in a sentence; ``None``: it was.

        :param releases: ``uname -r`` of the dump's kernel, as far as it is known
        """
        return banner_contradiction(bytes(self.said), releases)

    def wait_until_open(self, read: Read, how_ended: HowEnded, timeout_s: float) -> None:
        """Wait until crash has read the dump and all of this.

        :raises UsageError: it does not know an option
        :raises NotOpened: it takes too long, or ended; the message has its last words
        """
        stop = self.wait(read, timeout_s, MESSAGES_BYTES)
        if stop is Stop.MARKER:
            if wrong := self.contradiction(()):
                raise NotOpened(f"crash is none, or shows another dump: {wrong}")
            return
        if stop is Stop.LIMIT:
            raise NotOpened("crash writes without end before it opens the dump")
        if stop is Stop.SILENCE:
            raise NotOpened(f"crash is not ready after {timeout_s:g} s")
        status, beside = how_ended()
        everything = self.said.decode("utf-8", "replace") + beside
        if unknown := _INVALID.search(everything):
            raise UsageError(
                f"neither CAS nor crash has the option {short_line(unknown[1], 80)}",
                hint="see: cas debug -h, and: crash -h",
            )
        raise NotOpened(how_it_ended("crash", status, everything))

    @property
    def complaints(self) -> tuple[str, ...]:
        """Lines that begin as crash's complaints do, with the name of one of the commands."""
        marks = tuple(f"{name}: " for name in ("crash", *(one.split()[0] for one in self._own)))
        lines = self.said.decode("utf-8", "replace").splitlines()
        return tuple(short_line(line, LAST_WORDS_LIMIT) for line in lines if line.startswith(marks))

    @property
    def known_commands(self) -> tuple[str, ...]:
        """The commands that this crash has, if it was asked."""
        listed = _HELP.search(self.said)
        return tuple(listed[1].decode("ascii", "replace").split()) if listed else ()


@dataclass(frozen=True, slots=True)
class Preparation:
    """What crash is told before all else, wherever it is started."""

    kmods: Mapping[str, Path] = field(default_factory=dict)
    """Kernel modules' files, of the builds that were loaded: crash loads them without a look at
    that."""
    extensions: Sequence[Path] = ()
    """Shared objects that crash loads, on the machine where it runs."""
    prelude: Sequence[str] = ()
    """Commands as :func:`cas.snippets.snippets.load` gives them."""

    def commands_at(self, place: Place) -> tuple[str, ...]:
        """All of it as crash's commands, with the kernel modules' files that a place has.

        Each gets a command of its own: ``mod -S`` seeks the files itself, and what it finds may be
        another build.
        """
        there = {name: place.where(path) for name, path in self.kmods.items()}
        return (
            *(
                f'mod -s {name} "{path}"'
                for name, path in there.items()
                if path and _IN_QUOTES(path) and _KMOD(name)
            ),
            *(f"extend {path}" for path in self.extensions),
            *self.prelude,
        )


def how_it_ended(name: str, status: int, said: str) -> str:
    """Why a debugger did not open a dump, in a sentence."""
    end = f"{name} {'was' if status < 0 else 'ended with'} {describe_status(status)}"
    words = last_words(said)
    return f"{end}: {words}" if words else end


def last_words(said: str) -> str:
    """The line in which crash says why it did not open a dump; empty when it says nothing."""
    lines = [line.strip() for line in said.splitlines()]
    lines = [line for line in lines if line and not _USAGE.match(line)]
    words = [line for line in lines if line.startswith("crash: ")] or lines
    return short_line(words[-1].rstrip(" ,:;"), LAST_WORDS_LIMIT) if words else ""
