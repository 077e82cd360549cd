"""What the cache of extracted files holds: a line for each kernel."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cas.catalogue.cache import lease
from cas.catalogue.cache.entry import cache_entries, closed, kernel_of
from cas.frozen import dataclass
from cas.model.kernel import Kernel

_BLOCK_BYTES = 512
"""Of ``st_blocks``, whatever the file system's own are."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What the cache has of one kernel."""

    entry: Path
    size_bytes: int
    """Allocated; a file that several entries link to counts for the first."""
    last_use: float
    """Seconds since 1970."""
    kernel: Kernel | None
    """``None`` when it is not noted where the vmlinux came from, or there is none."""
    has_vmlinux: bool
    kmods: int
    """How many there are files of."""
    problem: str | None = None
    """Why this user cannot look into it; then nothing else is known of it."""

    @property
    def name(self) -> str:
        """The release where it is known, with the build-id."""
        return f"{self.kernel.release}, {self.entry.name}" if self.kernel else self.entry.name


def holdings(cache: Path) -> list[Holding]:
    """All entries, the one that was not used for the longest time first.

    :raises NotPermitted: this user may not look into the cache
    """
    seen: set[tuple[int, int]] = set()
    found = []
    for entry in cache_entries(cache):
        last_use = lease.last_use(entry)
        if (why := closed(entry)) is not None:
            found.append(
                Holding(entry, 0, last_use, None, has_vmlinux=False, kmods=0, problem=str(why))
            )
            continue
        size_bytes, kmods = _taken(str(entry), seen)
        found.append(
            Holding(
                entry=entry,
                size_bytes=size_bytes,
                last_use=last_use,
                kernel=kernel_of(entry),
                has_vmlinux=(entry / "vmlinux").is_file(),
                kmods=kmods,
            )
        )
    return sorted(found, key=lambda holding: (holding.last_use, holding.entry.name))


def visible_files(directory: Path) -> Iterator[Path]:
    """Every file below a directory that is not hidden; what is gone meanwhile is left out."""
    for parent, directories, names in os.walk(directory):
        directories.sort()
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _taken(directory: str, seen: set[tuple[int, int]], depth: int = 0) -> tuple[int, int]:
    """Allocated bytes below a directory, and how many files stand deeper in it.

    A cache has 100,000 files, for which paths as objects would take a second.
    """
    size_bytes = kmods = 0
    with suppress(OSError), os.scandir(directory) as found:  # removed meanwhile
        for file in found:
            state = file.stat(follow_symlinks=False)
            is_directory = stat.S_ISDIR(state.st_mode)
            inode = (state.st_dev, state.st_ino)
            if state.st_nlink == 1 or is_directory or inode not in seen:
                size_bytes += state.st_blocks * _BLOCK_BYTES
            if state.st_nlink > 1 and not is_directory:
                seen.add(inode)
            if is_directory:
                below = _taken(file.path, seen, depth + 1)
                size_bytes, kmods = size_bytes + below[0], kmods + below[1]
            elif depth and not file.name.startswith("."):
                kmods += 1
    return size_bytes, kmods
