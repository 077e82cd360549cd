"""report.txt, report.html and result.json."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sample_report import sample_report

from cas.errors import JobFailed
from cas.model import Finding, Frame, Missing, Report
from cas.report.html import render_html
from cas.report.plain import render_text
from cas.report.report import write_report
from cas.report.result import load
from cas.report.screen import screen

HOSTILE = "\x1b]0;owned\x07<script>alert(1)</script>\u202e\x9b31m\udcff&"
RESULT_KEYS = """
    version verdict stage reason hint offset limits_hit engine ladder kernel evidence dump answer
    finding sections signature similar seconds ticket directory server started upload mail
"""
HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return sample_report(tmp_path)


def hostile(report: Report) -> Report:
    """The report of a dump that puts harmful text wherever it can."""
    assert report.finding and report.answer and report.dump and report.match
    for name in ("traceback", "log", "ps"):
        (report.directory / name).write_bytes(HOSTILE.encode("utf-8", "surrogateescape") * 3)
    finding = Finding(*(HOSTILE,) * 7, next_steps=(HOSTILE,), signature=None, similar=(HOSTILE,))
    frames = (Frame(HOSTILE, kmod=HOSTILE, file=HOSTILE, line=1),)
    return replace(
        report,
        verdict="partial",
        reason=HOSTILE,
        hint=HOSTILE,
        limits_hit=(HOSTILE,),
        finding=finding,
        answer=replace(report.answer, backtrace=frames, problems=(HOSTILE,)),
        dump=replace(report.dump, osrelease=HOSTILE, missing=(Missing(HOSTILE),)),
        sections=tuple(
            replace(section, title=HOSTILE, error=HOSTILE) for section in report.sections
        ),
    )


class Page(HTMLParser):
    """Tags, attributes and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def values(self, name: str) -> list[str | None]:
        return [value for key, value in self.attributes if key == name]


def test_the_verdict_fits_one_screen(report: Report) -> None:
    lines = screen(report).splitlines()
    labels = [line[:12].strip() for line in lines[2:] if line[:12].strip()]
    assert labels == [
        *("Verdict", "What", "Where", "Task", "When", "Taint", "Modules", "Kernel", "Dump"),
        *("Sure", "Seen before", "Next"),
    ]
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_a_verdict_with_too_much_to_say_is_cut_and_told_in_full_below(report: Report) -> None:
    assert report.finding
    steps = tuple(f"step {number} " + "word " * 60 for number in range(9))
    long = replace(report, finding=replace(report.finding, next_steps=steps, kmods="m " * 900))
    lines = screen(long).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert any(line.endswith("…") for line in lines)
    assert "step 8" in render_text(long)


def test_the_report_opens_with_the_verdict_and_then_tells_the_backtrace(report: Report) -> None:
    text = render_text(report)
    assert text.index("Verdict     complete") < text.index("Backtrace") < text.index("Backtraces (")
    assert "#1   balance [demo] at demo.c:62 (inlined)" in text
    assert "T-1187, T-1101 (signature 0123456789abcdef)" in text


def test_long_sections_are_cut_and_their_file_is_named(report: Report) -> None:
    text = render_text(report)
    assert "task 200\n… 300 more lines in ps\n" in text
    assert "task 201" not in text


def test_of_a_kernel_log_the_end_is_shown(report: Report) -> None:
    text = render_text(report)
    assert "… 300 earlier lines in log\nline 301\n" in text
    assert "line 500\n" in text


def test_a_section_that_did_not_run_says_why(report: Report) -> None:
    section = replace(
        report.sections[0], status="timeout", error="bt: over 60 s", path=Path("/nowhere/x")
    )
    text = render_text(replace(report, sections=(section,)))
    assert "Backtraces (traceback: timeout, crash, 0.3 s: bt: over 60 s)" in text


