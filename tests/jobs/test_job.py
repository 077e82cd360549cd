"""Jobs: tickets, directories and the record of finished stages."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cas.choices import Cause
from cas.commands import specification
from cas.errors import CasError, Refused, TryAgain, UsageError
from cas.files.digest import Fingerprint, dump_digest
from cas.jobs import seal
from cas.jobs.attempt import note_interruption, set_dump_apart, take_up
from cas.jobs.job import Job, by_age, load_job
from cas.jobs.layout import RESULTS
from cas.jobs.lock import lock_job
from cas.jobs.new_job import check_ticket, create_job
from cas.jobs.order import Order
from cas.jobs.work_directory import WorkDirectory
from cas.model.dump import Missing, Stored

NOW = datetime(2026, 11, 21, 17, 4, 59, tzinfo=UTC)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return create_job(WorkDirectory(tmp_path / "cores"), Order("T-1", tmp_path / "vmcore"), NOW)


@pytest.mark.parametrize("ticket", ["1", "T-1", "12345", "a.b_c-d", "x" * 64])
def test_usual_tickets_are_taken(ticket: str) -> None:
    assert check_ticket(ticket) == ticket


@pytest.mark.parametrize(
    "ticket",
    [
        "",
        ".",
        "..",
        "a..b",
        "../x",
        "a/b",
        "-x",
        ".x",
        "a b",
        "a\n",
        "ä",
        "x" * 65,
        "a\0b",
        "$(id)",
    ],
)
def test_other_tickets_are_refused(ticket: str) -> None:
    with pytest.raises(Refused):
        check_ticket(ticket)


def test_a_job_that_was_stopped_before_its_dump_was_there_is_gone_on_with(job: Job) -> None:
    for text in ("T-1", "T-1/latest", specification.job_name(job)):
        with pytest.raises(
            specification.NoJob, match="not finished, and has no dump yet"
        ) as caught:
            specification.find_job(text, WorkDirectory(job.directory.parent.parent))
        assert caught.value.hint == "to go on with it: cas -i T-1"


def test_a_directory_is_named_by_the_local_24_hour_clock(job: Job) -> None:
    assert job.directory.name == NOW.astimezone().strftime("%Y.%m.%d.%H.%M.%S")
    assert job.directory.parent.name == "T-1"


def test_two_jobs_within_one_second_have_two_directories(job: Job, tmp_path: Path) -> None:
    second = create_job(WorkDirectory(tmp_path / "cores"), job.order, NOW)
    assert second.directory != job.directory
    assert len(list((tmp_path / "cores" / "T-1").iterdir())) == 2


def test_a_job_is_read_back_as_it_was(job: Job) -> None:
    stored = Stored(
        job.directory / "vmcore",
        sidecars=(job.directory / "sidecars" / "0001-dmesg.txt",),
        missing=(Missing("the gzip data is cut off", 512, Cause.WRAPPING),),
        remarks=("12 bytes behind the end were ignored",),
    )
    later = replace(job.having("identified").having("stored"), stored=stored)
    later.save()
    assert load_job(job.directory) == later
    assert later.stages == ("received", "stored", "identified")


def test_a_record_of_before_there_were_causes_is_read(job: Job) -> None:
    lost = Missing("the gzip data is cut off", 512, Cause.WRAPPING)
    stored = Stored(job.directory / "vmcore", missing=(lost,))
    replace(job.having("stored"), stored=stored).save()
    state = job.directory / "job.json"
    facts = json.loads(state.read_text())
    del facts["stored"]["missing"][0]["cause"]
    state.write_text(json.dumps(facts))
    read = load_job(job.directory).stored
    assert read
    assert read.missing == (replace(lost, cause=Cause.UNKNOWN),)


def with_dump(job: Job, name: str) -> Job:
    """The job as an earlier release left it: the dump lies beside the results."""
    (job.directory / name).write_bytes(b"DUMP")
    kept = {name: Fingerprint.of(job.directory / name)}
    later = replace(job.having("stored"), stored=Stored(job.directory / name), files=kept)
    later.save()
    return later


@pytest.mark.parametrize("name", ["log", "sys", "T-1.log", "registers", "usr", "mail.eml"])
def test_a_dump_in_a_results_place_is_moved_before_its_job_goes_on(job: Job, name: str) -> None:
    before = with_dump(job, name)
    set_dump_apart(job.directory)
    after = load_job(job.directory)
    assert after.stored is not None
    assert after.stored.vmcore == job.directory / "vmcore" / name
    assert after.stored.vmcore.read_bytes() == b"DUMP"
    assert not (job.directory / name).exists()
    assert after.files == {f"vmcore/{name}": before.files[name]}
    assert list(seal.flaws(after, with_digests=True)) == []
    assert take_up(after).files == after.files


def test_a_dump_that_was_moved_when_the_run_was_killed_is_found_again(job: Job) -> None:
    with_dump(job, "log")
    (job.directory / "vmcore").mkdir()
    (job.directory / "log").rename(job.directory / "vmcore" / "log")
    set_dump_apart(job.directory)
    stored = load_job(job.directory).stored
    assert stored is not None
    assert stored.vmcore.read_bytes() == b"DUMP"


@pytest.mark.parametrize("name", ["vmcore", "vmcore.elf", "vmlinux.core"])
def test_a_dump_where_no_result_can_be_stays(job: Job, name: str) -> None:
    before = with_dump(job, name)
    set_dump_apart(job.directory)
    assert load_job(job.directory) == before


def test_the_dump_of_an_ended_job_stays(job: Job) -> None:
    ended = replace(with_dump(job, "log"), verdict="complete")
    ended.save()
    set_dump_apart(job.directory)
    assert load_job(job.directory) == ended


def test_an_upload_with_an_undecodable_name_survives(tmp_path: Path) -> None:
    order = Order("T-1", tmp_path / os.fsdecode(b"vm\xffcore\n'"))
    job = create_job(WorkDirectory(tmp_path), order, NOW)
    assert load_job(job.directory).order == order


def test_age_is_told_by_the_record_not_by_the_local_time_of_a_name(tmp_path: Path) -> None:
    """On the night when clocks are set back names go back, too."""
    first = datetime(2026, 10, 25, 0, 59, tzinfo=UTC)  # 02:59 in Berlin, an hour before 02:10
    later = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    work = WorkDirectory(tmp_path / "cores")
    named = {first: "2026.10.25.02.59.00", later: "2026.10.25.02.10.00"}
    for began, name in named.items():
        made = create_job(work, Order("T-1", tmp_path / "vmcore"), began)
        made.directory.rename(made.directory.with_name(name))
    found = by_age(map(load_job, work.jobs("T-1")))
    assert [one.directory.name for one in found] == list(named.values())


def test_a_damaged_record_is_named(job: Job) -> None:
    (job.directory / "job.json").write_text("{")
    with pytest.raises(CasError, match=r"holds no usable job\.json"):
        load_job(job.directory)


def test_only_the_programs_own_directories_are_jobs(job: Job, tmp_path: Path) -> None:
    work = tmp_path / "cores"
    (work / "T-1" / "notes").mkdir()
    (work / "T-1" / "2026.01.01.00.00.00").mkdir()  # no job.json
    (work / "T-2").mkdir()
    (work / "T-2" / "2026.01.01.00.00.00").symlink_to(job.directory)
    (work / "link").symlink_to(work / "T-1")
    assert list(WorkDirectory(work).jobs()) == [job.directory]


def test_a_job_is_worked_on_by_one_run_only(job: Job) -> None:
    with (
        lock_job(job.directory),
        pytest.raises(TryAgain, match="another run"),
        lock_job(job.directory),
    ):
        pass
    with lock_job(job.directory):
        pass


def test_a_directory_is_never_seen_without_its_record(tmp_path: Path) -> None:
    upload = Order("T-1", tmp_path / "vmcore")
    (tmp_path / "cores" / "T-1").mkdir(parents=True)
    seen = [create_job(WorkDirectory(tmp_path / "cores"), upload, NOW).directory for _ in range(3)]
    assert sorted((tmp_path / "cores" / "T-1").iterdir()) == sorted(seen)
    assert all((directory / "job.json").is_file() for directory in seen)


def ended(job: Job, verdict: str) -> Job:
    for name in RESULTS:
        (job.directory / name).write_text("{}")
    job = replace(job.having("stored").having("reported"), verdict=verdict)
    job = seal.seal(job)
    job.save()
    return job


def test_a_job_of_this_run_is_taken_up_as_it_was_made(job: Job) -> None:
    made = (job.directory / "job.json").stat().st_ino
    assert take_up(job, is_new=True) == job
    assert (job.directory / "job.json").stat().st_ino == made
    ended(job, "complete")  # by another run, meanwhile
    with pytest.raises(UsageError, match="came to its end meanwhile: complete"):
        take_up(job, is_new=True)


def test_a_job_that_is_gone_on_with_believes_no_earlier_result(job: Job) -> None:
    ended(job, "waiting")
    begun = take_up(job)
    assert begun == load_job(job.directory)
    assert (begun.verdict, begun.stages, begun.files) == (None, ("received", "stored"), {})
    assert not any((job.directory / name).exists() for name in RESULTS)


def test_a_job_that_ended_meanwhile_is_not_begun_again(job: Job) -> None:
    ended(job, "complete")
    with pytest.raises(UsageError, match="came to its end meanwhile: complete"):
        take_up(job)
    assert (job.directory / "result.json").exists()


def test_an_interruption_is_recorded_and_withdraws_what_was_published(job: Job) -> None:
    (job.directory / "result.json").write_text('{"verdict": "complete"}')
    note_interruption(job.directory)
    assert load_job(job.directory).verdict == "interrupted"
    assert load_job(job.directory).is_unfinished
    assert not (job.directory / "result.json").exists()


def test_an_interruption_after_the_end_changes_nothing(job: Job) -> None:
    done = ended(job, "complete")
    note_interruption(job.directory)
    assert load_job(job.directory) == done
    assert (job.directory / "result.json").exists()


def test_what_is_sealed_is_known_again(job: Job) -> None:
    (job.directory / "traceback").write_text("panic")
    (job.directory / ".traceback.part").write_text("pa")
    done = ended(job, "complete")
    assert load_job(job.directory).files == done.files
    assert sorted(done.files) == sorted([*RESULTS, "traceback"])
    assert list(seal.flaws(done, with_digests=True)) == []
    (job.directory / "traceback").write_text("Panic")
    assert list(seal.flaws(done, with_digests=False)) == []
    assert list(seal.flaws(done, with_digests=True)) == [
        "traceback has another content than was sealed"
    ]


def test_a_job_whose_directory_is_gone_cannot_be_locked(job: Job) -> None:
    shutil.rmtree(job.directory)
    with pytest.raises(TryAgain, match="No such file"), lock_job(job.directory):
        pass


def test_the_digest_of_a_dump_does_not_tell_holes_from_zeros(tmp_path: Path) -> None:
    sparse, full = tmp_path / "sparse", tmp_path / "full"
    head, size = b"\x7fELF", 9 * (1 << 20) + 3
    sparse.write_bytes(head)
    os.truncate(sparse, size)
    full.write_bytes(head.ljust(size, b"\0"))
    blocks = [full.read_bytes()[start : start + (4 << 20)] for start in range(0, size, 4 << 20)]
    whole = hashlib.sha256(b"%d\n" % size)
    for block in blocks:
        whole.update(hashlib.sha256(block).digest())
    assert dump_digest(sparse) == dump_digest(full) == f"sha256-4MiB:{whole.hexdigest()}"
    assert Fingerprint(size, dump_digest(full)).fits(sparse)
