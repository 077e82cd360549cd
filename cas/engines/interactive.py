"""drgn on a terminal of its own, for a person."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from cas.engines.drgn import ENVIRONMENT, PACKAGES, Opened, home_of_drgn
from cas.supervise import FILES, Room, View
from cas.supervise.sandbox import visible
from cas.terminal import LocalTerminal, Window

PROGRAM = (
    "import sys; sys.path += sys.argv[1:3]; "
    "from cas.engines.drgn_console import main; main(*sys.argv[3:])"
)
QUIET = "DRGN_DISABLE_PLUGINS"


def drgn_on_terminal(opened: Opened, room: Room, window: Window) -> LocalTerminal:
    """drgn's own prompt; it runs on this machine whatever the dump's architecture.

    :raises EngineError: it cannot be started
    """
    home = home_of_drgn()
    python = Path(sys.executable).resolve()
    needed = (Path(sys.base_prefix).resolve(), home, PACKAGES / "cas")
    vmcore, vmlinux = opened.dump.path, opened.vmlinux
    seen = {vmcore: f"{FILES}/vmcore", vmlinux: f"{FILES}/vmlinux"}
    seen |= {path: str(path) for path in opened.kmods.values()}
    kmods = (word for pair in opened.kmods.items() for word in map(str, pair))
    about = {
        "arch": opened.dump.arch,
        "vmcoreinfo": opened.vmcoreinfo,
        "known": opened.known(),
        "is_forced": opened.is_forced,
    }
    variables = {**room.environment, **window.environment, QUIET: ENVIRONMENT[QUIET]}
    words: list[str | Path] = [python, "-I", "-S", "-c", PROGRAM, PACKAGES, home]
    return LocalTerminal(
        [*words, vmcore, vmlinux, json.dumps(about), *kmods],
        replace(room, environment=variables),
        View({**dict(visible(needed)), **seen}),
        window.size,
    )
