"""Jobs: tickets, directories and the record of finished stages."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cas import job as jobs
from cas.errors import CasError, Refused, TryAgain
from cas.job import Job, Order

NOW = datetime(2026, 11, 21, 17, 4, 59, tzinfo=UTC)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return jobs.create(tmp_path / "cores", Order("T-1", tmp_path / "vmcore"), NOW)


@pytest.mark.parametrize("ticket", ["1", "T-1", "12345", "a.b_c-d", "x" * 64])
def test_usual_tickets_are_taken(ticket: str) -> None:
    assert jobs.check_ticket(ticket) == ticket


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
        jobs.check_ticket(ticket)


def test_a_directory_is_named_by_the_local_24_hour_clock(job: Job) -> None:
    assert job.directory.name == NOW.astimezone().strftime("%Y.%m.%d.%H.%M.%S")
    assert job.directory.parent.name == "T-1"


def test_two_jobs_within_one_second_have_two_directories(job: Job, tmp_path: Path) -> None:
    second = jobs.create(tmp_path / "cores", job.order, NOW)
    assert second.directory != job.directory
    assert len(list((tmp_path / "cores" / "T-1").iterdir())) == 2


def test_a_job_is_read_back_as_it_was(job: Job) -> None:
    later = job.having("identified").having("stored", vmcore="vmcore")
    later.save()
    assert jobs.load(job.directory) == later
    assert later.stages == ("received", "stored", "identified")


def test_an_upload_with_an_undecodable_name_survives(tmp_path: Path) -> None:
    order = Order("T-1", tmp_path / os.fsdecode(b"vm\xffcore\n'"))
    job = jobs.create(tmp_path, order, NOW)
    assert jobs.load(job.directory).order == order


def test_a_damaged_record_is_named(job: Job) -> None:
    (job.directory / "job.json").write_text("{")
    with pytest.raises(CasError, match=r"holds no usable job\.json"):
        jobs.load(job.directory)


def test_only_the_programs_own_directories_are_jobs(job: Job, tmp_path: Path) -> None:
    work = tmp_path / "cores"
    (work / "T-1" / "notes").mkdir()
    (work / "T-1" / "2026.01.01.00.00.00").mkdir()  # no job.json
    (work / "T-2").mkdir()
    (work / "T-2" / "2026.01.01.00.00.00").symlink_to(job.directory)
    (work / "link").symlink_to(work / "T-1")
    assert list(jobs.jobs(work)) == [job.directory]


def test_a_job_is_worked_on_by_one_run_only(job: Job) -> None:
    with (
        jobs.lock(job.directory),
        pytest.raises(TryAgain, match="another run"),
        jobs.lock(job.directory),
    ):
        pass
    with jobs.lock(job.directory):
        pass
