"""Which of the extracted kernels may have written a log that does not say which kernel it is of."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Set
from contextlib import suppress
from pathlib import Path

from cas import kallsyms
from cas.catalogue.cache import lease
from cas.catalogue.cache.entry import cache_entries, kernel_of
from cas.errors import NotADump
from cas.frozen import dataclass

MOST = 64
"""Kernels that are compared, those that were used last first."""
PATIENCE_S = 10.0
"""After which no further one is."""
FEWEST = 3
"""Functions that must be as large as the log says."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A kernel in which no function has another size."""

    name: str
    """Its release, where that is known, and its build-id."""
    vmlinux: Path
    functions: int
    """How many have the size of the log."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing."""

    fits: tuple[Fit, ...]
    """The best first."""
    compared: int
    left: int
    """Kernels for which there was no time."""


def compare(cache: Path, wanted: Mapping[str, Set[int]]) -> Comparison:
    """Compare the kernels in the cache with a log.

    :param wanted: sizes of the kernel's own functions, by name
    :raises NotPermitted: this user may not look into the cache
    """
    files = [entry / "vmlinux" for entry in cache_entries(cache)]
    there = sorted(
        (path for path in files if os.access(path, os.R_OK)),
        key=lambda path: lease.last_use(path.parent),
        reverse=True,
    )
    fits, compared, end = list[Fit](), 0, time.monotonic() + PATIENCE_S
    names = frozenset(map(os.fsencode, wanted))
    for path in there[:MOST]:
        if time.monotonic() > end:
            break
        compared += 1
        with suppress(NotADump, OSError):
            found = _sizes(path, names)
            is_other = any(not sizes & wanted[name] for name, sizes in found.items())
            if len(found) >= min(FEWEST, len(wanted)) and not is_other:
                kernel = kernel_of(path.parent)
                release = f"{kernel.release}, " if kernel else ""
                fits.append(Fit(f"{release}build-id {path.parent.name}", path, len(found)))
    fits.sort(key=lambda fit: -fit.functions)
    return Comparison(tuple(fits), compared, len(there) - compared)


def _sizes(vmlinux: Path, names: frozenset[bytes]) -> dict[str, frozenset[int]]:
    with vmlinux.open("rb") as file:
        return kallsyms.sizes(lambda offset, size: os.pread(file.fileno(), size, offset), names)
