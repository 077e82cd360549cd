"""Which debuggers are here, and their versions: for administrators, and for reports of defects."""

from __future__ import annotations

import platform
import re
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from cas.engines.crash.place import version
from cas.errors import CasError, plain_reason
from cas.frozen import dataclass
from cas.settings.config import Config
from cas.supervise import Confinement, find_program, scratch


@dataclass(frozen=True, slots=True)
class InstalledDebugger:
    """A debugger as it is configured."""

    name: str
    """``drgn``, ``crash``, or ``crash_`` and the architecture whose dumps it reads."""
    arch: str | None = None
    """The architecture that it reads dumps of, as in ``uname -m``; ``None``: all."""
    version: str | None = None
    """What it calls itself, e.g. ``crash 8.0.2``; ``None``: it cannot be used."""
    path: Path | None = None
    problem: str | None = None


def configured_engines(config: Config) -> tuple[InstalledDebugger, ...]:
    """drgn, and each crash program that the configuration names; none of them is given a dump."""
    drgn = InstalledDebugger("drgn", problem="is not installed")
    with suppress(metadata.PackageNotFoundError):
        # by what its package says of itself: importing it takes longer than all else here
        package = metadata.distribution("drgn")
        files = "\n".join(map(str, package.files or ()))
        kdump = re.search(r"/libkdumpfile[^/]*\.so\.([\d.]+)", files)
        has = f", libkdumpfile.so.{kdump[1]}" if kdump else ""
        drgn = InstalledDebugger("drgn", version=f"drgn {package.version}{has}")
    return (
        drgn,
        _installed_crash(InstalledDebugger("crash", platform.machine()), config.crash),
        *(
            _installed_crash(InstalledDebugger(f"crash_{arch}", arch), str(program))
            for arch, program in config.crash_for_arch.items()
        ),
    )


def _installed_crash(engine: InstalledDebugger, named: str) -> InstalledDebugger:
    found = find_program(named)
    if found is None:
        return replace(engine, problem=f"there is no program {named}")
    engine = replace(engine, path=found)
    try:
        with scratch() as directory:
            said = version(found, Confinement(directory))
    except (CasError, OSError) as error:
        return replace(engine, problem=plain_reason(error))
    return replace(engine, version=said) if said else replace(engine, problem="is no crash program")
