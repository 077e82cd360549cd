"""A program and all that it started, as ``/proc`` shows them.

Children that left their session or lost their parents still belong to it: in a sandbox they stay
below its first process, elsewhere a variable of the environment gives them away.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from cas.frozen import dataclass

PROC = Path("/proc")
SETTLE_S = 2.0
"""A killed process is gone sooner, unless it hangs inside the kernel."""
PAUSE_S = 0.005


@dataclass(frozen=True, slots=True)
class Process:
    """One line of ``/proc/PID/stat``; source: proc(5)."""

    pid: int
    name: str
    state: str
    parent: int
    session: int
    ticks: int
    """Processor time used by it and by its children that have ended, in clock ticks."""
    exit_code: int
    """The number of the signal that has stopped it (Linux 5.17 and later), or its exit code."""

    @property
    def is_alive(self) -> bool:
        """Whether it still runs; what is left of an ended process does not."""
        return self.state not in "ZX"

    @property
    def is_stopped(self) -> bool:
        """Whether a signal has stopped it, until another one lets it go on."""
        return self.state == "T"


def family(root: int, mark: bytes | None = None) -> list[Process]:
    """A process and all that it started, parents first.

    :param mark: ``NAME=value`` in the environment of those that left
    """
    with os.scandir(PROC) as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    everyone = {pid: process for pid in pids if (process := _process_of(pid))}
    children: dict[int, list[Process]] = {}
    for process in everyone.values():
        children.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    heads = [
        process
        for process in everyone.values()
        if root in (process.pid, process.session)
        or (mark is not None and mark in _environment(process.pid))
    ]
    queue = sorted(heads, key=lambda process: process.pid != root)
    for process in queue:
        if process.pid not in found:
            found[process.pid] = process
            queue += children.get(process.pid, [])
    return list(found.values())


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal; who is gone already does not matter."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def kill_family(root: int, mark: bytes | None = None) -> None:
    """Kill a process and all that it started, and see to it that they are gone."""
    deadline = time.monotonic() + SETTLE_S
    # pids seen before: the children of a dead process are nobody's family any more
    pids: set[int] = set()
    while True:
        pids |= {process.pid for process in family(root, mark)}
        alive = [pid for pid in pids if (process := _process_of(pid)) and process.is_alive]
        # before the deadline is looked at: on a busy machine /proc alone may take that long
        send(signal.SIGKILL, alive)
        if not alive or time.monotonic() > deadline:
            return
        time.sleep(PAUSE_S)


def ticks(processes: Sequence[Process]) -> int:
    """Processor time that a family used so far."""
    return sum(process.ticks for process in processes)


def _environment(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _process_of(pid: int) -> Process | None:
    try:
        text = (PROC / str(pid) / "stat").read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
    # the name stands in parentheses and may hold blanks and parentheses itself
    head, _, rest = text.rpartition(")")
    words = rest.split()
    return Process(
        pid=pid,
        name=head.partition("(")[2],
        state=words[0],
        parent=int(words[1]),
        session=int(words[3]),
        ticks=sum(int(word) for word in words[11:15]),
        exit_code=int(words[49]) if len(words) > 49 else 0,
    )
