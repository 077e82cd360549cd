"""What must hold in the archive, and between it, the jobs and the database."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from cas.archive.archive import Archive, ForeignArchive
from cas.archive.crash_directories import INFO, NotArchived
from cas.archive.freeing import is_elsewhere, leftovers
from cas.archive.move_notes import left_moves
from cas.archive.record import File, Info
from cas.archive.shown import shown_info
from cas.errors import CasError, ConfigError, DatabaseDamaged, NotPermitted, Refused
from cas.files.digest import Fingerprint
from cas.jobs.layout import DUMP
from cas.model.archived import Selection
from cas.settings import users
from cas.text import json_text
from cas_admin.indexing import gone_jobs
from cas_admin.invariants import INDEX, PURGE, Flaw, Scope

_AT_ONCE = 500
"""Crashes whose rows are read in one go."""
GO_ON_MOVING = "the next cas move, or cas-admin index, finishes it or takes it back"
PUT_BACK_THERE = "put the object back from a backup, or have the dump analysed again"
PUT_BACK = "put it back from a backup, or have the dump analysed again"


def of_archive(scope: Scope) -> Iterator[Flaw]:
    """Every crash: its record, its files, its jobs, and what the database says of it.

    :raises TryAgain: the database cannot be used
    """
    try:
        archive = Archive.of(scope.config, scope.store)
        ids = archive.ids()
        while some := list(islice(ids, _AT_ONCE)):
            rows = _rows(archive, some)
            for crash_id in some:
                yield from _flaws_of_crash(archive, crash_id, rows, scope)
        for left in left_moves(archive.path):
            what = f"its move to {left.to}, by {left.by}, was stopped"
            yield Flaw(
                str(archive.directory_of(left.crash_id)), what, GO_ON_MOVING, is_broken=False
            )
        for crash_id in _row_ids(archive):
            if not archive.has_record(crash_id):
                place = str(archive.directory_of(crash_id))
                yield Flaw(place, "is in the database, but there is no such crash", INDEX)
    except ForeignArchive as error:
        yield Flaw("the archive", str(error), error.hint, is_broken=False)
    except Refused as error:
        yield Flaw(str(scope.config.store or scope.config.work_directory), str(error), error.hint)
    except NotPermitted as error:
        yield Flaw("the archive", str(error), users.hint(error, scope.config))


def _rows(archive: Archive, ids: list[str]) -> Mapping[str, str] | None:
    """What the database knows of crashes, as ``cas info`` prints it; ``None``: it is of no use,
    which is said with what else is wrong with it."""
    with suppress(ConfigError, DatabaseDamaged):
        found = archive.store.crashes.infos(Selection(ids=tuple(ids)))
        return {line.id: info for line, _, info in found}
    return None


def _row_ids(archive: Archive) -> Iterator[str]:
    with suppress(ConfigError, DatabaseDamaged):
        yield from archive.store.crashes.all_ids()


def _flaws_of_crash(
    archive: Archive, crash_id: str, rows: Mapping[str, str] | None, scope: Scope
) -> Iterator[Flaw]:
    where = archive.directory_of(crash_id)
    for path in leftovers(archive, crash_id, time.time()):
        yield Flaw(str(path), "was left behind by a run that was stopped", PURGE, is_broken=False)
    try:
        info = archive.read(crash_id)
    except NotArchived:  # somebody may be about to make it
        return
    except NotPermitted as error:
        yield Flaw(str(where), str(error), users.hint(error, scope.config))
        return
    except CasError as error:
        yield Flaw(str(where / INFO), str(error), error.hint)
        return
    for file in info.files:
        if what := _flaw_of_file(archive, info, file, with_digest=scope.with_digests):
            yield Flaw(str(where), what, PUT_BACK)
        if file.is_moved and file.purged_s is None:
            yield from _flaws_of_copy(file, str(where), scope)
    for name in gone_jobs(archive, info):
        yield Flaw(str(where), f"names the job {name}, which is gone", INDEX)
    if rows is not None and (what := _difference(archive, info, rows)):
        is_noted = archive.index.awaits(crash_id)
        advice = "the next command on the archive enters it" if is_noted else INDEX
        yield Flaw(str(where), what, advice, is_broken=not is_noted)


def _flaws_of_copy(file: File, where: str, scope: Scope) -> Iterator[Flaw]:
    """What is wrong with a file in a store; nothing is fetched, and with ``--quick`` not asked."""
    copy = file.copy
    assert copy  # noqa: S101  it was moved
    if not scope.with_digests:
        if copy.flaw:
            yield Flaw(where, f"its file in {copy.url}: {copy.flaw}", PUT_BACK_THERE)
        return
    from cas.fetch.objects import object_size
    from cas.fetch.source import FetchPolicy
    from cas.fetch.url import parse_url

    try:
        size_bytes = object_size(parse_url(copy.url), FetchPolicy.of(scope.config))
    except CasError as error:
        what = f"its file in {copy.url} cannot be asked for: {error}"
        yield Flaw(where, what, error.hint or "try again later", is_broken=False)
        return
    if size_bytes is None:
        yield Flaw(where, f"its file in {copy.url} is gone from there", PUT_BACK_THERE)
    elif size_bytes != file.size_bytes:
        what = f"its file in {copy.url} has {size_bytes} bytes, {file.size_bytes} were moved"
        yield Flaw(where, what, PUT_BACK_THERE)


def _flaw_of_file(archive: Archive, info: Info, file: File, *, with_digest: bool) -> str | None:
    """What of a file is not as it is recorded; ``None``: nothing."""
    path = archive.path_of(info, file)
    if path is None or file.purged_s is not None or file.digest is None or is_elsewhere(file):
        return None  # what stays where it was submitted is for its job to say, while there is one
    try:
        size_bytes = path.stat().st_size
        if size_bytes != file.size_bytes:
            return f"its file {path} has {size_bytes} bytes, {file.size_bytes} were stored"
        if not with_digest or file.at is not None or _is_of_a_job(archive, info, path):
            return None  # who looks at the job reads it
        is_right = Fingerprint(file.size_bytes, file.digest).fits(path)
    except FileNotFoundError:
        return f"its file {path} is missing"
    except OSError as error:
        return f"cannot read its file {path}: {error.strerror}"
    return None if is_right else f"its file {path} has another content than was stored"


def _is_of_a_job(archive: Archive, info: Info, path: Path) -> bool:
    for name in info.jobs if path.stat().st_nlink > 1 else ():
        with suppress(OSError):
            dumps = (archive.work_directory / name / DUMP).iterdir()
            if any(each.samefile(path) for each in dumps):
                return True
    return False


def _difference(archive: Archive, info: Info, rows: Mapping[str, str]) -> str | None:
    if info.id not in rows:
        return "is not in the database"
    best = info.best_file
    shown = json_text(shown_info(info, archive.place_of(info, best) if best else None))
    return None if shown == rows[info.id] else "is not what the database says of it"
