"""Hosts with dumps on them, and sweeps of them without a command line."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "archive"))
from made_crashes import FULL, files_of_crash
from ssh_servers import Sshd

from cas.archive.archive import Archive
from cas.model.host import Host
from cas.settings.config import Config
from cas.settings.rules import IntakeLimits, SweepRules
from cas.sweep.host_sweep import Claims, HostSweep, Swept

LIAR = Path(__file__).parent / "lying_server.py"


class Sweeper:
    """A host whose user we are, and the archive that is filled from there."""

    def __init__(self, server: Sshd, directory: Path) -> None:
        self.server = server
        self.there = directory / "var/crash"
        self.there.mkdir(parents=True)
        self._made = directory / "made"
        rules = SweepRules(directories=(str(self.there),), settle_s=0.05)
        self.config = Config(
            directory / "kernels",
            directory / "debugs",
            directory / "cores",
            str(directory / "cas.db"),
            intake=IntakeLimits(reserve_bytes=1),
            sweeps={"": rules},
        )
        self.archive = Archive.of(self.config)

    def rule(self, **rules: Any) -> None:
        """Have hosts swept by other rules."""
        self.config = replace(self.config, sweeps={"": replace(self.config.sweep_rules(), **rules)})

    def lie(self, how: str) -> None:
        """Have a server in the host's place that means harm: see its file."""
        self.rule(server=f"{sys.executable} {LIAR} {how} {self.there}")

    def sweep(
        self, *, fetches: bool = True, name: str = "db01", claims: Claims | None = None
    ) -> Swept:
        """What comes of a sweep."""
        from cas.progress import Silent

        host = Host(name, is_swept=True)
        claims = claims or Claims()
        return HostSweep(host, self.archive, self.config, Silent(), claims, fetches).run()

    def dump(self, number: int = 1, name: str = FULL, called: str = "vmcore") -> Path:
        """A file of a crash, as kdump puts it into a directory of its own.

        :param number: of the crash
        :param name: which of its files
        """
        return dump_into(self.there, number, name, called, self._made)

    def left(self, swept: Swept) -> dict[str, str]:
        """Why files were left, by their paths below the directory."""
        return {each.path.removeprefix(f"{self.there}/"): each.why for each in swept.left}


def dump_into(
    directory: Path, number: int, name: str = FULL, called: str = "vmcore", made: Path | None = None
) -> Path:
    """A file of a crash in a directory of its own below this one."""
    place = directory / f"127.0.0.1-2026-11-01-12:{number // 60:02}:{number % 60:02}"
    files = files_of_crash((made or directory.parents[2] / "made") / str(number), number)
    place.mkdir(exist_ok=True)
    return Path(shutil.copy(files[name], place / called))


def aged(path: Path, seconds: int) -> Path:
    """A file as if it had been written so long ago."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))
    return path
