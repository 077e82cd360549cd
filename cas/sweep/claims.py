"""Which host of a sweep brings a file that several have."""

from __future__ import annotations

import threading

from cas.model.host import Host
from cas.sweep.judging import Seen
from cas.sweep.walk import Found


class Claims:
    """Files that hosts of a sweep bring: of one that several have there is one that does."""

    def __init__(self) -> None:
        """Nobody brings any."""
        self._lock = threading.Lock()
        self._taken = dict[tuple[str, int, str], tuple[str, Found]]()

    def take(self, host: Host, found: Found, seen: Seen) -> str | None:
        """Why a file is left to another one that is like it; ``None``: to none."""
        key = seen.crash_id, found.state.size_bytes, seen.format
        with self._lock:
            name, first = self._taken.setdefault(key, (str(host), found))
        if name != str(host):
            return f"{name} has it, too, and brings it"
        return None if first.path == found.path else f"it is the same as {first.shown}"

    def give_up(self, host: Host) -> None:
        """Leave what a host has not brought to others."""
        with self._lock:
            kept = {key: taken for key, taken in self._taken.items() if taken[0] != str(host)}
            self._taken = kept
