"""What ``/proc`` shows of a program's processes, in the lines of a trace file."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from cas.supervise.processes import PROC, Process
from cas.text import one_line, printable
from cas.units import human_size

FILE_BYTES = 16 << 10
"""What is shown of one file below ``/proc``."""
MAX_PROCESSES = 32
MAX_MAPPED = 40
SHOWN = ("status", "stat", "wchan", "syscall", "stack", "limits", "io")


def processes_shown(processes: Sequence[Process]) -> Iterator[str]:
    """What can be seen of processes now, in sections."""
    if not any(process.is_alive for process in processes):
        yield from titled_lines("Processes", ["none is left to look at"])
        return
    shown = processes[:MAX_PROCESSES]
    table = [
        f"{process.pid:>8} parent {process.parent} state {process.state} "
        f"ticks {process.ticks} {one_line(process.name)}"
        for process in shown
    ]
    if len(processes) > MAX_PROCESSES:
        table.append(f"and {len(processes) - MAX_PROCESSES} more")
    yield from titled_lines("Processes", table)
    for directory in [PROC / str(process.pid) for process in shown if process.is_alive]:
        for name in SHOWN:
            lines = _read_bounded(
                directory / name,
                lambda file: printable(file.read(FILE_BYTES)).rstrip("\n").split("\n"),
            )
            yield from titled_lines(str(directory / name), lines)
        maps = _read_bounded(directory / "maps", _mapped_files)
        yield from titled_lines(f"{directory / 'maps'} (summary)", maps)


def titled_lines(title: str, lines: Sequence[str]) -> Iterator[str]:
    """Lines under a title."""
    yield ""
    yield f"--- {title}"
    yield from lines


def _read_bounded(path: Path, show: Callable[[IO[str]], list[str]]) -> list[str]:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            return show(file)
    except OSError as error:
        return [f"cannot be read: {error.strerror}"]


def _mapped_files(file: IO[str]) -> list[str]:
    """Bytes mapped from each file, greatest first; source of the format: proc(5)."""
    sizes: Counter[str] = Counter()
    for line in itertools.islice(file, 1 << 16):
        words = line.split(None, 5)
        start, _, end = words[0].partition("-")
        name = words[5].rstrip("\n") if len(words) > 5 else "(anonymous)"
        sizes[name] += int(end, 16) - int(start, 16)
    total = f"{human_size(sizes.total())} in {len(sizes)} files"
    greatest = sizes.most_common(MAX_MAPPED)
    return [total, *(f"{human_size(size):>12} {one_line(name)}" for name, size in greatest)]
