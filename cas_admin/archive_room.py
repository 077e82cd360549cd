"""How full the file system of the archive is, how full it may be, and how long its room lasts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from cas.archive.archive import Archive
from cas.archive.crash_directories import BLOCK_BYTES
from cas.archive.freeing import is_elsewhere
from cas.errors import CasError, ConfigError
from cas.files.whole import nearest
from cas.frozen import dataclass
from cas.settings.rules import RetentionRules
from cas.units import human_size

WINDOWS_DAYS = (30, 7)
"""By what was added in so many days it is told how long the room lasts."""
_DAY_S = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Level:
    """How full the file system of the archive was when a purge began, and may be."""

    place: Path
    marks: RetentionRules
    is_pressed: bool
    """The high water mark is passed."""

    @classmethod
    def of(cls, place: Path, marks: RetentionRules) -> Self:
        """Look at it.

        :raises ConfigError: there is no high water mark
        """
        if marks.high is None:
            raise ConfigError(
                "there is no `archiveHighWater` in cas.conf, so that nothing goes for lack of room",
                hint="for example: archiveHighWater = 90%, archiveLowWater = 80%",
            )
        place = nearest(place)
        free, total = space_of(place)
        return cls(place, marks, free < marks.high.free_of(total))

    def lacks_bytes(self, freed_bytes: int = 0) -> int:
        """How many bytes are missing to the low water mark, once so many more are freed."""
        free, total = space_of(self.place)
        low = self.marks.low or self.marks.high
        return max(0, low.free_of(total) - free - freed_bytes) if low else 0

    def __str__(self) -> str:
        """The same for people."""
        free, total = space_of(self.place)
        taken = 100 * (total - free) // total if total else 0
        return (
            f"{human_size(free)} free for {self.place}, {taken}% taken: "
            f"archiveHighWater = {self.marks.high} {self._passed(free, total)}"
        )

    def _passed(self, free: int, total: int) -> str:
        """What of the high water mark: it was passed when the purge began, and may not be now."""
        if not self.is_pressed:
            return "is not passed: nothing has to go"
        high = self.marks.high
        return "is passed" if high and free < high.free_of(total) else "was passed"


def space_of(place: Path) -> tuple[int, int]:
    """Bytes of a file system that are free, and that there are, for users that are not root."""
    state = os.statvfs(place)
    free = state.f_bavail * state.f_frsize
    return free, (state.f_blocks - state.f_bfree) * state.f_frsize + free


@dataclass(frozen=True, slots=True)
class Growth:
    """What came into the archive lately."""

    days: float | None
    """Since the first crash of it came; ``None``: it has none."""
    added_bytes: Mapping[int, int]
    """In how many days how much came, whether it is still there or not; only for times that the
    archive has seen whole."""

    @classmethod
    def of(cls, archive: Archive, now_s: int) -> Self:
        """Ask the index, and look at the files that came lately."""
        first_s = archive.store.crashes.first_added()
        days = None if first_s is None else max(0, now_s - first_s) / _DAY_S
        windows = [each for each in WINDOWS_DAYS if days is not None and days >= each]
        came = _came_since(archive, now_s - max(windows) * _DAY_S) if windows else []
        added = {
            each: sum(size for when, size in came if now_s - each * _DAY_S < when <= now_s)
            for each in windows
        }
        return cls(days, added)

    def lasts_days(self, room_bytes: int) -> dict[int, float]:
        """How long room lasts at the rate of each time, in days; of one without any nothing."""
        return {
            days: room_bytes / (added / days) for days, added in self.added_bytes.items() if added
        }

    def told(self, room_bytes: int) -> str:
        """How long room lasts, for people."""
        if not self.added_bytes:
            since = "nothing is archived yet"
            if self.days is not None:
                since = f"the first crash came {self.days:.0f} days ago"
            return f"how long that lasts is not known: {since}"
        lasts, each = self.lasts_days(room_bytes), []
        for days, added in self.added_bytes.items():
            if days not in lasts:
                each.append(f"nothing came in the last {days} days")
                continue
            rate = f"{human_size(added // days)} a day"
            at = f"at {'that' if each else 'the rate'} of the last {days}"
            each.append(f"{lasts[days]:,.0f} days {at}{'' if each else ' days'} ({rate})")
        return f"that lasts {', '.join(each)}" if lasts else each[0]


def _came_since(archive: Archive, since_s: int) -> list[tuple[int, int]]:
    """When files came since a time, in seconds since 1970, and what each takes of the disk."""
    found = []
    for crash_id in archive.store.crashes.with_files_since(since_s):
        with suppress(CasError):
            info = archive.read(crash_id)
            for file in info.files:
                path = archive.path_of(info, file)
                if file.added_s <= since_s or is_elsewhere(file) or path is None:
                    continue
                size_bytes = file.size_bytes
                with suppress(OSError):  # it is gone: as large as it was recorded
                    size_bytes = path.lstat().st_blocks * BLOCK_BYTES
                found.append((file.added_s, size_bytes))
    return found
