"""``cas-admin -b --watch``: build again and again, and speak only of what is new."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from cas.commands import World
from cas.errors import CasError, ConfigError, DatabaseDamaged, TryAgain
from cas.progress import Advance, Progress
from cas.units import human_span
from cas_admin.building import Built, build_once

HUNG_LIMIT = 64
"""Calls into file systems that have never come back; a new process begins without them."""


class News:
    """Progress of runs of which most find nothing: steps are dropped, warnings said once.

    A warning is said again after a run that was without it.
    """

    def __init__(self, shown: Progress, *, has_bars: bool) -> None:
        """Tell somebody else what is new.

        :param has_bars: whether a person watches, who may see bars
        """
        self._shown = shown
        self._has_bars = has_bars
        self._before: frozenset[str] = frozenset()
        self._now: set[str] = set()

    def next_run(self) -> None:
        """From here on what is said belongs to another run."""
        self._before, self._now = frozenset(self._now), set()

    def say(self, text: str) -> None:
        """Drop it."""

    def warn(self, text: str) -> None:
        """Tell it, if the run before did not."""
        if text not in self._before | self._now:
            self._shown.warn(text)
        self._now.add(text)

    @contextmanager
    def bar(self, text: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        """Show a step to a person, unless there is nothing to do."""
        if self._has_bars and total:
            with self._shown.bar(text, total, unit) as advance:
                yield advance
        else:
            yield lambda _: None

    def note(
        self, text: str, level: int = logging.INFO, *, error: BaseException | None = None
    ) -> None:
        """Only a job's log needs it."""

    def worded(self, text: str) -> str:
        """As it is shown."""
        return self._shown.worded(text)


def watch(interval_s: float, world: World, *, tells_all: bool) -> None:
    """Build, wait, and build again, until a signal ends it.

    Directories are read again each time: the kernel tells of no file that another machine has put
    on a network file system. A run that fails is said once and tried again.

    :param interval_s: from the end of a run to the next
    :param tells_all: say everything that a single build says, each time
    :raises ConfigError: the first run shows that it cannot work
    :raises TryAgain: too many calls into file systems hang
    """
    news = News(world.progress, has_bars=world.is_interactive)
    told = world if tells_all else replace(world, progress=news)
    last: Built | None = None
    with suppress(KeyboardInterrupt):  # SIGTERM as well: the usual end of a service
        for number in itertools.count():
            news.next_run()
            if number == 0:  # it goes on with unfinished jobs, which may take long
                world.progress.say(f"Watching {world.config.kernels}: the first build begins")
            built = _try_build(replace(told, now=datetime.now(UTC)), may_fail=number > 0)
            for line in _news_lines(built, None if tells_all else last):
                world.progress.say(line)
            if number == 0:
                where = f"Watching {world.config.kernels}"
                world.progress.say(f"{where}: the next build is in {human_span(interval_s)}")
            last = built
            hung = threading.active_count() - 1
            if hung > HUNG_LIMIT:
                raise TryAgain(
                    f"{hung} calls into file systems have never come back",
                    hint="see to the mount that is hung, then run the same command again; systemd "
                    "does so by itself",
                )
            time.sleep(interval_s)


def _try_build(world: World, *, may_fail: bool) -> Built | None:
    """One run; ``None`` when it failed in a way that the next may not."""
    try:
        return build_once(world)
    except CasError as error:
        if isinstance(error, ConfigError) and not may_fail:
            raise
        advice = f"{error.hint}; " if isinstance(error, DatabaseDamaged) else ""
        world.progress.warn(f"{error}; {advice}it is tried again")
        return None


def _news_lines(built: Built | None, last: Built | None) -> Iterator[str]:
    """What is worth to be said of a run.

    :param last: the run before; ``None``: there is none, it has failed, or all shall be said
    """
    if built is None:
        return
    found = built.summary
    # a file that nobody may read is tried each time, and counts as read each time
    is_the_same = last is not None and bool(found.bad) and found == last.summary
    has_news = not is_the_same and bool(found.added or found.removed or found.renamed)
    if last is None or has_news:
        yield built.headline
    for line in built.chores:
        if last is None or line not in last.chores:
            yield line
