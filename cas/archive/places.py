"""Where sweeps have seen files of a crash: facts of the hosts, which no person has set."""

from __future__ import annotations

from msgspec.structs import replace

from cas.archive.archive import Archive
from cas.archive.crash_index import IndexBehind
from cas.archive.record import Info, Place

PLACES_KEPT = 100
"""Of a crash, the newest."""


def with_place(info: Info, place: Place) -> Info:
    """A crash with one more place; of one path of one host the newest is kept."""
    key = place.host, place.path
    others = tuple(each for each in info.swept if (each.host, each.path) != key)
    return replace(info, swept=(*others, place)[-PLACES_KEPT:])


def note_place(archive: Archive, crash_id: str, place: Place) -> None:
    """Have it recorded where a file of a crash was seen; that the index is behind is no failure.

    :raises CasError: that cannot be done
    """
    if place in archive.read(crash_id).swept:
        return
    try:
        with archive.changing(crash_id) as draft:
            draft.info = with_place(draft.info, place)
    except IndexBehind:  # whoever asks next brings it up to date
        return
