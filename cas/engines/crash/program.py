"""Which crash program, if any, reads a dump of a given architecture here."""

from __future__ import annotations

import platform
from pathlib import Path

from cas.choices import EngineChoice
from cas.errors import EngineError
from cas.settings.config import Config
from cas.supervise import find_program


def choose_crash(config: Config, arch: str, engine: EngineChoice) -> Path | None:
    """The crash program for an architecture.

    :return: ``None``: the snippets run through drgn
    :raises EngineError: crash was demanded, here or by the configuration, and is not there
    """
    if engine is EngineChoice.DRGN:
        return None
    is_native = arch == platform.machine()
    named = config.crash if is_native else config.crash_for_arch.get(arch)
    if named is None:
        if engine is EngineChoice.CRASH:
            raise EngineError(
                f"no crash program for {arch} is configured", hint=how_to_get_crash(arch)
            )
        return None
    program = find_program(str(named))
    if program is None and (engine is EngineChoice.CRASH or named != "crash"):
        raise EngineError(f"the crash program {named} cannot be run", hint=how_to_get_crash(arch))
    return program


def how_to_get_crash(arch: str) -> str:
    """How to get a crash for an architecture."""
    key = "crash" if arch == platform.machine() else f"crash_{arch}"
    return (
        f"set `{key}` in cas.conf, register an analysis host (cas-admin host add NAME[:PORT]), "
        "or use --engine drgn"
    )
