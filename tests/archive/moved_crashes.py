"""Crashes of an archive that nobody has uploaded: records with files of any content."""

from __future__ import annotations

import time

import msgspec

from cas.archive.archive import Archive
from cas.archive.record import File, Info
from cas.database.store import Store
from cas.files.digest import BLOCKS, Fingerprint

from installed import Site

DUMP = File(name="vmcore", digest=None, size_bytes=0, format="ELF", is_whole=True, added_s=0)


def opened(site: Site) -> Archive:
    """The archive of a site."""
    config = site.world().config
    return Archive.of(config, Store(config.database))


def put_crash(site: Site, crash_id: str, *contents: bytes, age_s: float = 60.0) -> Info:
    """A crash that came so long ago, with files of these contents; the first is the best."""
    archive, came_s, files = opened(site), int(time.time() - age_s), list[File]()
    blank = Info(id=crash_id, time_s=came_s, added_s=came_s)
    with archive.changing(crash_id, lambda: blank) as draft:
        for number, content in enumerate(contents):
            path = archive.directory_of(crash_id) / "files" / "new"
            path.write_bytes(content)
            path.chmod(0o400)
            kept = Fingerprint(0, BLOCKS).like(path)
            path.rename(path.with_name(kept.digest.partition(":")[2]))
            facts = {"digest": kept.digest, "size_bytes": kept.size_bytes, "added_s": came_s}
            files.append(msgspec.structs.replace(DUMP, is_whole=number == 0, **facts))
        draft.info = msgspec.structs.replace(draft.info, files=tuple(files))
    return archive.read(crash_id)
