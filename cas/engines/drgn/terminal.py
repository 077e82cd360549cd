"""drgn for a user: on a terminal of its own, or between pipes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path

from cas.engines.drgn.glide import GlideModule, sources
from cas.engines.drgn.request import facts_to_compare, foreseen_death, vmcoreinfo_text
from cas.engines.drgn.starting import ENVIRONMENT, PACKAGES, home_of_drgn
from cas.frozen import dataclass
from cas.klog.log_text import code_places
from cas.model.case import Case
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
MODULES = "glide.json"
"""Name of a file with the modules of the deep trace."""
LOG = "log"
"""Name of a file with the kernel log, where that is all there is."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a user's drgn begins."""

    first: bytes = b""
    """Lines that are run before the first prompt; its working directory gets a file with them."""
    is_quiet: bool = False
    """Nothing introduces it."""
    is_forced: bool = False
    """The vmlinux may be another kernel's."""
    modules: tuple[GlideModule, ...] = ()
    """Of the deep trace."""
    served: int | None = None
    """Descriptor of a socket that the dump is read through, where it is no file here."""


def drgn_on_terminal(
    case: Case, confinement: Confinement, window: Window, beginning: Beginning
) -> LocalTerminal:
    """drgn's prompt; it runs on this machine whatever the dump's architecture.

    :raises EngineError: it cannot be started
    """
    path = confinement.directory / FIRST
    path.write_bytes(beginning.first)
    way = "quiet" if beginning.is_quiet else "terminal"
    first = path if beginning.first else None
    words, view = _console_program(way, case, confinement.directory, first, beginning)
    variables = {**confinement.environment, **window.environment, QUIET: ENVIRONMENT[QUIET]}
    return LocalTerminal(words, replace(confinement, environment=variables), view, window.size)


def drgn_between_pipes(case: Case, confinement: Confinement, beginning: Beginning) -> Child:
    """drgn that is told by lines what to do.

    :raises EngineError: it cannot be started
    """
    words, view = _console_program("pipe", case, confinement.directory, None, beginning)
    return Child(
        words, replace(confinement, environment={**confinement.environment, **ENVIRONMENT}), view
    )


def _console_program(
    way: str, case: Case, directory: Path, first: Path | None, beginning: Beginning
) -> tuple[Sequence[str | os.PathLike[str]], VisibleFiles]:
    """The words that start it, and the files that it sees.

    :param directory: its working directory, which may get a file
    """
    home = home_of_drgn()
    python = Path(sys.executable).resolve()
    needed = (Path(sys.base_prefix).resolve(), home, PACKAGES / "cas")
    vmcore, vmlinux, is_log = case.dump.path, case.vmlinux, case.dump.is_log
    if is_log:
        vmcore = directory / LOG
        vmcore.write_text(case.dump.dmesg or "", "utf-8", "surrogateescape")
    seen = {vmlinux: f"{FILES}/vmlinux"}
    seen |= {vmcore: f"{FILES}/vmcore"} if beginning.served is None else {}
    seen |= {path: str(path) for path in case.kmods.values()}
    seen |= {first: f"{FILES}/{FIRST}"} if first else {}
    modules = directory / MODULES
    modules.write_text(json.dumps(sources(beginning.modules)))
    seen[modules] = f"{FILES}/{MODULES}"
    kmods = (word for pair in case.kmods.items() for word in map(str, pair))
    about = {
        "arch": case.dump.arch,
        "vmcoreinfo": vmcoreinfo_text(case.dump),
        "known": facts_to_compare(case),
        "is_forced": beginning.is_forced,
        "served": beginning.served,
        "is_log": is_log,
        "places": [astuple(each) for each in code_places(case.dump.dmesg or "")] if is_log else [],
        "death": foreseen_death(case.dump),
    }
    words: list[str | Path] = [python, "-I", "-S", "-c", PROGRAM, PACKAGES, home, way]
    words += [vmcore, vmlinux, json.dumps(about), first or "", modules, *kmods]
    descriptors = () if beginning.served is None else (beginning.served,)
    return words, VisibleFiles({**dict(visible(needed)), **seen}, descriptors)
