"""The check of all pages of a dump, while others work on it."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from cas.choices import Cause, Checked
from cas.dump.page_check import Place, Tally
from cas.errors import CasError, EngineError
from cas.model.dump import Dump
from cas.settings.rules import Supervision
from cas.supervise import Child, Confinement, describe_status

PATIENCE_S = 300.0
"""Seconds for the check, once nothing else is left to be done."""
MEMORY_BYTES = 2 << 30
"""Address space of each process: the records of a large flattened dump are many."""
_ALONE = 1 << 16
"""Pages up to which one process does it, in a second; two do the rest."""
_SILENCE_S = 600.0
_POLL_S = 0.2


@dataclass
class _Share:
    """What one process has found so far."""

    count: int = 0
    """Pages of the whole dump."""
    is_inside: bool = False
    """Offsets are those of a dump in a flattened stream, not of the file."""
    is_done: bool = False
    tally: Tally = field(default_factory=Tally)

    def hear(self, line: bytes) -> None:
        facts = json.loads(line)
        checked, *places = facts["tally"]
        self.tally = Tally(checked, *(Place(*place) for place in places))
        self.count, self.is_inside = facts["count"], facts["is_inside"]
        self.is_done = facts["is_done"]


class Checking:
    """All pages of a dump, checked by processes of low priority.

    A context manager: what is not finished at its end is given up.
    """

    def __init__(self, dump: Dump, settled: Callable[[], Path], directory: Path) -> None:
        """Prepare.

        :param dump: as `identify` described it
        :param settled: gives the dump's file, once nobody writes to it any more
        :param directory: of the job
        """
        self._settled = settled
        self._confinement = Confinement(
            directory,
            Supervision(watchdog_s=_SILENCE_S, memory_bytes=MEMORY_BYTES),
            {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._stop = threading.Event()
        self._shares = [_Share() for _ in range(1 if (dump.pages or 0) <= _ALONE else 2)]
        self._pool = ThreadPoolExecutor(len(self._shares), "pages")
        self._ends: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._ends = [self._pool.submit(self._check_share, at) for at in range(len(self._shares))]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()

    @property
    def has_begun(self) -> bool:
        """Whether it was entered."""
        return bool(self._ends)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return all(end.done() for end in self._ends)

    @property
    def count(self) -> int:
        """Pages of the dump; 0 while that is not known."""
        return max(share.count for share in self._shares)

    @property
    def checked(self) -> int:
        """Pages that were checked so far."""
        return sum(share.tally.checked for share in self._shares)

    def until_over(self, patience_s: float = PATIENCE_S) -> Iterator[None]:
        """Wait for the end of the check, or of our patience; a step every now and then."""
        deadline = time.monotonic() + patience_s
        while not self.is_over and time.monotonic() < deadline:
            wait(self._ends, timeout=_POLL_S)
            yield

    def problems(self) -> Iterator[str]:
        """Why pages were left out, though there was time."""
        for end in self._ends:
            if end.done() and isinstance(error := end.exception(), CasError):
                yield str(error)

    def judged(self, dump: Dump) -> Dump:
        """The dump with what was found of its pages, in place of what samples said."""
        tally = Tally()
        for share in self._shares:
            tally.add_tally(share.tally)
        is_whole = all(share.is_done for share in self._shares)
        found = tuple(tally.missing(self.count, is_sample=not is_whole))
        if any(share.is_inside for share in self._shares):
            found = tuple(replace(lack, offset=None) for lack in found)
        others = tuple(lack for lack in dump.missing if lack.cause is not Cause.PAGES)
        if not is_whole and not found:
            others, found = dump.missing, ()
        return replace(
            dump,
            missing=(*others, *found),
            checked=Checked.PAGES if is_whole else Checked.SAMPLED,
            pages_checked=max(tally.checked, dump.pages_checked or 0),
        )

    def _check_share(self, number: int) -> None:
        """:raises EngineError: the process ended before it was done"""
        share, rest = self._shares[number], b""
        words = [str(self._settled()), str(number), str(len(self._shares))]
        argv = [sys.executable, "-P", "-m", "cas.dump.page_check_child", *words]
        with Child(argv, self._confinement) as child:
            child.close_stdin()
            while not self._stop.is_set() and (data := child.read(_POLL_S)) != b"":
                *lines, rest = (rest + (data or b"")).split(b"\n")
                for line in lines:
                    share.hear(line)
                if child.fault:
                    raise EngineError(f"the check of the pages was ended: {child.fault}")
            if not share.is_done and not self._stop.is_set():
                status = child.wait(_POLL_S)
                ended = describe_status(child.end() if status is None else status)
                last = child.stderr.strip().rpartition("\n")[2]
                raise EngineError(
                    f"the check of the pages ended with {ended}{last and f': {last}'}"
                )
