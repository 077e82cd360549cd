"""Two jobs at once in one process: nothing of a run is the process's."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cas.choices import EngineChoice, Verdict
from cas.engines.drgn.prestart import prestarted
from cas.jobs.new_job import create_job
from cas.jobs.order import Order
from cas.jobs.work_directory import WorkDirectory
from cas.model.report import Report
from cas.progress import Silent
from cas.settings.config import Config
from cas.triage.triage import triage

from installed import FIXTURES, Site

PARTS = {"T-x86": ("a", "6.1.192"), "T-arm": ("arm64", "aarch64")}
"""By ticket: whose dump, and a word that only its log can have."""
STAMPED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC (DEBUG|INFO|WARNING|ERROR) ")


class Heard(Silent):
    """Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def config(site: Site, catalogued: Callable[[Site, str], Site]) -> Config:
    """That of a site with all shipped kernels, whose jobs run through drgn."""
    site.keep_snippets("sys", "traceback")
    found = catalogued(site, ".").world().config
    return replace(found, engine=EngineChoice.DRGN, debug_level="DEBUG")


def run(ticket: str, config: Config, heard: Heard) -> Report:
    (upload,) = (FIXTURES / PARTS[ticket][0]).glob("vmcore*")
    with prestarted(config) as opened:
        order = Order(ticket, upload)
        job = create_job(WorkDirectory(config.work_directory), order, datetime.now(UTC))
        report, error = triage(job, config, heard, opened)
    assert error is None
    return report


def test_each_of_two_jobs_at_once_has_a_log_of_its_own(config: Config) -> None:
    heard = {ticket: Heard() for ticket in PARTS}
    with ThreadPoolExecutor(len(PARTS)) as pool:
        running = {ticket: pool.submit(run, ticket, config, one) for ticket, one in heard.items()}
        reports = {ticket: one.result() for ticket, one in running.items()}
    logs = {ticket: log_of(report.directory, ticket) for ticket, report in reports.items()}
    for ticket, log in logs.items():
        lines = log.splitlines()
        (other,) = set(PARTS) - {ticket}
        assert reports[ticket].verdict in (Verdict.COMPLETE, Verdict.PARTIAL)
        assert PARTS[ticket][1] in log
        assert all(STAMPED.match(line) for line in lines)
        # everything that it said stands there, once
        said = [line for line in heard[ticket].lines if f" {line}" not in log]
        assert not said
        assert log.count("Running ") == log.count("Reading the dump") == 1
        # nothing that only the other one said does
        own = {line for line in heard[other].lines if line not in heard[ticket].lines}
        assert own
        assert not [line for line in own if line in log]
        assert str(reports[other].directory) not in log


def log_of(directory: Path, ticket: str) -> str:
    return (directory / f"{ticket}.log").read_text()
