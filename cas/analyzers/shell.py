"""How an analyzer in shell is started: its variables, its functions, and the files that it sees."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from cas.analyzers.analyzer import Analyzer
from cas.analyzers.prepared import PreparedCrash
from cas.archive.shown import words_of
from cas.engines.drgn.starting import home_of_drgn
from cas.errors import EngineError
from cas.files.whole import put
from cas.frozen import dataclass
from cas.supervise import FILES, SAFE_PATH, Confinement, VisibleFiles, find_program
from cas.supervise.sandbox import visible
from cas.text import one_line

FUNCTIONS = Path(__file__).with_name("functions.sh")
_PREFIXES = ("CAS", "THOTH")
"""Each variable has both names, so that analyzers of Thoth run as they are."""


@dataclass(frozen=True, slots=True)
class ShellPlaces:
    """Files for one run, and what they are called where the analyzer runs."""

    room: Path
    """A directory of the run's own; without a sandbox it is written to."""
    subject: PreparedCrash
    confinement: Confinement
    files: Mapping[Path, str]
    """Where each file is found in the sandbox."""

    @classmethod
    def prepare(
        cls,
        room: Path,
        subject: PreparedCrash,
        analyzer: Analyzer,
        confinement: Confinement,
        crash: Path | None,
    ) -> Self:
        """Write what the analyzer gets.

        :param crash: the program that is called crash there; ``None``: the system's, if any
        :raises EngineError: drgn is not installed
        """
        programs = room / "bin"
        programs.mkdir()
        files = {subject.dump: f"{FILES}/vmcore"}
        if subject.vmlinux:
            files[subject.vmlinux] = f"{FILES}/vmlinux"
        python, home = Path(sys.executable).resolve(), home_of_drgn()
        for path, place in visible((Path(sys.base_prefix).resolve(), home)):
            files[path] = place
        starts = f"import sys; sys.path.append({str(home)!r}); from drgn.cli import _main; _main()"
        _put_program(programs / "drgn", [str(python), "-I", "-S", "-c", starts])
        if crash:
            files |= dict(visible([crash]))
            _put_program(programs / "crash", [str(crash)])
        texts = {
            "analyzer": analyzer.text,
            "info.json": subject.json.encode(),
            "info.words": _words(subject).encode(),
        }
        for name, content in texts.items():
            put(room / name, content)
            files[room / name] = f"{FILES}/{name}"
        files |= {programs: f"{FILES}/bin", FUNCTIONS: f"{FILES}/functions.sh"}
        return cls(room, subject, confinement, files)

    def place(self, path: Path | None) -> str:
        """What a file is called there; empty for none."""
        if path is None:
            return ""
        return self.files[path] if self.confinement.sandbox else str(path)

    def variables(self, pipe: int) -> dict[str, str]:
        """All that the analyzer finds in its environment.

        :param pipe: descriptor of the pipe for what it says
        """
        subject, is_boxed = self.subject, self.confinement.sandbox is not None
        temporary = "/tmp" if is_boxed else str(self.room / "tmp")  # noqa: S108  a tmpfs of its own
        facts = {
            "DUMP": self.place(subject.dump),
            "INFO": self.place(self.room / "info.json"),
            "TYPE": subject.info.type,
            "NAME": subject.id,
            "VMLINUX": self.place(subject.vmlinux),
            "ARCH": subject.arch or "",
            "KERNEL": subject.osrelease or "",
            "TMPDIR": temporary,
            "ANALYZER": self.place(self.room / "analyzer"),
        }
        return {
            **{f"{prefix}_{name}": text for prefix in _PREFIXES for name, text in facts.items()},
            "CAS_PIPE": f"/proc/self/fd/{pipe}",
            "CAS_WORDS": self.place(self.room / "info.words"),
            "CAS_FUNCTIONS": self.place(FUNCTIONS),
            "TMPDIR": temporary,
            "PATH": f"{self.place(self.room / 'bin')}:{SAFE_PATH}",
            "DRGN_DISABLE_PLUGINS": "*",
        }


def shell_program(
    places: ShellPlaces, pipe: int
) -> tuple[Sequence[str], Confinement, VisibleFiles]:
    """The words that start an analyzer in shell, where it runs, and what it sees.

    :raises EngineError: there is no shell
    """
    confinement = replace(
        places.confinement,
        environment={**places.confinement.environment, **places.variables(pipe)},
    )
    script = 'exec 2>&1; . "$CAS_FUNCTIONS"; . "$CAS_ANALYZER"'
    if confinement.sandbox is None:
        (places.room / "tmp").mkdir()
    return (
        [str(find_shell()), "-c", script, "analyzer"],
        confinement,
        VisibleFiles(places.files, (pipe,)),
    )


def find_shell() -> Path:
    """bash, else sh.

    :raises EngineError: there is neither
    """
    found = find_program("bash", SAFE_PATH) or find_program("sh", SAFE_PATH)
    if found is None:
        raise EngineError("there is no shell", hint="install bash")
    return found


def _words(subject: PreparedCrash) -> str:
    """Every value of what is known, a line each behind its dotted name, for `cas_info`."""
    words = words_of(subject.shown)
    return "".join(f"{word.name}\t{one_line(word.value)}\n" for word in words)


def _put_program(path: Path, words: Sequence[str]) -> None:
    text = f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'
    put(path, text.encode(), is_executable=True)
