"""A packed dump whose wrapping can be undone here and there is read before it is unpacked."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
import zstandard

from cas.choices import Checked, EngineChoice, Verdict
from cas.engines.drgn.prestart import prestarted
from cas.intake.selection import Selection
from cas.intake.space import Sink
from cas.jobs.layout import DOWNLOAD
from cas.jobs.new_job import create_job
from cas.jobs.order import Order
from cas.jobs.work_directory import WorkDirectory
from cas.model.report import Report
from cas.progress import Silent
from cas.triage import by_ranges
from cas.triage.early_answer import EarlyAnswer
from cas.triage.pipeline import Pipeline
from cas.triage.triage import triage

from installed import Site

Step, Result = TypeVar("Step"), TypeVar("Result")
FRAME_BYTES = 1 << 20
READ_BY_DRGN = 20
"""The number of a frame to which no header leads, but drgn for its backtrace."""
LIMIT_S = 60.0
READ_EARLY = "read before it is unpacked"
TOLD_BY_PIECES = "pieces of the damaged upload"


class Listener(Silent):
    """What was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.is_readable = threading.Event()
        """Somebody may read the dump before it is unpacked."""
        self.is_over = threading.Event()
        """Nothing more is told before all is unpacked."""

    def say(self, text: str) -> None:
        self.told.append(text)

    def note(self, text: str, *_: object, **__: object) -> None:
        self.told.append(text)


def seekable_zstd(dump: Path, upload: Path, *, flaw_at: int | None = None) -> Path:
    """As zstd's seekable format has it; with a frame that is spoilt."""
    pack, data = zstandard.ZstdCompressor(write_checksum=True).compress, dump.read_bytes()
    frames, table = list[bytes](), b""
    for at in range(0, len(data), FRAME_BYTES):
        piece = data[at : at + FRAME_BYTES]
        frames.append(pack(piece))
        table += struct.pack("<II", len(frames[-1]), len(piece))
    if flaw_at is not None:
        frames[flaw_at] = frames[flaw_at][:-200] + bytes(200)
    table += struct.pack("<IBI", len(frames), 0, 0x8F92EAB1)
    upload.write_bytes(b"".join(frames) + struct.pack("<II", 0x184D2A5E, len(table)) + table)
    return upload


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    """The upload is unpacked no further until the dump was read before, or nobody tries to."""
    listener, put, announce = Listener(), Sink.put, Selection._announce

    def held(sink: Sink, block: bytes) -> None:
        assert not listener.is_readable.is_set() or listener.is_over.wait(LIMIT_S)
        put(sink, block)

    def announced(selection: Selection, path: Path) -> None:
        announce(selection, path)
        listener.is_readable.set()

    def ending(step: Callable[[Step], Result]) -> Callable[[Step], Result]:
        def taken(run: Step) -> Result:
            try:
                return step(run)
            finally:
                listener.is_over.set()

        return taken

    monkeypatch.setattr(Sink, "put", held)
    monkeypatch.setattr(Selection, "_announce", announced)
    monkeypatch.setattr(EarlyAnswer, "before_unpacked", ending(EarlyAnswer.before_unpacked))
    monkeypatch.setattr(Pipeline, "run_stages", ending(Pipeline.run_stages))
    # what is unpacked is small, and may have been read to its end by then
    monkeypatch.setattr(by_ranges, "WORTH_S", float("-inf"))
    return listener


def run(upload: Path, site: Site, listener: Listener, ticket: str = "T-1") -> Report:
    config = replace(site.world().config, engine=EngineChoice.DRGN)
    with prestarted(config) as opened:
        job = create_job(
            WorkDirectory(config.work_directory), Order(ticket, upload), datetime.now(UTC)
        )
        report, error = triage(job, config, listener, opened)
    assert error is None
    return report


def test_what_crashed_is_told_before_all_is_unpacked(
    site_a: Site, tmp_path: Path, vmcore: Path, listener: Listener
) -> None:
    upload = seekable_zstd(vmcore, tmp_path / "vmcore.zst")
    report = run(upload, site_a, listener)
    told = list(listener.told)
    (answered,) = [n for n, line in enumerate(told) if line.startswith("in cas_balance")]
    (read,) = [n for n, line in enumerate(told) if line.startswith(READ_EARLY)]
    assert answered < read
    assert report.verdict is Verdict.COMPLETE
    assert report.by_ranges is None
    assert report.dump
    assert report.dump.checked is not Checked.RANGES
    assert report.dump.path.read_bytes() == vmcore.read_bytes()
    assert not (report.directory / DOWNLOAD).exists()


@pytest.mark.long
def test_the_same_dump_is_told_whose_first_answer_came_before(
    site_a: Site, tmp_path: Path, vmcore: Path, listener: Listener
) -> None:
    upload = seekable_zstd(vmcore, tmp_path / "vmcore.zst")
    run(upload, site_a, listener)
    for told in (listener.is_readable, listener.is_over):
        told.clear()
    again = run(upload, site_a, listener, "T-2")
    assert again.finding
    assert again.finding.seen
    assert again.finding.seen.same_dump == ("T-1",)


def require_damaged(report: Report) -> None:
    """Whatever pieces told, the report is of what was unpacked."""
    assert report.verdict is Verdict.PARTIAL
    assert report.stored
    assert any("zstd" in missing.what for missing in report.stored.missing)
    assert report.dump
    assert not report.dump.is_whole


def test_a_damaged_piece_that_was_read_leaves_the_answer_to_what_is_unpacked(
    site_a: Site, tmp_path: Path, vmcore: Path, listener: Listener
) -> None:
    upload = seekable_zstd(vmcore, tmp_path / "vmcore.zst", flaw_at=READ_BY_DRGN)
    report = run(upload, site_a, listener)
    require_damaged(report)
    log = (report.directory / "T-1.log").read_text()
    assert f"not read before it is unpacked: {upload} " in log
    assert not any(line.startswith(READ_EARLY) for line in listener.told)
    # what was told before is told again, as it counts only now
    assert sum(line.startswith("BUG: kernel NULL pointer") for line in listener.told) == 2
    assert not any(TOLD_BY_PIECES in remark for remark in report.remarks)


@pytest.mark.long
def test_a_damaged_piece_that_was_not_read_leaves_what_the_others_told(
    site_a: Site, tmp_path: Path, vmcore: Path, listener: Listener
) -> None:
    frames = vmcore.stat().st_size // FRAME_BYTES
    upload = seekable_zstd(vmcore, tmp_path / "vmcore.zst", flaw_at=frames // 2)
    report = run(upload, site_a, listener)
    require_damaged(report)
    (told,) = [remark for remark in report.remarks if TOLD_BY_PIECES in remark]
    assert "in cas_balance [cas_oops] at drivers/cas/cas_oops.c:63" in told
