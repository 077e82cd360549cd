"""Sessions on an analysis host for tests: a real sshd, and what is left behind on its machine.

As a program it keeps a session with a program in it until it is killed: ``NAME PORT DIRECTORY``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cas.hosts.link import open_link
from cas.hosts.session.session import RemoteChild, Session, session
from cas.model.host import Host
from cas.settings.config import Config
from cas.settings.rules import HostRules, Supervision

KEEPALIVE_S = 3.0
PATIENCE_S = 40.0
"""For what happens within seconds on a machine that has nothing else to do."""
STUBBORN = "trap '' TERM HUP INT; (setsid sleep 1000 &) ; echo ready; while :; do sleep 1; done"
"""A program that wants to stay, with a grandchild that has left its session."""


@dataclass(frozen=True)
class Machine:
    """A host, the directory of ours on it, and what the configuration says."""

    host: Host
    directory: Path
    config: Config

    @contextmanager
    def session(self, *uses: object, **rules: object) -> Iterator[Session]:
        """A session; ``rules`` are those of the supervision."""
        config = replace(self.config, supervision=replace(self.config.supervision, **rules))
        with (
            open_link(self.host, config) as link,
            session(link, config, [str(use) for use in uses]) as opened,
        ):
            yield opened

    def sessions(self) -> list[Path]:
        return sorted((self.directory / "sessions").glob("*"))

    def guards(self) -> list[int]:
        """Shells of ours that look after a session."""
        return [pid for pid in pids() if f"keep\0{self.directory}\0".encode() in of(pid, "cmdline")]

    def left_behind(self) -> list[str]:
        """Directories of sessions, shells of ours, and programs of sessions."""
        marks = [f"CAS_RUN={name}".encode() for name in self.names()]
        found = [
            f"{pid} {of(pid, 'cmdline')[:60]!r}"
            for pid in pids()
            if self._is_ours(pid) or any(mark in of(pid, "environ") for mark in marks)
        ]
        return [*found, *map(str, self.sessions())]

    def _is_ours(self, pid: int) -> bool:
        """Whether it is a shell that runs our script."""
        words = of(pid, "cmdline")
        return b"\0cas\0" in words and str(self.directory).encode() in words

    def names(self) -> set[str]:
        """Of all sessions that were ever seen."""
        seen: set[str] = _seen.setdefault(self.directory, set())
        seen |= {path.name.removesuffix(".over") for path in self.sessions()}
        return seen


_seen: dict[Path, set[str]] = {}


def machine(name: str, port: int | None, directory: Path, jobs: int = 4) -> Machine:
    rules = HostRules(directory=str(directory), keepalive_s=KEEPALIVE_S, jobs=jobs)
    unused = directory / "unused"
    quick = Supervision(watchdog_s=60, stop_s=2, command_s=60, memory_bytes=4 << 30)
    return Machine(
        Host(name, port),
        directory,
        Config(unused, unused, unused, str(unused), hosts=rules, supervision=quick),
    )


def pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[1-9]*")]


def of(pid: int, name: str) -> bytes:
    """A file of a process; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def until(happens: Callable[[], object], timeout_s: float = PATIENCE_S) -> bool:
    """Whether something happens before we lose patience."""
    deadline = time.monotonic() + timeout_s
    while not happens():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def read_until(child: RemoteChild, end: bytes, timeout_s: float = PATIENCE_S) -> bytes:
    """A program's output up to some words, or to its end."""
    said = b""
    deadline = time.monotonic() + timeout_s
    while end not in said and time.monotonic() < deadline:
        data = child.read(1.0)
        if data == b"" or child.fault:
            break
        said += data or b""
    return said


def everything(child: RemoteChild) -> tuple[int | None, bytes]:
    """How a program without input ends, and all that it wrote."""
    child.close_stdin()
    said = read_until(child, b"\0no program writes this\0")
    return child.wait(PATIENCE_S), said


if __name__ == "__main__":
    where = machine(sys.argv[1], int(sys.argv[2]) or None, Path(sys.argv[3]))
    with where.session() as opened:
        child = opened.start(["/bin/sh", "-c", STUBBORN], [])
        read_until(child, b"ready\n")
        print("ready", flush=True)
        while child.read(1.0) != b"":
            pass
        child.wait(PATIENCE_S)  # finds out whether the session has ended, too
