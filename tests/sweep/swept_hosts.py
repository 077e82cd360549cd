"""Hosts with dumps on them: sshds on loopback, and a site on which they are registered."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "archive"))
from made_crashes import FULL, files_of_crash
from ssh_servers import Sshd, sshd

from cas.database.store import Store
from cas.model.host import Host

from installed import Site


@dataclass
class Hosts:
    """A site, and the hosts that it sweeps; each has a directory for its dumps."""

    site: Site
    stack: ExitStack
    servers: dict[str, Sshd] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, *, settings: dict[str, object] | None = None) -> Path:
        """A host that is swept, as it is in known_hosts; where its dumps lie."""
        home, place = self.site.directory, self.site.directory / name
        crashes = place / "var/crash"
        crashes.mkdir(parents=True)
        server = self.stack.enter_context(sshd(place / "ssh", home, settings))
        server.know()
        self.servers[name] = server
        with (home / ".ssh/config").open("a") as config:
            lines = "HostName 127.0.0.1", f"Port {server.port}"
            config.write(f"Host {name}\n" + "".join(f"  {line}\n" for line in lines))
        self.rules[name] = f"directories = {crashes}\nsettle = 0.2\n"
        self.configure()
        Store(self.site.settings["database"]).hosts.put_host(Host(name, is_swept=True))
        return crashes

    def configure(self, name: str = "", text: str = "") -> None:
        """Write the sections on all hosts, with more lines for one."""
        if name:
            self.rules[name] = self.rules.get(name, "") + text
        self.site.sections = "".join(f"[sweep {key}]\n{each}" for key, each in self.rules.items())


def aged(path: Path, seconds: int) -> Path:
    """A file as if it had been written so long ago."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))
    return path


def dump_into(directory: Path, number: int, name: str = FULL) -> Path:
    """The dump of a crash, as kdump puts it into a directory of its own.

    :param number: of the crash, less than 60
    :param name: which of its files
    """
    place = directory / f"127.0.0.1-2026-11-01-12:{number:02}:00"
    made = files_of_crash(directory.parents[2] / "made" / str(number), number)
    place.mkdir(exist_ok=True)
    return Path(shutil.copy(made[name], place / "vmcore"))
