"""All hosts that are to be swept, side by side; none stops or delays the others."""

from __future__ import annotations

import fcntl
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from cas.archive.archive import Archive
from cas.errors import CasError
from cas.files.whole import writing_below
from cas.hosts.inventory import AT_A_TIME
from cas.model.host import Host
from cas.progress import Silent
from cas.settings.config import Config
from cas.sweep.host_sweep import HostSweep, Swept
from cas.sweep.ledger import NAME
from cas.text import short_line
from cas.units import human_span

LOCK = ".lock"
GRACE_S = 60.0
"""Behind a host's limit of time, for the storing of what has come."""
_WAIT_S = 0.5
_SHOWN = 200


class AlreadySwept(CasError):
    """Another sweep is at work."""


@contextmanager
def only_sweep(archive: Archive) -> Iterator[None]:
    """Have no other sweep at work; the kernel lets go of it if we die.

    :raises AlreadySwept: there is one
    """
    place = archive.path / NAME
    with writing_below(archive.path):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(place / LOCK, flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadySwept("another sweep is at work") from None
        yield
    finally:
        os.close(descriptor)


class Lines(Silent):
    """What is told of a host, for the one thread that prints."""

    def __init__(self, put: Callable[[str], None]) -> None:
        """Nothing is told yet."""
        self._put = put

    def say(self, text: str) -> None:
        """See :meth:`cas.progress.Progress.say`."""
        self._put(text)


def sweep_hosts(
    hosts: Sequence[Host], archive: Archive, config: Config, *, fetches: bool
) -> Iterator[str | Swept]:
    """What is told on the way, and what came of each host, as they end.

    A host that does not end when its time is over is left alone, with what was begun there.
    """
    todo: queue.SimpleQueue[HostSweep] = queue.SimpleQueue()
    told: queue.SimpleQueue[str | tuple[HostSweep, Swept]] = queue.SimpleQueue()
    begun = dict[int, tuple[HostSweep, float]]()
    for host in hosts:
        todo.put(HostSweep(host, archive, config, Lines(told.put), fetches))

    def work() -> None:
        with suppress(queue.Empty):
            while True:
                sweep = todo.get_nowait()
                begun[id(sweep)] = sweep, time.monotonic()
                try:
                    swept = sweep.run()
                except Exception as error:  # whatever one host does, the others are swept
                    swept = sweep.result
                    said = f"{type(error).__name__}: {short_line(str(error), _SHOWN)}"
                    swept.problem = f"internal error: {said}"
                told.put((sweep, swept))

    def start() -> None:
        # daemons, so that an interruption need not wait for any host
        threading.Thread(target=work, name="sweep", daemon=True).start()

    for _ in hosts[:AT_A_TIME]:
        start()
    waiting = len(hosts)
    while waiting:
        # a signal just before the wait begins is heard when it ends: so it is no long one
        with suppress(queue.Empty):
            news = told.get(timeout=_WAIT_S)
            if isinstance(news, str):
                yield news
            elif begun.pop(id(news[0]), None):  # it was not given up
                waiting -= 1
                yield news[1]
        for key, (sweep, since) in [*begun.items()]:
            limit_s = config.sweep_rules(sweep.host.name).time_s
            if time.monotonic() - since > limit_s + GRACE_S:
                del begun[key]
                waiting -= 1
                start()  # in the place of the thread that hangs
                limit = human_span(limit_s)
                sweep.result.problem = f"it did not end within {limit}, and is left alone"
                yield sweep.result
