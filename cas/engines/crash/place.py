"""Where crash runs: on this machine, or elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from cas.files.whole import is_there
from cas.supervise import FILES, Child, Confinement, Dialogue, VisibleFiles, run_program
from cas.terminal import LocalTerminal, Terminal, Window

OPENING = "opening"
"""Name of a file with the commands before the first prompt."""
_PLAIN = re.compile(r"[\w./+:,=@-]+", re.ASCII)


class Place(Protocol):
    """A machine with a crash, our dump and its vmlinux."""

    @property
    def name(self) -> str | None:
        """The machine's name; ``None``: this one."""

    @property
    def sandbox(self) -> str | None:
        """What its programs run in, if that may be another than on this machine: ``bwrap``, or
        ``none`` and why."""

    def start(self, options: Sequence[str]) -> Dialogue:
        """Start crash.

        :raises EngineError: it cannot be started
        """

    def terminal(self, options: Sequence[str], opening: bytes, window: Window) -> Terminal:
        """Start crash on a terminal of its own.

        :param opening: commands before the first prompt
        :raises EngineError: it cannot be started
        """

    def where(self, path: Path) -> str | None:
        """The name there of a kernel module's file; ``None``: crash there does not see it."""

    def version(self) -> str | None:
        """What its crash calls itself, e.g. ``crash 8.0.2``, and where it is if not here."""

    def close(self) -> None:
        """Let go of the machine; whatever runs there ends."""


@dataclass(slots=True)
class LocalPlace:
    """This machine."""

    program: Path
    vmlinux: Path
    vmcore: Path
    confinement: Confinement
    extensions: tuple[Path, ...] = ()
    """Shared objects that crash's prelude loads."""
    kmods: Mapping[str, Path] = field(default_factory=dict)
    """Kernel modules' files."""
    needed: tuple[str, ...] = ()
    """Options of crash without which it does not find the kernel in this dump."""
    name: str | None = None
    sandbox: str | None = None
    _end: Callable[[], object] | None = None
    """Ends what runs."""
    _shown: frozenset[Path] | None = None
    """Files of kernel modules that crash was started with."""

    def start(self, options: Sequence[str]) -> Child:
        """Start crash, confined; in a sandbox it finds its files under fixed names."""
        words = crash_argv(self.program, (*self.needed, *options), self.vmlinux, self.vmcore)
        child = Child(words, self.confinement, VisibleFiles(self._visible_files()))
        self._end = child.end
        return child

    def terminal(self, options: Sequence[str], opening: bytes, window: Window) -> LocalTerminal:
        """Start crash on a terminal of its own; its working directory gets a file more."""
        path = self.confinement.directory / OPENING
        path.write_bytes(opening)
        options = ("-i", str(path), *self.needed, *options)
        words = crash_argv(self.program, options, self.vmlinux, self.vmcore)
        confinement = replace(
            self.confinement, environment={**self.confinement.environment, **window.environment}
        )
        seen = {**self._visible_files(), path: f"{FILES}/{OPENING}"}
        terminal = LocalTerminal(words, confinement, VisibleFiles(seen), window.size)
        self._end = terminal.close
        return terminal

    def where(self, path: Path) -> str | None:
        """The file's own name, if crash can be told it: a sandbox shows it as it is."""
        shown = self._kmods_there_are() if self._shown is None else self._shown
        return self._kmod_name_there(path) if path in shown else None

    def version(self) -> str | None:
        """What its crash calls itself."""
        return version(self.program, self.confinement)

    def close(self) -> None:
        """End what runs."""
        if self._end is not None:
            self._end()

    def _visible_files(self) -> dict[Path, str]:
        seen = {self.vmlinux: f"{FILES}/vmlinux", self.vmcore: f"{FILES}/vmcore"}
        self._shown = self._kmods_there_are()
        seen |= {path: str(path) for path in self.extensions if is_there(path)}
        return seen | {path: self._kmod_name_there(path) for path in self._shown}

    def _kmod_name_there(self, kmod: Path) -> str:
        """crash 8.0.2 ends without a word at a file's name with an apostrophe."""
        is_plain = self.confinement.sandbox is None or _PLAIN.fullmatch(str(kmod))
        return str(kmod) if is_plain else f"{FILES}/kmods/{kmod.name}"

    def _kmods_there_are(self) -> frozenset[Path]:
        return frozenset(path for path in self.kmods.values() if path.exists())


def crash_argv(
    program: str | Path, options: Sequence[str], vmlinux: str | Path, vmcore: str | Path
) -> list[str]:
    """The words that start crash."""
    return [str(program), "--no_crashrc", "-s", *options, str(vmlinux), str(vmcore)]


def version(program: Path, confinement: Confinement) -> str | None:
    """What the program calls itself, e.g. ``crash 8.0.2``; ``None`` if it is not crash."""
    finished = run_program([program, "--version"], confinement, timeout_s=10, max_bytes=64 << 10)
    found = re.search(rb"^crash \S+", finished.stdout, re.MULTILINE)
    return found[0].decode("ascii", "replace") if found else None
