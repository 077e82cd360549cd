"""drgn for an analyzer in Python: a process of its own on one dump, which writes to a pipe."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cas.engines.drgn.glide import GlideModule, sources
from cas.engines.drgn.request import facts_to_compare, foreseen_death, vmcoreinfo_text
from cas.engines.drgn.starting import ENVIRONMENT, PACKAGES, home_of_drgn
from cas.files.whole import put
from cas.frozen import dataclass
from cas.model.case import Case
from cas.supervise import FILES, Confinement, VisibleFiles
from cas.supervise.sandbox import visible

PROGRAM = (
    "import sys; sys.path += sys.argv[1:3]; "
    "from cas.engines.drgn.child.analyze import main; main(*sys.argv[3:])"
)


@dataclass(frozen=True, slots=True)
class AnalyzerCall:
    """An analyzer that is to be run on a dump."""

    text: bytes
    info: Mapping[str, Any]
    """What is known of the crash."""
    modules: tuple[GlideModule, ...]
    """Of the deep trace."""
    pipe: int
    """Descriptor of the pipe for what it says."""
    death: str | None = None
    """How drgn ended when it read the dump by itself."""
    served: int | None = None
    """Descriptor of a socket that the dump is read through, where it is no file here."""


def python_program(
    call: AnalyzerCall, case: Case, confinement: Confinement
) -> tuple[Sequence[str | os.PathLike[str]], Confinement, VisibleFiles]:
    """The words that start it, where it runs, and what it sees.

    :param confinement: its directory, of this run alone, gets files
    :raises EngineError: drgn is not installed
    """
    room, home = confinement.directory, home_of_drgn()
    analyzer, about, modules = room / "analyzer", room / "call.json", room / "glide.json"
    request = {
        "arch": case.dump.arch,
        "vmcoreinfo": vmcoreinfo_text(case.dump),
        "known": facts_to_compare(case),
        "death": call.death or foreseen_death(case.dump),
    }
    put(analyzer, call.text)
    put(modules, json.dumps(sources(call.modules)).encode())
    told = {"pipe": call.pipe, "info": call.info, "request": request, "served": call.served}
    put(about, json.dumps(told).encode())
    needed = (Path(sys.base_prefix).resolve(), home, PACKAGES / "cas")
    seen = {case.vmlinux: f"{FILES}/vmlinux"}
    seen |= {case.dump.path: f"{FILES}/vmcore"} if call.served is None else {}
    seen |= {path: str(path) for path in case.kmods.values()}
    seen |= {path: f"{FILES}/{path.name}" for path in (analyzer, about, modules)}
    kmods = (word for pair in case.kmods.items() for word in map(str, pair))
    words: list[str | Path] = [Path(sys.executable).resolve(), "-I", "-S", "-c", PROGRAM]
    words += [PACKAGES, home, case.dump.path, case.vmlinux, analyzer, about, modules, *kmods]
    environment = {**confinement.environment, **ENVIRONMENT}
    descriptors = (call.pipe, *([] if call.served is None else [call.served]))
    return (
        words,
        replace(confinement, environment=environment),
        VisibleFiles({**dict(visible(needed)), **seen}, descriptors),
    )
