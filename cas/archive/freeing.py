"""What nobody needs any more goes from the archive; what was found out of it stays."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from cas.archive.archive import Archive, NotArchived
from cas.archive.record import Info
from cas.files.whole import sync_directory


def drop_job(archive: Archive, crash_id: str, name: str, now_s: int) -> int:
    """Note that a job is purged; its crash loses its files where nothing else needs them.

    :param name: ``TICKET/STAMP``
    :return: bytes of the disk that this has freed
    :raises CasError: the archive cannot be changed
    """
    doomed, freed = list[Path](), 0
    try:
        with suppress(NotArchived), archive.changing(crash_id) as draft:
            info = replace(draft.info, jobs=tuple(each for each in draft.info.jobs if each != name))
            if not is_needed(info):
                info, doomed = without_files(archive, info, now_s)
            draft.info = info
    finally:  # also where only the index is behind
        freed = sum(map(_unlinked, doomed))
    return freed


def is_needed(info: Info) -> bool:
    """Whether anything keeps a crash's files from being purged."""
    return bool(info.jobs or info.set_tickets)


def without_files(archive: Archive, info: Info, now_s: int) -> tuple[Info, list[Path]]:
    """A crash whose files are noted as purged, and those of the archive itself, to be removed."""
    doomed, files = list[Path](), []
    for file in info.files:
        if file.purged_s is None and file.at is None:
            path = archive.path_of(info, file)
            assert path  # noqa: S101  it is in the archive
            doomed.append(path)
        files.append(file if file.purged_s else replace(file, purged_s=now_s, looks=None))
    return replace(info, files=tuple(files)), doomed


def _unlinked(path: Path) -> int:
    try:
        state = path.stat()
        path.unlink()
    except FileNotFoundError:
        return 0
    sync_directory(path.parent)
    return state.st_blocks * 512 if state.st_nlink == 1 else 0
