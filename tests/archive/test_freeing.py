"""What keeps a crash's files from a purge, and which ones nobody needs."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from msgspec.structs import replace

from cas.archive.annotation import with_hold, with_ticket
from cas.archive.archive import Archive
from cas.archive.freeing import (
    YOUNG_S,
    StillNeeded,
    drop_files,
    drop_job,
    leftovers_of,
    lesser_files,
    require_free,
    why_needed,
)
from cas.archive.record import Change, File, Info

JOB, OTHER = "T-1/2026.01.01.00.00.00", "T-2/2026.01.01.00.00.00"
CRASH = Info(id="ab" * 16, time_s=5, added_s=6, jobs=(JOB,))
NOTE = Change(at_s=50, by="bmc", what="purge")


def file(letter: str, **facts: Any) -> File:
    plain = File(
        name=letter,
        digest=f"sha256-4MiB:{letter * 64}",
        size_bytes=4,
        format="ELF",
        is_whole=True,
        added_s=1,
    )
    return replace(plain, **facts)


WHOLE, CUT = file("a"), file("b", is_whole=False)


def put(archive: Archive, info: Info) -> Info:
    """A crash with those of its files that the archive has itself."""
    with archive.changing(info.id, lambda: info):
        for each in info.files:
            if each.at is None and not each.purged_s:
                archive.file_path(info.id, str(each.digest)).write_bytes(b"dump")
    return info


def left(archive: Archive) -> set[str]:
    """Names of the files that are there, by the record and on the disk."""
    files = [each for each in archive.read(CRASH.id).files if not each.purged_s]
    there = archive.directory_of(CRASH.id) / "files"
    assert {str(each.digest).partition(":")[2] for each in files} == {
        path.name for path in there.iterdir()
    }
    return {each.name for each in files}


def test_a_hold_then_a_set_ticket_then_another_job_keeps_files() -> None:
    assert why_needed(CRASH) == f"the job {JOB} is on it"
    assert why_needed(CRASH, but=JOB) is None
    both = replace(CRASH, jobs=(JOB, OTHER))
    assert why_needed(both, but=JOB) == f"the job {OTHER} is on it"
    ticketed = with_ticket(CRASH, "KEEP")
    assert why_needed(ticketed, but=JOB) == "the ticket KEEP was set"
    held = with_hold(ticketed, "audit", "bmc", 7)
    assert why_needed(held, but=JOB) == "held by bmc: audit"


def test_a_job_stays_while_a_file_that_is_needed_lies_in_it_alone() -> None:
    in_job = file("a", at=f"{JOB}/vmcore/vmcore")
    ticketed = with_ticket(CRASH, "KEEP")
    require_free(replace(CRASH, files=(in_job,)), JOB)
    require_free(replace(ticketed, files=(WHOLE,)), JOB)
    require_free(replace(ticketed, files=(replace(in_job, purged_s=9),)), JOB)
    require_free(replace(ticketed, files=(replace(in_job, at=f"{JOB}0/vmcore"),)), JOB)
    with pytest.raises(StillNeeded, match="lies only here, and the ticket KEEP was set"):
        require_free(replace(ticketed, files=(in_job,)), JOB)
    with pytest.raises(StillNeeded, match="held by"):
        require_free(with_hold(CRASH, "audit", "bmc", 7), JOB)


def test_with_its_last_job_a_crash_loses_what_nobody_uploaded(archive: Archive) -> None:
    uploaded = replace(CUT, is_uploaded=True)
    put(archive, replace(CRASH, jobs=(JOB, OTHER), files=(WHOLE, uploaded)))
    drop_job(archive, CRASH.id, JOB, NOTE)
    assert (archive.read(CRASH.id).jobs, left(archive)) == ((OTHER,), {"a", "b"})
    freed = drop_job(archive, CRASH.id, OTHER, NOTE)
    assert (archive.read(CRASH.id).jobs, left(archive)) == ((), {"b"})
    assert freed.size_bytes > 0
    assert archive.read(CRASH.id).changes == (NOTE,)


def test_with_its_last_job_a_ticketed_crash_loses_nothing(archive: Archive) -> None:
    put(archive, with_ticket(replace(CRASH, files=(WHOLE,)), "KEEP"))
    drop_job(archive, CRASH.id, JOB, NOTE)
    assert (archive.read(CRASH.id).jobs, left(archive)) == ((), {"a"})
    with pytest.raises(StillNeeded, match="the ticket KEEP was set"):
        drop_files(archive, CRASH.id, 100, NOTE)


def test_files_go_by_the_newest_of_them(archive: Archive) -> None:
    put(archive, replace(CRASH, jobs=(), files=(WHOLE, replace(CUT, added_s=20))))
    with pytest.raises(StillNeeded, match="another file of it came"):
        drop_files(archive, CRASH.id, 20, NOTE)
    assert left(archive) == {"a", "b"}
    drop_files(archive, CRASH.id, 21, NOTE)
    assert left(archive) == set()


@pytest.mark.parametrize(
    ("best", "other", "is_lesser"),
    [
        ({}, {"is_whole": False}, True),
        ({}, {"dump_level": 31}, True),
        ({"dump_level": 1}, {"dump_level": 31}, True),
        ({"dump_level": 1}, {"dump_level": 31, "is_whole": False}, True),
        ({"dump_level": 1}, {"dump_level": 2}, False),
        ({"dump_level": 31}, {"dump_level": 1, "is_whole": False}, False),
        ({}, {}, False),
        ({}, {"format": "kernel log"}, False),
        ({"is_whole": False}, {"is_whole": False, "dump_level": 31}, False),
        ({"added_s": 10}, {"is_whole": False}, False),
        ({}, {"is_whole": False, "added_s": 10}, False),
        ({}, {"is_whole": False, "purged_s": 5}, False),
        ({}, {"is_whole": False, "at": "T-1/x/vmcore"}, False),
        ({"at": "/crash/vmcore"}, {"is_whole": False}, False),
    ],
)
def test_a_file_is_lesser_of_which_the_best_one_has_everything(
    archive: Archive, best: dict[str, Any], other: dict[str, Any], *, is_lesser: bool
) -> None:
    better, lesser = file("a", size_bytes=9, **best), file("b", **other)
    info = put(archive, replace(CRASH, files=(better, lesser)))
    assert lesser_files(archive, info, 10) == ([lesser] if is_lesser else [])
    # a crash of the same id may be another one
    assert lesser_files(archive, replace(info, is_weak=True), 10) == []
    assert lesser_files(archive, with_hold(info, "audit", "bmc", 7), 10) == []


def test_a_lesser_file_with_a_second_name_is_somebodys(archive: Archive) -> None:
    info = put(archive, replace(CRASH, files=(WHOLE, CUT)))
    assert lesser_files(archive, info, 10) == [CUT]
    path = archive.file_path(info.id, str(CUT.digest))
    path.with_name("second").hardlink_to(path)
    assert lesser_files(archive, info, 10) == []


def test_an_old_file_that_got_its_name_just_now_may_be_about_to_be_recorded(
    archive: Archive,
) -> None:
    info = put(archive, CRASH)
    moved = archive.file_path(info.id, str(WHOLE.digest))
    moved.touch()
    os.utime(moved, (0, 0))
    now_s = time.time()
    assert leftovers_of(archive, info, now_s) == []
    assert leftovers_of(archive, info, now_s + YOUNG_S + 60) == [moved]
