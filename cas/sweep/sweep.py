"""All hosts that are to be swept, side by side; none stops or delays the others."""

from __future__ import annotations

import fcntl
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from cas.archive.archive import Archive
from cas.errors import CasError
from cas.files.whole import writing_below
from cas.hosts.inventory import AT_A_TIME
from cas.model.host import Host
from cas.progress import Advance, Progress, Silent
from cas.settings.config import Config
from cas.sweep.claims import Claims
from cas.sweep.host_sweep import HostSweep
from cas.sweep.ledger import NAME
from cas.sweep.swept import Swept
from cas.text import short_line
from cas.units import human_span

LOCK = ".lock"
GRACE_S = 60.0
"""Behind a host's limit of time, for the storing of what has come."""
_WAIT_S = 0.5
_SHOWN = 200

News = Callable[[Progress, ExitStack], None]
"""What one of the threads tells, for the one that prints."""


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


class Relayed(Silent):
    """The progress of one host: what is told of it is drawn by the thread that prints."""

    def __init__(self, put: Callable[[News], None]) -> None:
        """Nothing is told yet."""
        self._put = put

    def say(self, text: str) -> None:
        """See :meth:`cas.progress.Progress.say`."""
        self._put(lambda progress, _: progress.say(text))

    @contextmanager
    def bar(self, text: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        """See :meth:`cas.progress.Progress.bar`."""
        drawn = list[Advance]()
        own = ExitStack()

        def begin(progress: Progress, stack: ExitStack) -> None:
            stack.push(own)  # where nobody ends it
            drawn.append(own.enter_context(progress.bar(text, total, unit)))

        self._put(begin)
        try:
            yield lambda size: self._put(lambda _, __: drawn[0](size))
        finally:
            self._put(lambda _, __: own.close())


def sweep_hosts(
    hosts: Sequence[Host], archive: Archive, config: Config, progress: Progress, *, fetches: bool
) -> Iterator[Swept]:
    """What came of each host, as they end.

    A host that does not end when its time is over is left alone, with what was begun there.
    """
    todo: queue.SimpleQueue[HostSweep] = queue.SimpleQueue()
    told: queue.SimpleQueue[News | HostSweep] = queue.SimpleQueue()
    begun = dict[int, tuple[HostSweep, float]]()
    claims = Claims()
    for host in hosts:
        todo.put(HostSweep(host, archive, config, Relayed(told.put), claims, fetches))

    def work() -> None:
        with suppress(queue.Empty):
            while True:
                sweep = todo.get_nowait()
                begun[id(sweep)] = sweep, time.monotonic()
                try:
                    sweep.run()
                except Exception as error:  # whatever one host does, the others are swept
                    said = f"{type(error).__name__}: {short_line(str(error), _SHOWN)}"
                    sweep.result.problem = f"internal error: {said}"
                told.put(sweep)

    def start() -> None:
        # daemons, so that an interruption need not wait for any host
        threading.Thread(target=work, name="sweep", daemon=True).start()

    for _ in hosts[:AT_A_TIME]:
        start()
    waiting = len(hosts)
    with ExitStack() as stack:
        while waiting:
            # a signal just before the wait begins is heard when it ends: so it is no long one
            with suppress(queue.Empty):
                news = told.get(timeout=_WAIT_S)
                if not isinstance(news, HostSweep):
                    news(progress, stack)
                elif begun.pop(id(news), None):  # it was not given up
                    waiting -= 1
                    yield news.result
            for key, (sweep, since) in [*begun.items()]:
                limit_s = config.sweep_rules(sweep.host).time_s
                if time.monotonic() - since > limit_s + GRACE_S:
                    del begun[key]
                    waiting -= 1
                    start()  # in the place of the thread that hangs
                    limit = human_span(limit_s)
                    sweep.result.problem = f"it did not end within {limit}, and is left alone"
                    yield sweep.result
