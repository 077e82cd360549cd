"""Crashes that the archive has without a job, as old as a test wants them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from cas.archive.archive import Archive
from cas.archive.record import File, Info
from cas.database.store import Store
from cas.files.digest import Fingerprint

from installed import Site

DAY_S = 24 * 60 * 60
WHOLE = File(name="vmcore", digest=None, size_bytes=0, format="ELF", is_whole=True, added_s=0)
CUT = msgspec.structs.replace(WHOLE, is_whole=False, lacks="the end")
FILTERED = msgspec.structs.replace(WHOLE, dump_level=31)


def opened(site: Site) -> Archive:
    config = site.world().config
    return Archive.of(config, Store(config.database))


def place(site: Site, crash_id: str) -> Path:
    return site.jobs / ".archive" / "objects" / crash_id[:2] / crash_id


def files(site: Site, crash_id: str) -> list[Path]:
    return sorted((place(site, crash_id) / "files").iterdir())


def put(
    site: Site,
    crash_id: str,
    contents: Mapping[bytes, File],
    days: float,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """A crash that came without a job, as long ago; each file may say how it differs."""
    archive, came = opened(site), int(time.time() - days * DAY_S)
    blank = Info(id=crash_id, time_s=came, added_s=came, facts={**(facts or {})})
    with archive.changing(crash_id, lambda: blank) as draft:
        kept = []
        for content, file in contents.items():
            path = archive.directory_of(crash_id) / "files" / "new"
            path.write_bytes(content)
            digest = Fingerprint.of(path).digest
            path.rename(path.with_name(digest.partition(":")[2]))
            kept.append(
                msgspec.structs.replace(
                    file, digest=digest, size_bytes=len(content), added_s=came + file.added_s
                )
            )
        draft.info = msgspec.structs.replace(draft.info, files=tuple(kept))


def keep_busy(site: Site) -> None:
    """Have something done there every twenty days of the last four hundred."""
    site.settings["database"] = str(site.directory / "cas.db")
    opened(site).store.builds.last()
    with sqlite3.connect(site.settings["database"]) as database:
        database.executemany(
            "INSERT INTO builds (kind, started, counts) VALUES ('build', datetime('now', ?), '{}')",
            [(f"-{days} days",) for days in range(1, 400, 20)],
        )
    database.close()
