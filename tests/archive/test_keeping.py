"""What becomes of a crash's record when one more file or report of it comes, as values."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as changed

from cas.archive.archive import Archive
from cas.archive.keeping import known_file, settle_upload, with_facts, with_file
from cas.archive.record import File, Info
from cas.choices import Stage, Verdict
from cas.files.digest import Fingerprint
from cas.jobs.reference import looks
from cas.model.report import Report

CRASH = Info(id="ab" * 16, time_s=5, added_s=6)
BEST = File(
    name="vmcore",
    digest=f"sha256-4MiB:{'a' * 64}",
    size_bytes=9,
    format="ELF",
    is_whole=True,
    added_s=1,
    looks=(1, 2, 3),
)
CUT = changed(BEST, digest=f"sha256-4MiB:{'b' * 64}", is_whole=False, looks=None)
FIRST = "2026.01.01.00.00.00.000000"
SECOND = "2026.01.02.00.00.00.000000"


def report(at_s: int, verdict: Verdict = Verdict.COMPLETE) -> Report:
    return Report(
        ticket="T-1",
        directory=Path(),
        upload="vmcore",
        server="",
        started=datetime.fromtimestamp(at_s, UTC),
        verdict=verdict,
        stage=Stage.REPORTED,
    )


def told_of(info: Info) -> tuple[Any, int, str | None]:
    """What is remembered: of which file, since when, and where the answer is."""
    return info.facts_of, info.facts_at_s, info.answer


def test_a_newer_report_of_the_best_file_takes_the_place_of_an_older_one() -> None:
    first = with_facts(with_file(CRASH, BEST), report(100), BEST, FIRST)
    assert told_of(first) == (BEST.digest, 100, FIRST)
    assert with_facts(first, report(99), BEST, SECOND) == first
    assert told_of(with_facts(first, report(101), BEST, SECOND)) == (BEST.digest, 101, SECOND)
    assert told_of(with_facts(first, report(101), BEST)) == (BEST.digest, 101, FIRST)


def test_who_had_no_kernel_takes_nothing_back() -> None:
    waiting = with_facts(with_file(CRASH, BEST), report(100, Verdict.WAITING), BEST)
    assert waiting.facts["verdict"] == Verdict.WAITING
    complete = with_facts(waiting, report(101), BEST)
    assert complete.facts["verdict"] == Verdict.COMPLETE
    for verdict in (Verdict.WAITING, Verdict.FAILED, Verdict.INTERRUPTED):
        assert with_facts(complete, report(102, verdict), BEST) == complete
    partial = with_facts(complete, report(102, Verdict.PARTIAL), BEST)
    assert partial.facts["verdict"] == Verdict.PARTIAL


def test_only_of_the_best_file_there_are_facts() -> None:
    first = with_facts(with_file(CRASH, CUT), report(100), CUT, FIRST)
    assert told_of(first) == (CUT.digest, 100, FIRST)
    # of a better file even an older report counts, and the answer was not about it
    better = with_facts(with_file(first, BEST), report(99), BEST)
    assert told_of(better) == (BEST.digest, 99, None)
    assert with_facts(better, report(200), CUT, SECOND) == better


@pytest.mark.parametrize(
    ("known", "came", "kept"),
    [
        pytest.param(
            BEST,
            changed(BEST, name="other", added_s=7, at="T-2/x/vmcore", looks=None),
            BEST,
            id="the archive has it: it keeps its name, its time, its place and its marks",
        ),
        pytest.param(
            changed(BEST, at="/crash/vmcore"),
            changed(BEST, looks=(4, 5, 6)),
            changed(BEST, looks=(4, 5, 6)),
            id="it lay elsewhere and is in the archive now",
        ),
        pytest.param(
            changed(BEST, is_uploaded=True),
            BEST,
            changed(BEST, is_uploaded=True),
            id="it was uploaded, and then a job has it",
        ),
        pytest.param(
            changed(BEST, is_uploaded=True, purged_s=9),
            changed(BEST, at="T-2/x/vmcore"),
            changed(BEST, at="T-2/x/vmcore"),
            id="the upload was purged, and then a job has it",
        ),
    ],
)
def test_of_the_same_content_there_is_one_file(known: File, came: File, kept: File) -> None:
    assert with_file(with_file(CRASH, known), came).files == (kept,)


def test_what_was_read_by_parts_is_forgotten_once_a_file_is_there() -> None:
    part = changed(BEST, digest=None, at="https://dumps.invalid/vmcore", looks=None)
    assert with_file(with_file(CRASH, part), part).files == (part,)
    assert with_file(with_file(CRASH, part), CUT).files == (CUT,)
    assert with_file(with_file(CRASH, CUT), part).files == (CUT,)
    assert with_file(with_file(CRASH, CUT), BEST).files == (CUT, BEST)


def test_an_upload_is_known_by_its_content_where_that_is_there_still(
    archive: Archive, tmp_path: Path
) -> None:
    def in_no_store(_: File) -> bool:
        return False

    upload, same_size = tmp_path / "upload", tmp_path / "same-size"
    upload.write_bytes(b"dump")
    same_size.write_bytes(b"pump")
    kept = Fingerprint.of(upload)
    with archive.changing(CRASH.id, lambda: CRASH) as draft:
        place = archive.file_path(CRASH.id, kept.digest)
        place.write_bytes(b"dump")
        file = changed(BEST, digest=kept.digest, size_bytes=4, looks=looks(place))
        draft.info = info = with_file(CRASH, file)
    assert known_file(archive, info, upload, in_no_store) == file
    assert known_file(archive, info, same_size, in_no_store) is None
    place.touch()  # it looks otherwise, so it is read
    assert known_file(archive, info, upload, in_no_store) == file
    place.write_bytes(b"damp")
    assert known_file(archive, info, upload, in_no_store) is None
    place.unlink()
    assert known_file(archive, info, upload, in_no_store) is None


def test_a_file_that_has_lost_a_name_is_known_by_its_new_marks_and_one_that_was_written_is_not(
    archive: Archive,
) -> None:
    with archive.changing(CRASH.id, lambda: CRASH) as draft:
        place = archive.file_path(CRASH.id, str(BEST.digest))
        place.write_bytes(b"dump")
        second = place.with_name("second")
        second.hardlink_to(place)
        draft.info = with_file(CRASH, changed(BEST, looks=looks(place)))
    second.unlink()
    settle_upload(archive, CRASH.id, BEST.digest)
    settled = archive.read(CRASH.id)
    assert settled.files == (changed(BEST, looks=looks(place)),)
    os.utime(place, ns=(0, looks(place)[1] + 1))
    settle_upload(archive, CRASH.id, BEST.digest)
    assert archive.read(CRASH.id) == settled


def test_answers_that_do_not_count_any_more_are_removed(archive: Archive) -> None:
    with archive.changing(CRASH.id, lambda: CRASH) as draft:
        draft.info = changed(CRASH, answer=SECOND)
    for name in (FIRST, SECOND):
        archive.answer_path(CRASH.id, name).mkdir(parents=True)
    settle_upload(archive, CRASH.id, BEST.digest)
    assert archive.answers(CRASH.id) == [SECOND]
