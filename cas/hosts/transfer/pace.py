"""Whether the next chunk of a file is compressed: if that makes it arrive sooner, as measured.

What compression gains depends on the file, both processors and the link at once, so that it is
tried: some chunks with it, some without, and then many in the way that was faster.
"""

from __future__ import annotations

from collections import deque

from cas.hosts.transfer.packing import THREADS, Packing

TRIAL = 12
"""Chunks sent in one way before it is judged."""
SETTLE = 4
"""Of them, that are still mixed with what was under way before."""
HOLD = 256
"""Chunks for which a judgement holds."""
SLOW_S = 0.25
"""For a chunk: on such a link nothing is mixed, and a short trial is enough."""
TRIAL_S = 2.0
TINY = 0.1
"""What is left of a file that is sent compressed on any link."""
CLEARLY = 3.0
"""Faster than the link is a processor that makes no difference."""
WINDOW_BYTES = 2 << 20
"""That sshd lets us send before it has taken in anything: as fast as on any link."""
FORGET = 0.9
"""How much of the link's past speed still counts after each chunk."""


class Pace:
    """Whether the next chunk of a file is compressed."""

    def __init__(self, packing: Packing | None) -> None:
        """Nothing is known of the link yet.

        :param packing: what compression does to the file; ``None``: nothing
        """
        self._packing = packing
        self._planned: deque[bool] = deque()
        self._bytes_s: dict[bool, float] = {}
        self._is_trial = True
        self._trial = (0, 0.0)
        self._running: bool | None = None
        self._count = 0
        self._wire = (0.0, 0.0)
        self._on_the_way = 0

    def is_next_packed(self) -> bool:
        """Whether the next chunk is compressed."""
        if not self._planned:
            self._plan()
        return self._planned.popleft()

    def took(self, is_packed: bool, plain_bytes: int, seconds: float) -> None:
        """Learn how long a chunk took, all in all."""
        if is_packed is not self._running:
            self._running, self._count, self._trial = is_packed, 0, (0, 0.0)
        self._count += 1
        if self._count > SETTLE or seconds > SLOW_S:
            self._trial = (self._trial[0] + plain_bytes, self._trial[1] + seconds)
            self._bytes_s[is_packed] = self._trial[0] / max(self._trial[1], 1e-9)
        is_still_planned = self._planned and self._planned[0] is is_packed
        if self._is_trial and is_still_planned and self._trial[1] > TRIAL_S:
            self._planned.clear()

    def link_took(self, wire_bytes: int, seconds: float) -> None:
        """Learn how long the link alone took for a chunk."""
        if self._on_the_way < WINDOW_BYTES:
            self._on_the_way += wire_bytes
            return
        self._wire = (self._wire[0] * FORGET + wire_bytes, self._wire[1] * FORGET + seconds)

    def _plan(self) -> None:
        ways = self._ways()
        for way in ways:
            self._is_trial = way not in self._bytes_s or not self._wire[1]
            if self._is_trial:
                self._planned.extend([way] * TRIAL)
                self._bytes_s[way] = 0.0  # until it is measured
                return
        fastest = max(ways, key=lambda way: self._bytes_s[way])
        self._planned.extend([fastest] * HOLD)
        self._bytes_s.clear()

    def _ways(self) -> tuple[bool, ...]:
        """Compressed, or as it is; both, as long as it is not clear."""
        if self._packing is None:
            return (False,)
        wire_bytes, seconds = self._wire
        if not seconds or self._packing.ratio < TINY:
            return (True,)
        packed_bytes_s = self._packing.bytes_s * THREADS * self._packing.ratio
        return (True,) if packed_bytes_s > CLEARLY * wire_bytes / seconds else (True, False)
