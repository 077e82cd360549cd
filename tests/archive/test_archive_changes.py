"""A change of a crash, step by step, and where its best file is."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cas.archive import archive as archive_module
from cas.archive import crash_directories
from cas.archive.annotation import with_ticket
from cas.archive.archive import Archive
from cas.archive.crash_directories import INFO, NotArchived
from cas.archive.record import File, Info
from cas.choices import Presence
from cas.database.store import Store
from cas.errors import Refused
from cas.model.archived import EVERY

BLANK = Info(id="ab" * 16, time_s=5, added_s=6)
KEPT = File(
    name="vmcore",
    digest=f"sha256-4MiB:{'c' * 64}",
    size_bytes=4,
    format="ELF",
    is_whole=True,
    added_s=1,
)


def put(archive: Archive, *files: File) -> Info:
    with archive.changing(BLANK.id, lambda: BLANK) as draft:
        draft.info = msgspec.structs.replace(BLANK, files=files)
    return draft.info


def file_of(archive: Archive) -> Path:
    return archive.file_path(BLANK.id, str(KEPT.digest))


def tickets(archive: Archive) -> list[str | None]:
    """As the index has them."""
    return [line.ticket for line in archive.store.crashes.lines(EVERY)]


def ticket(archive: Archive, ticket: str, *doomed: Path) -> None:
    with archive.changing(BLANK.id) as draft:
        draft.info = with_ticket(draft.info, ticket)
        draft.doomed = [*doomed]


class Died(Exception):
    """What ends a run between two steps."""


def die(*_: object, **__: object) -> Any:
    raise Died


def test_a_change_is_in_the_index_at_its_end_and_no_note_is_left(archive: Archive) -> None:
    put(archive)
    ticket(archive, "T-1")
    assert tickets(archive) == ["T-1"]
    assert not archive.index.awaits(BLANK.id)


def test_who_dies_before_the_record_is_written_leaves_a_note_and_all_files(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(archive)
    file_of(archive).write_bytes(b"dump")
    monkeypatch.setattr(archive_module, "write_whole", die)
    with pytest.raises(Died):
        ticket(archive, "T-1", file_of(archive))
    assert archive.index.awaits(BLANK.id)
    assert archive.read(BLANK.id).tickets == ()
    assert file_of(archive).exists()


def test_who_dies_before_files_are_removed_has_recorded_it_and_the_next_one_indexes_it(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(archive)
    monkeypatch.setattr(archive_module, "remove_file", die)
    with pytest.raises(Died):
        ticket(archive, "T-1", file_of(archive))
    assert archive.read(BLANK.id).tickets == ("T-1",)
    assert tickets(archive) == [None]
    archive.index.catch_up()
    assert tickets(archive) == ["T-1"]
    assert not archive.index.awaits(BLANK.id)


def test_a_note_of_a_crash_without_a_record_goes(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr(archive_module, "write_whole", die)
        put(archive)
    assert archive.index.awaits(BLANK.id)
    archive.index.catch_up()
    assert not archive.index.awaits(BLANK.id)
    with pytest.raises(NotArchived):
        archive.read(BLANK.id)


def test_a_lost_database_is_known_as_such_until_every_crash_was_entered(archive: Archive) -> None:
    put(archive)
    assert not archive.index.is_lost()
    lost = dataclasses.replace(archive, store=Store(str(archive.work_directory / "new")))
    other = msgspec.structs.replace(BLANK, id="cd" * 16)
    with lost.changing(other.id, lambda: other):
        pass
    assert len(tickets(lost)) == 1
    assert lost.index.is_lost()
    lost.index.note_complete()
    assert not lost.index.is_lost()


def test_a_crash_whose_directory_went_before_the_lock_is_made_anew(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, removed = crash_directories._lock, list[Path]()

    def purged_first(descriptor: int, until: float, directory: Path) -> None:
        if not removed:
            removed.append(directory)
            shutil.rmtree(directory)
        lock(descriptor, until, directory)

    monkeypatch.setattr(crash_directories, "_lock", purged_first)
    put(archive, KEPT)
    assert removed
    assert archive.read(BLANK.id).files == (KEPT,)


@pytest.mark.parametrize(("mode", "is_refused"), [(0o1777, False), (0o777, True), (0o755, False)])
def test_in_a_directory_of_all_an_archive_is_safe_where_nobody_can_rename_it(
    archive: Archive, mode: int, *, is_refused: bool
) -> None:
    put(archive)
    archive.path.parent.chmod(mode)
    if is_refused:
        with pytest.raises(Refused, match="may be replaced by others"):
            archive.require_safe()
    else:
        archive.require_safe()


def test_a_record_that_lies_in_the_place_of_another_is_not_believed(archive: Archive) -> None:
    put(archive)
    other = archive.directory_of("cd" * 16)
    other.mkdir(parents=True)
    (archive.directory_of(BLANK.id) / INFO).rename(other / INFO)
    with pytest.raises(crash_directories.ArchiveDamaged, match="of another crash"):
        archive.read("cd" * 16)


@pytest.mark.parametrize(
    ("facts", "size_bytes", "presence"),
    [
        ({}, 4, Presence.HERE),
        ({}, 3, Presence.TRUNCATED),
        ({}, 5, Presence.TRUNCATED),
        ({}, None, Presence.MISSING),
        ({"purged_s": 9}, 4, Presence.PURGED),
        ({"at": "https://dumps.invalid/vmcore"}, None, Presence.ELSEWHERE),
        ({"at": "T-1/x/vmcore"}, 4, Presence.HERE),
        ({"at": "/"}, 4, Presence.ELSEWHERE),
    ],
)
def test_where_the_best_file_is_now(
    archive: Archive, facts: dict[str, Any], size_bytes: int | None, presence: Presence
) -> None:
    file = msgspec.structs.replace(KEPT, **facts)
    if file.at == "/":  # it stayed where it was submitted
        file = msgspec.structs.replace(file, at=str(archive.work_directory / "submitted"))
    put(archive)
    info = put(archive, file)
    path = archive.path_of(info, file)
    if path and size_bytes is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size_bytes)
    assert archive.presence_of(info) is presence
    archive.index.look_after_files()
    assert archive.store.crashes.presences(EVERY) == {BLANK.id: presence}


def test_of_what_has_no_file_nothing_is_there(archive: Archive) -> None:
    assert archive.presence_of(put(archive)) is Presence.MISSING
