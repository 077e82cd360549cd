"""A debugger session on an analysis host: its slot, its directory, its programs and its end.

Whatever happens to us, to the link or to the host's sshd, the guard there ends what we started
when it has not heard of us for the keepalive interval.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from cas.errors import AGAIN
from cas.frozen import dataclass
from cas.hosts.link import BEATS, HostUnfit, Link
from cas.hosts.session.child import RemoteChild
from cas.hosts.session.guard import Guard, GuardLines, guard_complaint
from cas.hosts.session.lease import Lease
from cas.hosts.session.program import SessionContext
from cas.hosts.session.terminal import RemoteTerminal
from cas.settings.config import Config
from cas.terminal import Window
from cas.text import short_line

__all__ = ["HostBusy", "RemoteChild", "RemoteTerminal", "Session", "session"]

SWEEPING_S = 20.0
"""Seconds for the guard to end what dead sessions left behind, before its first answer."""
WATCHED = 5
"""Beats in a watchdog interval, at least."""


class HostBusy(HostUnfit):
    """All slots of a host are taken."""

    hint = f"{AGAIN} later, or raise `hostJobs` in cas.conf"


@dataclass(frozen=True, slots=True)
class Session:
    """A slot and an empty directory on a host, where programs can be started."""

    context: SessionContext
    directory: str
    """Working directory and HOME of programs that run without a sandbox."""
    sandbox: str
    """How to call it in a report: ``bwrap``, or ``none`` with the reason."""

    def start(self, argv: Sequence[str], files: Sequence[str]) -> RemoteChild:
        """Start a program.

        :param argv: its words; the first is its path on the host
        :param files: on the host, that it reads
        :raises HostUnfit: the host cannot start it
        """
        return RemoteChild(self.context, argv, files)

    def terminal(self, argv: Sequence[str], files: Sequence[str], window: Window) -> RemoteTerminal:
        """Start a program on a terminal of its own.

        :raises HostUnfit: the host cannot start it
        """
        return RemoteTerminal(self.context, argv, files, window)

    def check(self) -> None:
        """Whether the session is still there.

        :raises HostLost: it is not
        """
        self.context.lease.check()


@contextmanager
def session(link: Link, config: Config, uses: Sequence[str]) -> Iterator[Session]:
    """A session on a host; at its end nothing is left of it there.

    :param uses: files on the host; copies of ours among them are not thrown away meanwhile
    :raises HostBusy: as many sessions as may be are there already
    :raises HostUnfit: it cannot be had
    """
    rules, watchdog_s = config.hosts, config.supervision.watchdog_s
    guard = Guard(link, rules.directory, secrets.token_hex(8))
    words = (str(rules.jobs), str(math.ceil(rules.keepalive_s)), config.supervision.sandbox, *uses)
    with closing(guard.open_channel("keep", *words)) as channel:
        lines = GuardLines(link, channel)
        line = lines.next_line(link.keepalive_s + SWEEPING_S)
        if line == "busy":
            raise HostBusy(f"{link.name}: all its slots are taken")
        if line.startswith("unfit "):
            raise guard_complaint(guard, line)
        greeting = line.split("\t")
        if len(greeting) != 4 or greeting[0] != "ready":
            raise lines.makes_no_sense(line)
        _, bwrap_kind, why, directory = greeting
        is_home = directory.startswith("/") and directory.endswith(f"/sessions/{guard.name}/home")
        if bwrap_kind not in ("new", "old", "none") or not is_home:
            raise lines.makes_no_sense(line)
        with Lease(
            guard, channel, lines, min(rules.keepalive_s / BEATS, watchdog_s / WATCHED)
        ) as lease:
            context = SessionContext(guard, lease, config.supervision, bwrap_kind)
            sandbox = "bwrap" if bwrap_kind != "none" else f"none ({short_line(why, 200)})"
            yield Session(context, directory, sandbox)