def test_a_waiting_job_reports_the_log_of_the_dump(report: Report) -> None:
    waiting = replace(
        report, verdict="waiting", reason="no debuginfo", hint="get it", sections=(), answer=None
    )
    text = render_text(waiting)
    assert "Verdict     waiting: no debuginfo" in text
    assert "Next        - get it" in text
    assert "Kernel log\n----------\nsecret line of the log" in text


def test_a_job_that_failed_at_once_has_a_report(tmp_path: Path, report: Report) -> None:
    failed = Report(
        "T-1", tmp_path, Path("x"), "s", report.started, "failed", "received", reason="not a dump"
    )
    write_report(failed)
    assert "failed: not a dump" in (tmp_path / "report.txt").read_text()
    assert load(tmp_path)["kernel"] is None


def test_harmful_text_is_escaped_in_the_text_report(report: Report) -> None:
    text = render_text(hostile(report))
    assert not HARMFUL.search(text)
    assert "\\x1b]0;owned\\x07" in text
    assert "\\xff" in text


def test_harmful_text_is_escaped_in_the_page(report: Report) -> None:
    text = render_html(hostile(report))
    assert not HARMFUL.search(text)
    assert "script" not in Page(text).tags
    assert "&lt;script&gt;" in text


def test_the_page_needs_nothing_from_elsewhere(report: Report) -> None:
    text = render_html(report)
    page = Page(text)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form"}
    assert not page.values("src")
    assert all(value and value.startswith("#") for value in page.values("href"))
    assert "url(" not in text
    assert "@import" not in text


def test_the_page_leads_to_every_section(report: Report) -> None:
    page = Page(render_html(report))
    targets = [f"#{value}" for value in page.values("id")]
    assert page.values("href") == ["#backtrace", "#remarks", *targets[2:]]
    assert len(targets) == 5


def test_section_files_stay_bit_exact(report: Report) -> None:
    harmful = hostile(report)
    before = {path: path.read_bytes() for path in report.directory.iterdir()}
    write_report(harmful)
    assert {path: path.read_bytes() for path in before} == before


def test_result_json_has_every_key(report: Report) -> None:
    write_report(report)
    result = json.loads((report.directory / "result.json").read_text())
    assert set(RESULT_KEYS.split()) <= set(result)
    assert result["version"] == 1
    assert result["mail"] is None
    assert result["started"] == "2026-11-21T08:41:20+00:00"
    assert result["kernel"]["package"] == "/srv/k.rpm"
    assert result["sections"][0]["status"] == "ok"
    assert result["similar"] == ["T-1187", "T-1101"]


def test_result_json_carries_no_kernel_log(report: Report) -> None:
    write_report(report)
    assert "secret line" not in (report.directory / "result.json").read_text()


def test_result_json_is_ascii_and_gives_back_the_exact_text(report: Report) -> None:
    write_report(hostile(report))
    assert (report.directory / "result.json").read_bytes().isascii()
    assert load(report.directory)["finding"]["what"] == HOSTILE


def test_reports_are_for_their_owner_only_and_nothing_else_is_left(report: Report) -> None:
    write_report(report)
    names = {path.name for path in report.directory.iterdir()}
    assert names == {"traceback", "log", "ps", "report.txt", "report.html", "result.json"}
    for name in ("report.txt", "report.html", "result.json"):
        assert (report.directory / name).stat().st_mode & 0o777 == 0o600


def test_a_directory_that_is_gone_is_said(report: Report) -> None:
    with pytest.raises(JobFailed, match=r"cannot write .*report\.txt: No such file"):
        write_report(replace(report, directory=report.directory / "gone"))


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": "x"}', "\x00", "[" * 100_000])
def test_a_damaged_result_is_said(tmp_path: Path, damage: str) -> None:
    (tmp_path / "result.json").write_text(damage)
    with pytest.raises(JobFailed, match=r"result\.json is damaged"):
        load(tmp_path)


def test_a_result_of_a_later_version_is_said(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"version": 99}')
    with pytest.raises(JobFailed, match="version 99"):
        load(tmp_path)


def test_a_job_without_result_was_not_finished(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="not finished"):
        load(tmp_path)
