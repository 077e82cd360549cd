"""A process that checks a share of a dump's pages: a line of JSON whenever it got on.

Hostile pages are unpacked here, beside the debuggers and at the lowest priority.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from cas.dump.flattened import MAGIC, Flattened
from cas.dump.kdump_header import read_kdump_header
from cas.dump.kdump_memory import KdumpMemory
from cas.dump.memory import Source
from cas.dump.page_check import PageCheck, Tally
from cas.dump.source import opened_source

_NICE = 19
_EVERY_S = 0.5


class _Told:
    """What was told last, and when."""

    def __init__(self, count: int, *, is_inside: bool) -> None:
        self._facts = {"count": count, "is_inside": is_inside}
        self._at = time.monotonic()

    def now_and_then(self, tally: Tally) -> None:
        if time.monotonic() - self._at >= _EVERY_S:
            self.tell(tally)

    def tell(self, tally: Tally, *, is_done: bool = False) -> None:
        self._at = time.monotonic()
        message = {**self._facts, "is_done": is_done, "tally": astuple(tally)}
        print(json.dumps(message), flush=True)


def main(words: Sequence[str]) -> None:
    """Check one share of several, all of about one size.

    :param words: the dump, the number of the share, and of how many
    """
    path, share, shares = Path(words[0]), int(words[1]), int(words[2])
    os.nice(_NICE)
    with opened_source(path) as file:
        is_inside = file.read(0, len(MAGIC)) == MAGIC
        source: Source = Flattened(file) if is_inside else file
        header = read_kdump_header(source)
        check = PageCheck(source, header, KdumpMemory(source, header))
        told = _Told(check.count, is_inside=is_inside)
        first, end = (check.count * at // shares for at in (share, share + 1))
        told.tell(check.check_all(first, end, told.now_and_then), is_done=True)


if __name__ == "__main__":
    main(sys.argv[1:])
