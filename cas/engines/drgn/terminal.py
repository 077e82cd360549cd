"""drgn for a user: on a terminal of its own, or between pipes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cas.engines.drgn.process import ENVIRONMENT, PACKAGES, Opened, home_of_drgn
from cas.supervise import FILES, Child, Confinement, VisibleFiles
from cas.supervise.sandbox import visible
from cas.terminal import LocalTerminal, Window

PROGRAM = (
    "import sys; sys.path += sys.argv[1:3]; "
    "from cas.engines.drgn.child.console import main; main(*sys.argv[3:])"
)
QUIET = "DRGN_DISABLE_PLUGINS"


FIRST = "first"
"""Name of a file with what is run before the first prompt."""


def drgn_on_terminal(
    opened: Opened,
    confinement: Confinement,
    window: Window,
    first: bytes = b"",
    *,
    is_quiet: bool = False,
) -> LocalTerminal:
    """drgn's prompt; it runs on this machine whatever the dump's architecture.

    :param first: lines that are run before; its working directory gets a file with them
    :param is_quiet: whether nothing introduces it
    :raises EngineError: it cannot be started
    """
    path = confinement.directory / FIRST
    path.write_bytes(first)
    way = "quiet" if is_quiet else "terminal"
    words, view = _console_program(way, opened, path if first else None)
    variables = {**confinement.environment, **window.environment, QUIET: ENVIRONMENT[QUIET]}
    return LocalTerminal(words, replace(confinement, environment=variables), view, window.size)


def drgn_between_pipes(opened: Opened, confinement: Confinement) -> Child:
    """drgn that is told by lines what to do.

    :raises EngineError: it cannot be started
    """
    words, view = _console_program("pipe", opened, None)
    return Child(
        words, replace(confinement, environment={**confinement.environment, **ENVIRONMENT}), view
    )


def _console_program(
    way: str, opened: Opened, first: Path | None
) -> tuple[Sequence[str | os.PathLike[str]], VisibleFiles]:
    """The words that start it, and the files that it sees."""
    home = home_of_drgn()
    python = Path(sys.executable).resolve()
    needed = (Path(sys.base_prefix).resolve(), home, PACKAGES / "cas")
    vmcore, vmlinux = opened.dump.path, opened.vmlinux
    seen = {vmcore: f"{FILES}/vmcore", vmlinux: f"{FILES}/vmlinux"}
    seen |= {path: str(path) for path in opened.kmods.values()}
    seen |= {first: f"{FILES}/{FIRST}"} if first else {}
    kmods = (word for pair in opened.kmods.items() for word in map(str, pair))
    about = {
        "arch": opened.dump.arch,
        "vmcoreinfo": opened.vmcoreinfo,
        "known": opened.known(),
        "is_forced": opened.is_forced,
    }
    words: list[str | Path] = [python, "-I", "-S", "-c", PROGRAM, PACKAGES, home, way]
    words += [vmcore, vmlinux, json.dumps(about), first or "", *kmods]
    return words, VisibleFiles({**dict(visible(needed)), **seen})
