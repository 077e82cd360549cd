"""The way of an upload into its job's directory."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cas.errors import UsageError
from cas.jobs.job import Job
from cas.jobs.layout import DOWNLOAD
from cas.jobs.order import Order
from cas.progress import Silent
from cas.settings.config import Config
from cas.triage.upload import Arrival

from installed import FIXTURES

SECRET = Order("T-1", Path(), url="https://example.com/vmcore.xz?…")


@pytest.fixture
def arrival(tmp_path: Path) -> Arrival:
    """Of a resumed job whose URL had a secret, which is not there any more."""
    job = Job(tmp_path, SECRET, datetime(2026, 11, 21, tzinfo=UTC))
    config = Config(tmp_path / "k", tmp_path / "d", tmp_path, str(tmp_path / "db"))
    return Arrival(job, config, Silent())


def test_what_was_fetched_whole_is_not_fetched_again(arrival: Arrival, tmp_path: Path) -> None:
    (tmp_path / DOWNLOAD).mkdir()
    (tmp_path / DOWNLOAD / "vmcore.xz").symlink_to(FIXTURES / "a" / "vmcore.elf.xz")
    with arrival:
        arrival.begin()
        stored, files = arrival.kept()
    assert stored.vmcore.read_bytes()[:4] == b"\x7fELF"
    assert files["vmcore/vmcore"].size_bytes == stored.vmcore.stat().st_size


def test_a_half_fetched_file_of_a_shortened_url_is_no_dump(
    arrival: Arrival, tmp_path: Path
) -> None:
    (tmp_path / DOWNLOAD).mkdir()
    (tmp_path / DOWNLOAD / ".vmcore.xz.part").write_bytes(b"x")
    with pytest.raises(UsageError, match="shortened"), arrival:
        arrival.begin()


def test_a_copied_dump_is_read_where_it_lies_unless_it_has_changed(tmp_path: Path) -> None:
    upload = Path(shutil.copy(FIXTURES / "b" / "vmcore.kdump", tmp_path / "kdump"))
    (directory := tmp_path / "job").mkdir()
    job = Job(directory, Order("T-1", upload), datetime(2026, 11, 21, tzinfo=UTC))
    config = Config(tmp_path / "k", tmp_path / "d", tmp_path, str(tmp_path / "db"))
    with Arrival(job, config, Silent()) as arrival:
        head = arrival.begin()
        kept = arrival.written()
        assert arrival.readable(head) == upload
        upload.write_bytes(b"")
        assert arrival.readable(head) == kept
        upload.unlink()
        assert arrival.readable(head) == kept
