"""A plain dump is read where it lies while it is copied."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cas.choices import EngineChoice, Storage, Verdict
from cas.dump import identify
from cas.engines.drgn.prestart import prestarted
from cas.errors import CasError, DumpChanged
from cas.jobs.new_job import create_job
from cas.jobs.order import Order
from cas.jobs.work_directory import WorkDirectory
from cas.model.report import Report
from cas.progress import Advance, Silent
from cas.settings.config import Config
from cas.triage.triage import triage

from installed import Site, few_of

LIMIT_S = 60.0
SPOILT = ("overwritten", "truncated", "replaced")


class Watcher(Silent):
    """Progress that does something at the beginning of a step."""

    def __init__(self, at: str, do: Callable[[], None]) -> None:
        self.told: list[str] = []
        self._at, self._do = at, do

    def say(self, text: str) -> None:
        self.told.append(text)

    def warn(self, text: str) -> None:
        self.told.append(text)

    @contextmanager
    def bar(self, text: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        if text.startswith(self._at):
            self._do()
        with super().bar(text, total, unit) as advance:
            yield advance


@pytest.fixture
def config(site_b: Site) -> Config:
    site_b.keep_snippets("sys", "traceback")
    return replace(site_b.world().config, engine=EngineChoice.DRGN)


@pytest.fixture
def upload(tmp_path: Path, vmcore_b: Path) -> Path:
    return Path(shutil.copy(vmcore_b, tmp_path / "vmcore"))


@pytest.fixture
def may_copy(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is copied before it is set."""
    event, copy = threading.Event(), os.copy_file_range

    def held(*arguments: int) -> int:
        # it gives way to who reads the dump where it lies
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) > 0
        assert event.wait(LIMIT_S)
        return copy(*arguments)

    monkeypatch.setattr(os, "copy_file_range", held)
    return event


def spoil(upload: Path, how: str) -> None:
    """Make another file of it."""
    if how == "truncated":
        os.truncate(upload, 8192)
    elif how == "replaced":
        other = upload.with_name("other")
        other.write_bytes(bytes(upload.stat().st_size))
        other.rename(upload)
    else:
        upload.write_bytes(bytes(upload.stat().st_size))


def run(upload: Path, config: Config, watcher: Watcher) -> Report:
    report, error = taken(Order("T-1", upload), config, watcher)
    assert error is None
    return report


def taken(order: Order, config: Config, watcher: Watcher) -> tuple[Report, CasError | None]:
    with prestarted(config) as opened:
        job = create_job(WorkDirectory(config.work_directory), order, datetime.now(UTC))
        return triage(job, config, watcher, opened)


def test_the_first_answer_does_not_wait_for_the_copy(
    config: Config, upload: Path, may_copy: threading.Event
) -> None:
    watcher = Watcher("Looking for evidence", may_copy.set)
    report = run(upload, config, watcher)
    assert report.verdict is Verdict.COMPLETE
    assert report.dump is not None
    assert report.dump.path.parent.parent == report.directory
    assert report.dump.path.read_bytes() == upload.read_bytes()


@pytest.mark.parametrize("how", few_of(SPOILT, ["overwritten"]))
def test_an_upload_that_changes_once_it_is_copied_is_judged_by_the_copy(
    config: Config, upload: Path, may_copy: threading.Event, how: str
) -> None:
    def overwrite() -> None:
        """Once, when the copy is there, and before the snippets run."""
        if may_copy.is_set():
            return
        may_copy.set()
        (copy,) = Path(config.work_directory).glob("T-1/*/vmcore/vmcore")
        deadline = time.monotonic() + LIMIT_S
        while copy.stat().st_size != size and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)  # and it is looked at once more when it is copied
        spoil(upload, how)

    size = upload.stat().st_size
    watcher = Watcher("Running", overwrite)
    report = run(upload, config, watcher)
    assert report.verdict is Verdict.COMPLETE
    assert any("changed after it was copied" in remark for remark in report.remarks)
    assert report.finding is not None
    assert "cas_sum_entries" in report.finding.what
    assert all(section.size_bytes for section in report.sections)
    assert sum(text.startswith("in cas_balance") for text in watcher.told) == 2


@pytest.mark.parametrize("other", few_of(("another crash", "nothing of use"), {"another crash"}))
def test_an_upload_that_is_replaced_before_it_is_identified_is_judged_by_the_copy(
    config: Config, tmp_path: Path, vmcore_b: Path, other: str
) -> None:
    log = identify(vmcore_b).dmesg or ""
    upload = tmp_path / "console.log"
    upload.write_text(log)

    def replace_upload() -> None:
        (job,) = Path(config.work_directory).glob("T-1/*")
        copy, deadline = job / "vmcore" / upload.name, time.monotonic() + LIMIT_S
        while not (copy.exists() and copy.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        crash = log.replace("cas_sum_entries", "cas_other_function")
        upload.write_text(crash if other == "another crash" else "x\n" * len(log))

    report = run(upload, config, Watcher("Reading the dump", replace_upload))
    assert report.finding is not None
    assert "cas_sum_entries" in report.finding.what
    assert any("changed after it was copied" in remark for remark in report.remarks)


def test_a_dump_that_is_written_to_while_it_is_taken_stays_where_it_is(
    config: Config, upload: Path
) -> None:
    def append() -> None:
        with upload.open("ab") as file:
            file.write(b"more")

    order = Order("T-1", upload, takes=True)
    report, error = taken(order, config, Watcher("Looking for evidence", append))
    assert isinstance(error, DumpChanged)
    assert report.verdict is Verdict.FAILED
    assert f"{upload} was not moved: it stays where it is" in report.remarks
    assert upload.stat().st_nlink == 1
    assert not list(report.directory.glob("vmcore/*"))


@pytest.mark.parametrize("how", few_of(SPOILT, ["truncated"]))
def test_of_a_dump_that_changes_where_it_stays_nothing_is_believed(
    config: Config, upload: Path, how: str
) -> None:
    referring = replace(config, storage=Storage.REFERENCE)
    watcher = Watcher("Looking for evidence", lambda: spoil(upload, how))
    report, error = taken(Order("T-1", upload), referring, watcher)
    assert isinstance(error, DumpChanged)
    assert (report.verdict, report.answer, report.dump, report.sections) == (
        Verdict.FAILED,
        None,
        None,
        (),
    )
    assert str(upload) in str(report.reason)


def test_the_copy_begins_when_it_is_told_where_it_crashed(
    config: Config, upload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cas.intake.selection.ANSWER_S", LIMIT_S)
    copied, copy = list[bool](), os.copy_file_range

    def noted(*arguments: int) -> int:
        copied.append(any(text.startswith("in cas_balance") for text in watcher.told))
        return copy(*arguments)

    monkeypatch.setattr(os, "copy_file_range", noted)
    watcher = Watcher("", lambda: None)
    report = run(upload, config, watcher)
    assert report.verdict is Verdict.COMPLETE
    assert copied
    assert all(copied)
