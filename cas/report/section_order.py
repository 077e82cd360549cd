"""In which order the sections of a report are read: by use, not by name."""

from __future__ import annotations

from collections.abc import Iterable

from cas.model.snippet import Section

BY_USE = (
    *("traceback", "source", "stack"),  # where it died
    *("log", "dmesg"),  # what the kernel said of it
    *("blocked", "runqueues", "ps", "everytask"),  # who else was there, and waited
    *("memory", "slabs", "swap"),
    *("disks", "mounts", "files"),
    "network",
    *("timers", "irqs"),
    "modules",
    *("sys", "machine", "devices", "pci"),
)
"""The snippets that are shipped; a site's own follow, by name."""
_RANKS = {name: rank for rank, name in enumerate(BY_USE)}


def by_use(sections: Iterable[Section]) -> list[Section]:
    """Sections in the order in which they are of use."""
    return sorted(
        sections, key=lambda section: (_RANKS.get(section.name, len(BY_USE)), section.name)
    )
