"""What comes before a user's first command in crash: the site's extensions and the prelude.

It begins with a question that only a crash with this dump can answer, and ends with a
:class:`~cas.engines.crash.marker.Marker`. What crash writes before that is not the user's. Through
a pipe the commands are sent first. On a terminal they stand in a file for ``-i``: typed ones would
be shown and kept in the history. crash 8.0.2 runs such a file before its first prompt, without
showing its lines since ``-s`` is given; what that version does wrong with such files is
redirections, of which a prelude has no need.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from cas.engines.crash.marker import TRUTH, Marker, contradiction
from cas.engines.crash.place import Place
from cas.engines.crash.rungs import MINIMAL, REMEDIES
from cas.errors import EngineError, UsageError
from cas.supervise import describe
from cas.text import short_line

MESSAGES_BYTES = 1 << 20
"""Of what crash says while it opens a dump."""
LAST_WORDS_LIMIT = 300
"""Characters of a line of crash's in a sentence of ours."""
WAIT_S = 1.0
_INVALID = re.compile(r"^crash: (?:invalid|unrecognized) option:? '?(-[^\s']+)", re.MULTILINE)
_USAGE = re.compile(r"Usage:|Enter \"crash -h\"|crash \[OPTION\]")
"""What crash ends with when it does not like its files."""

_HELP = re.compile(rb"^\n((?:[^\n]+\n)+)\ncrash version: ", re.MULTILINE)
"""What ``help`` answers, with the names of all commands in columns."""
KMOD = re.compile(r"[A-Za-z0-9_]{1,55}")
"""A kernel module as the kernel spells it."""
_IN_QUOTES = re.compile(r"[^\"'\x00-\x1f]+").fullmatch

Read = Callable[[float], bytes | None]
"""As in :class:`cas.supervise.dialogue.Dialogue`."""
End = Callable[[], tuple[int, str]]
"""How a program ended, of which all is read: its status, and what else it said."""


class NotOpened(EngineError):
    """crash ended before its first prompt."""

    hint = "crash may be too old for this kernel, or the dump damaged; try --engine drgn"


class Opening:
    """The commands before a user's first, and what crash answers to them."""

    def __init__(
        self, prelude: Sequence[str], extensions: Sequence[Path], *, asks_commands: bool = False
    ) -> None:
        """Prepare them; nothing is started yet.

        :param asks_commands: whether crash is asked which commands it has
        """
        self._marker = Marker()
        self._commands = preparation(prelude, extensions)
        self._asked = ("help",) if asks_commands else ()
        self.complaints: tuple[str, ...] = ()
        """What crash did not like among them; known once it is open."""
        self.commands: tuple[str, ...] = ()
        """The commands that this crash has, if it was asked; known once it is open."""

    @property
    def text(self) -> bytes:
        """All of it, as lines."""
        # the banner's own newline ends what `rd -a` shows, not the line
        lines = "".join(f"{line}\n" for line in (TRUTH, "echo", *self._commands, *self._asked))
        return lines.encode("utf-8", "surrogateescape") + self._marker.text

    def wait(self, read: Read, end: End, timeout_s: float) -> bytes:
        """Wait until crash has read the dump and all of this; what it wrote behind it.

        :raises UsageError: it does not know an option
        :raises EngineError: it takes too long, or ended; the message has its last words
        """
        deadline = time.monotonic() + timeout_s
        said = bytearray()
        while (data := read(min(WAIT_S, max(0.0, deadline - time.monotonic())))) != b"":
            said += data or b""
            if data and (found := self._marker.find(said)):
                if wrong := contradiction(bytes(said[: found[0]]), ()):
                    raise NotOpened(f"crash is none, or shows another dump: {wrong}")
                self.complaints = tuple(self._complaints_in(said[: found[0]]))
                listed = _HELP.search(said, 0, found[0]) if self._asked else None
                names = listed[1].decode("ascii", "replace") if listed else ""
                self.commands = tuple(names.split())
                return bytes(said[found[1] :])
            if len(said) > MESSAGES_BYTES:
                raise NotOpened("crash writes without end before it opens the dump")
            if time.monotonic() >= deadline:
                raise NotOpened(f"crash is not ready after {timeout_s:g} s")
        status, beside = end()
        everything = bytes(said).decode("utf-8", "replace") + beside
        if unknown := _INVALID.search(everything):
            raise UsageError(
                f"neither CAS nor crash has the option {short_line(unknown[1], 80)}",
                hint="see: cas debug -h, and: crash -h",
            )
        raise NotOpened(how_it_ended(status, everything))

    def _complaints_in(self, said: bytes | bytearray) -> Iterator[str]:
        """Lines that begin as crash's complaints do, with the command's name."""
        marks = tuple(
            f"{name}: " for name in ("crash", *(one.split()[0] for one in self._commands))
        )
        for line in said.decode("utf-8", "replace").splitlines():
            if line.startswith(marks):
                yield short_line(line, LAST_WORDS_LIMIT)


def preparation(prelude: Sequence[str], extensions: Sequence[Path]) -> tuple[str, ...]:
    """crash's commands before all others.

    :param prelude: as :func:`cas.snippets.snippets.load` gives it
    :param extensions: on the machine where crash runs
    """
    return (*(f"extend {path}" for path in extensions), *prelude)


def loading(place: Place, kmods: Mapping[str, Path]) -> tuple[str, ...]:
    """crash's commands that load kernel modules' files, as far as a place has them.

    One command each: ``mod -S`` seeks the files itself, and what it finds may be another build.

    :param kmods: files by the kernel's names, of the builds that were loaded
    """
    there = ((name, place.where(path)) for name, path in kmods.items() if KMOD.fullmatch(name))
    return tuple(f'mod -s {name} "{path}"' for name, path in there if path and _IN_QUOTES(path))


def options_of(ladder: Sequence[str]) -> tuple[str, ...]:
    """The options with which crash opened the dump in a job.

    :param ladder: of the job's report, e.g. ``crash``, ``crash --zero_excluded``
    """
    rungs = [rung.split() for rung in ladder if rung.split()[:1] == ["crash"]]
    known = {*REMEDIES, *MINIMAL}
    return tuple(word for word in rungs[-1] if word in known) if rungs else ()


def how_it_ended(status: int, said: str, name: str = "crash") -> str:
    """Why a debugger did not open a dump."""
    end = f"{name} {'was' if status < 0 else 'ended with'} {describe(status)}"
    words = last_words(said)
    return f"{end}: {words}" if words else end


def last_words(said: str) -> str:
    """The line in which crash says why it did not open a dump; empty when it says nothing."""
    lines = [line.strip() for line in said.splitlines()]
    lines = [line for line in lines if line and not _USAGE.match(line)]
    words = [line for line in lines if line.startswith("crash: ")] or lines
    return short_line(words[-1].rstrip(" ,:;"), LAST_WORDS_LIMIT) if words else ""
