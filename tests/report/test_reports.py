"""report.txt, report.html and result.json."""

from __future__ import annotations

import hashlib
import json
import re
import tracemalloc
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sample_report import known_report, sample_report

from cas.choices import Cause, DetectorStatus, Verdict, Weight
from cas.errors import CasError, JobFailed
from cas.klog.troubles import Trouble
from cas.model.code import Frame, Instruction, SourceLines
from cas.model.dump import Missing, Registers, Stored
from cas.model.evidence import Detection, Evidence
from cas.model.fault import Fault
from cas.model.finding import Culprit, Finding, LogEvent, Machine
from cas.model.occurrence import Newest, Occurrences, Seen, Tally
from cas.model.report import Report
from cas.report.html import render_html
from cas.report.plain import render_text
from cas.report.report import write_report
from cas.report.result import load
from cas.report.screen import Row, in_full, screen
from cas.report.section_order import BY_USE, by_use
from cas.report.seen_before import seen_on, seen_phrases
from cas.report.summary import summary

CUT = Missing("declares 8.0 GiB, data ends at 3.2 GiB (40 %)", 3_435_973_836, Cause.CUT)
HOSTILE = (
    "\x1b]0;owned\x07<script>alert(1)</script>\u202e\x9b31m\udcff&"
    "\r\x7f\u061c\u2028\u200b\ufeff\ud800"
)
RESULT_KEYS = """
    version verdict stage reason hint offset limits_hit engine ladder kernel evidence dump answer
    recovered customer_note missing remarks parts sidecars registers
    finding sections signature similar summary seconds ticket directory server started upload mail
"""
HARMFUL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return sample_report(tmp_path)


def _seen(name: str) -> Seen:
    names = Newest(9, (name,))
    once = Occurrences(1, datetime(2026, 11, 21, tzinfo=UTC), names, names, names)
    return Seen(once, once, (name,))


def hostile(report: Report) -> Report:
    """The report of a dump that puts harmful text wherever it can."""
    assert report.finding and report.answer and report.dump and report.match
    for name in ("traceback", "log", "ps"):
        (report.directory / name).write_bytes(HOSTILE.encode("utf-8", "surrogatepass") * 3)
    frames = (Frame(HOSTILE, kmod=HOSTILE, file=HOSTILE, line=1),)
    finding = Finding(
        *(HOSTILE,) * 7,
        next_steps=(HOSTILE,),
        signature=None,
        seen=_seen(HOSTILE),
        title=HOSTILE,
        before=(LogEvent(HOSTILE, HOSTILE, 2, where=HOSTILE, began_before_s=9, ended_before_s=1),),
        culprit=Culprit(frames, HOSTILE),
        machine=Machine(HOSTILE, HOSTILE, HOSTILE),
    )
    evidence = tuple(Evidence(*(HOSTILE,) * 3, weight, (HOSTILE,)) for weight in Weight)
    return replace(
        report,
        verdict=Verdict.PARTIAL,
        ladder=(HOSTILE, HOSTILE),
        reason=HOSTILE,
        hint=HOSTILE,
        limits_hit=(HOSTILE,),
        server=HOSTILE,
        recovered=(HOSTILE,),
        customer_note=f"{HOSTILE}\n\n{HOSTILE}",
        stored=Stored(
            Path(HOSTILE),
            (Path(HOSTILE),),
            (Path(HOSTILE) / HOSTILE,),
            (Missing(HOSTILE, 1),),
            (HOSTILE,),
        ),
        finding=finding,
        detections=(Detection(HOSTILE, HOSTILE, DetectorStatus.FAILED, evidence, HOSTILE),),
        fault=Fault(
            HOSTILE,
            evidence=evidence,
            registers={HOSTILE: 1},
            registers_from=HOSTILE,
            meanings={HOSTILE: HOSTILE},
            code=(Instruction(1, HOSTILE, HOSTILE, HOSTILE, 1, is_fault=True),),
            code_from=HOSTILE,
            source=SourceLines(HOSTILE, 1, 1, (HOSTILE,), HOSTILE),
            problems=(HOSTILE,),
        ),
        answer=replace(report.answer, backtrace=frames, problems=(HOSTILE,)),
        dump=replace(
            report.dump,
            **dict.fromkeys(("osrelease", "arch", "build_id", "format", "compression"), HOSTILE),
            missing=(Missing(HOSTILE),),
            remarks=(HOSTILE,),
            registers=(Registers(0, 1, {HOSTILE: 1}),),
        ),
        sections=tuple(
            replace(section, **dict.fromkeys(("title", "error"), HOSTILE))
            for section in report.sections
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


def test_known_issues_come_first_and_leave_room_for_the_verdict(tmp_path: Path) -> None:
    report = known_report(tmp_path, 9)
    lines = screen(summary(report)).splitlines()
    assert lines[3] == (
        "Known issue - issue 1: Update it; fixed in 6.1.91; https://example.com/?a=1&b=2"
    )
    assert len(lines) <= 24
    assert any(line.startswith("What ") for line in lines)
    text, page = render_text(report), render_html(report)
    assert "- issue 5: " in text and "- issue 6: " not in text
    assert "- and 4 more in result.json" in text
    assert page.index("issue 9") < page.index('<dl class="facts">')
    write_report(report)
    read = load(tmp_path).finding
    assert read and [issue.name for issue in read.known] == [f"issue {n}" for n in range(1, 10)]


def test_the_verdict_fits_one_screen(report: Report) -> None:
    lines = screen(summary(report)).splitlines()
    labels = [line[:12].strip() for line in lines[2:] if line[:12].strip()]
    assert labels == [
        *("Title", "Verdict", "What", "Where", "Task", "When"),
        *("Sure", "Seen before", "Next", "Go on"),
    ]
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_a_row_that_makes_room_keeps_its_first_text_whole(report: Report) -> None:
    assert report.finding
    held = "cat (pid 47) is blocked in read for 7.1 s, waiting for mutex mb of dd (pid 48), asleep"
    around = (Evidence(text, "", "bt", Weight.CONTEXT) for text in (held, *["word " * 40] * 3))
    steps = ("look at the first " * 5, "look at the second " * 5, "look at the third " * 5)
    found = Detection("blocked", "Blocked", DetectorStatus.OK, tuple(around))
    finding = replace(report.finding, next_steps=steps)
    text = screen(summary(replace(report, finding=finding, detections=(found,))))
    assert len(text.splitlines()) <= 24
    told = " ".join(text.split())
    assert f"Besides - {held} (see: bt)" in told
    assert steps[0].strip() in told and steps[1].strip() in told


def test_a_command_to_type_stands_on_one_line() -> None:
    command = "(see: dis -rl cas_sum_entries+0x18)"
    for width in range(70):
        assert command in in_full(Row("Evidence", (f"{'x' * width} {command}",)))


def test_a_module_that_was_loaded_while_the_machine_started_is_not_on_the_first_screen(
    report: Report,
) -> None:
    def before(last_s: float) -> bool:
        event = LogEvent(
            kind=Trouble.KMOD,
            text="demo: loading out-of-tree module taints kernel.",
            count=1,
            is_flood=False,
            first_s=last_s,
            last_s=last_s,
            began_before_s=5.0,
            ended_before_s=5.0,
            where=None,
            line=3,
        )
        assert report.finding
        told = replace(report, finding=replace(report.finding, before=(event,)))
        assert "Before the crash\n" in render_text(told)
        return "\nBefore " in screen(summary(told))

    assert not before(2.2)
    assert before(9000.0)


def test_a_job_that_waits_tells_once_which_kernel(report: Report) -> None:
    assert report.finding and report.dump
    steps = (f"needed: the debuginfo package of {report.dump.build_id}", "read the log")
    finding = replace(report.finding, next_steps=steps)
    waiting = replace(report, finding=finding, verdict=Verdict.WAITING, hint="get k.rpm")
    assert summary(waiting).next_steps == ("get k.rpm", "read the log")
    assert summary(replace(waiting, hint=None)).next_steps == steps


def test_a_verdict_with_too_much_to_say_is_cut_and_told_in_full_below(report: Report) -> None:
    assert report.finding
    steps = tuple(f"step {number} " + "word " * 60 for number in range(9))
    long = replace(report, finding=replace(report.finding, next_steps=steps, kmods="m " * 900))
    lines = screen(summary(long)).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert any(line.endswith("…") for line in lines)
    assert "step 8" in render_text(long)


def test_the_report_opens_with_the_verdict_and_then_tells_the_backtrace(report: Report) -> None:
    text = render_text(report)
    assert text.index("Verdict     complete") < text.index("Backtrace") < text.index("Backtraces (")
    assert "=> #1   balance [demo] at demo.c:62 (inlined)\n" in text
    assert (
        "Seen before - the same dump as T-7 (signature 0123456789abcdef)\n"
        "            - the same crash 12 times since 2026-11-21, in 4 tickets: T-1187,\n"
        "              T-1101 and 2 more; hosts db1, db2, db3 and 2 more; kernel 6.1.0\n"
    ) in text


def test_whether_it_was_seen_is_told_in_words_that_promise_no_more(report: Report) -> None:
    assert report.finding and report.finding.seen
    found, signature = report.finding.seen, f"(signature {report.finding.signature})"
    once = replace(found.same or _seen("T-9").similar, count=1, kernels=Newest(), hosts=Newest())
    told = {
        Seen(): (f"no {signature}",),
        Seen(uncompared=12): (
            f"no {signature}",
            "not compared with 12 jobs of an earlier version: cas-admin reprocess all",
        ),
        Seen(similar=once): (
            "a similar one, of the same title, once, on 2026-11-21, in 4 tickets: T-1187, T-1101 "
            f"and 2 more {signature}",
        ),
        Seen(same_dump=("T-7",)): (f"the same dump as T-7 {signature}",),
        Seen(same_dump=("T-7",), same_log=("T-6",)): (
            f"the same dump as T-7 {signature}",
            "the same kernel log as T-6",
        ),
        None: (f"unknown: it could not be looked up {signature}",),
    }
    for state, words in told.items():
        assert seen_phrases(replace(report.finding, seen=state)) == words
    # a deliberate crash, an NMI: whatever the machine was doing
    tally = Tally("db1", 3, report.started, signatures=2, hosts=1, same_bios=3)
    state = Seen(host=tally, model=replace(tally, name="Dell R740", count=5, hosts=4, same_bios=2))
    machine = Machine("Dell R740", "2.10", "11/12/2020")
    assert seen_on(replace(report.finding, seen=state, machine=machine)) == (
        "db1 crashed 3 other times since 2026-11-21 (2 signatures)",
        "machines of this model (Dell R740) crashed 5 other times since 2026-11-21 (2"
        " signatures), on 4 machines; 2 of them with BIOS 2.10",
    )
    once = Seen(host=Tally("db1", 1, report.started, signatures=0, hosts=1))
    assert seen_on(replace(report.finding, seen=once)) == (
        "db1 crashed one other time, on 2026-11-21",
    )
    unnamed = replace(report.finding, signature=None, seen=Seen())
    assert seen_phrases(unnamed)[0].startswith(
        "unknown: no code is at fault, or it is not known surely enough"
    )
    again = replace(unnamed, seen=Seen(same_dump=("T-7", "T-6", "T-5", "T-4")))
    assert seen_phrases(again) == ("the same dump as T-7, T-6, T-5 and 1 more",)
    assert seen_phrases(again, is_log=True) == ("the same kernel log as T-7, T-6, T-5 and 1 more",)


def test_the_trace_of_another_task_comes_before_the_panic_tasks_backtrace(report: Report) -> None:
    assert report.finding
    blocked = replace(report.finding, trace=(Frame("schedule", 1), Frame("demo_wait", 2)))
    hung = replace(report, finding=blocked)
    text = render_text(hung)
    titles = ("Trace in the kernel log", "demo_wait+0x2", "Backtrace of the task that panicked")
    assert sorted(titles, key=text.index) == list(titles)
    assert render_html(hung).index("demo_wait+0x2") < render_html(hung).index('id="backtrace"')


def test_long_sections_are_cut_and_their_file_is_named(report: Report) -> None:
    text = render_text(report)
    assert "task 200\n… 300 more lines in ps (4.3 KiB in all)\n" in text
    assert "task 201" not in text


def test_of_a_kernel_log_the_end_is_shown(report: Report) -> None:
    text = render_text(report)
    assert "… 300 earlier lines in log (4.3 KiB in all)\nline 301\n" in text
    assert "line 500\n" in text


def test_a_section_that_did_not_run_says_why(report: Report) -> None:
    section = replace(
        report.sections[0], status="timeout", error="bt: over 60 s", path=Path("/nowhere/x")
    )
    text = render_text(replace(report, sections=(section,)))
    assert "Backtraces (traceback: timeout, crash, 0.3 s: bt: over 60 s)" in text


def test_a_waiting_job_reports_the_log_of_the_dump(report: Report) -> None:
    waiting = replace(
        report,
        verdict=Verdict.WAITING,
        reason="no debuginfo",
        hint="get it",
        sections=(),
        answer=None,
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
    assert load(tmp_path).kernel is None


def salvaged(report: Report) -> Report:
    """A job on a damaged dump that no debugger could open."""
    assert report.dump
    return replace(
        report,
        verdict=Verdict.PARTIAL,
        answer=None,
        sections=(),
        recovered=("release and build-id", "kernel log (1,234 lines, to 812.4 s)"),
        customer_note="Thank you.\n\nIt is not complete: " + "word " * 30,
        dump=replace(
            report.dump,
            missing=(CUT,),
            registers=(Registers(0, 27, {"rip": 0xFFFFFFFF81000000, "rsp": 16}),),
        ),
        stored=Stored(
            report.dump.path,
            sidecars=(report.directory / "sidecars" / "dmesg.txt",),
            missing=(Missing("gzip data is cut", 77, Cause.WRAPPING),),
            remarks=("5 bytes behind the end",),
        ),
    )


def test_a_damaged_dump_is_told_in_the_text_report(report: Report) -> None:
    text = render_text(salvaged(report))
    for told in (
        "Recovered   release and build-id, kernel log (1,234 lines, to 812.4 s)\n",
        "- the upload: gzip data is cut, from byte 77 on\n- 5 bytes behind the end\n",
        "To the customer\n" + "-" * 80 + "\nThank you.\n\nIt is not complete: word",
        "- sidecars/dmesg.txt\n",
        "CPU 0, pid 27\n     rip ffffffff81000000      rsp 0000000000000010\n",
    ):
        assert told in text
    assert "ends at 3.2 GiB (40 %), from byte 3,435,973,836 on" in " ".join(text.split())
    lines = text.partition("Came with")[0].splitlines()
    assert max(len(line) for line in lines if not line.startswith("Location: ")) <= 80


def test_a_damaged_dump_is_told_in_the_page(report: Report) -> None:
    text = render_html(salvaged(report))
    page = Page(text)
    assert {"#sidecars", "#registers"} <= set(page.values("href"))
    assert {"customer", "sidecars", "registers"} <= set(page.values("id"))
    assert "<p>Thank you.</p>\n<p>It is not complete: word" in text
    assert "from byte 3,435,973,836 on" in text


def test_registers_are_shown_only_where_no_debugger_shows_them(report: Report) -> None:
    saved = salvaged(report)
    debugged = replace(saved, answer=report.answer, sections=report.sections)
    assert "ffffffff81000000" in render_text(saved)
    assert "ffffffff81000000" not in render_text(debugged)
    own = (replace(report.sections[0], engine="salvage"),)
    assert "ffffffff81000000" in render_text(replace(saved, sections=own))


def test_result_json_carries_the_damage(report: Report) -> None:
    write_report(salvaged(report))
    result = load(report.directory)
    assert [(lack.what, lack.offset, lack.cause) for lack in result.missing] == [
        ("gzip data is cut", 77, Cause.WRAPPING),
        (CUT.what, CUT.offset, Cause.CUT),
    ]
    assert result.remarks == ("5 bytes behind the end",)
    assert result.sidecars == ("dmesg.txt",)
    values = {"rip": "0xffffffff81000000", "rsp": "0x10"}
    (registers,) = result.registers
    assert (registers.cpu, registers.pid, registers.values) == (0, 27, values)
    assert result.recovered[0] == "release and build-id"
    assert (result.customer_note or "").startswith("Thank you.")


@pytest.mark.parametrize("lack", ["none (there is no bwrap)", "bwrap; no filter of system calls"])
def test_a_sandbox_that_is_not_there_or_lacks_something_is_told(report: Report, lack: str) -> None:
    for text in (render_text, render_html):
        assert f"sandbox of the debuggers: {lack}" in text(replace(report, sandbox=lack))
        assert "sandbox of" not in text(replace(report, sandbox="bwrap"))
        silent = replace(report, sandbox=lack, answer=None, sections=())
        assert "sandbox of" not in text(silent)


def test_a_whole_dump_has_no_word_for_the_customer(report: Report) -> None:
    assert "To the customer" not in render_text(report)
    assert "To the customer" not in render_html(report)


def test_a_section_of_any_size_costs_little_memory_and_its_size_is_told(report: Report) -> None:
    section = report.sections[0]
    with section.path.open("wb") as file:
        file.write(b"first\n")
        file.truncate(256 << 20)
    tracemalloc.start()
    text = render_text(replace(report, sections=(section,)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20
    assert "first\n… 1 more line in traceback (256.0 MiB in all)\n" in text


@pytest.mark.parametrize("name", ["traceback", "log"])
def test_long_lines_are_cut_and_their_file_is_named(report: Report, name: str) -> None:
    (section,) = (section for section in report.sections if section.name == name)
    section.path.write_bytes(b"x" * 5_000_000)
    text = render_text(replace(report, sections=(section,)))
    assert "x" * 2000 + " … (cut after 2,000)\n" in text.replace("… the whole lines", "\n")
    assert f"… the whole lines are in {name} (4.8 MiB in all)" in text
    assert len(text) < 8000


def test_an_error_as_long_as_a_debuggers_output_is_cut_everywhere(report: Report) -> None:
    long = "e" * 5_000_000
    sections = tuple(replace(section, error=long) for section in report.sections)
    assert report.dump and report.answer
    dump = replace(report.dump, panic_message=long)
    answer = replace(report.answer, panic_message=long)
    broken = replace(report, verdict=Verdict.PARTIAL, reason=long, dump=dump, answer=answer)
    write_report(replace(broken, sections=sections))
    for name in ("report.txt", "report.html", "result.json"):
        assert (report.directory / name).stat().st_size < 1 << 20


def test_evidence_stands_on_the_first_screen_of_every_form_with_its_command(
    report: Report,
) -> None:
    cause = Evidence(
        "mb is held by itself", "mb+0x0", "struct mutex mb", Weight.CAUSE, ("at a.c:1",)
    )
    around = tuple(Evidence(f"task {n} waits", "", f"bt {n}", Weight.CONTEXT) for n in range(9))
    found = Detection("locks", "Locks", DetectorStatus.OK, (*around, cause), "looked at 9 of 10")
    told = replace(report, detections=(found,))
    lines = screen(summary(told)).splitlines()
    assert len(lines) <= 24
    assert "Evidence    mb is held by itself (see: struct mutex mb)" in lines
    assert any(line.startswith("Besides     - task 0 waits (see: bt 0)") for line in lines)
    text, page = render_text(told), render_html(told)
    assert "- mb is held by itself\n  mb+0x0; to see it: struct mutex mb\n    at a.c:1\n" in text
    assert "- Locks: looked at 9 of 10" in text and "<li>Locks: looked at 9 of 10</li>" in page
    first = page.partition('<section class="box next"')[0]
    assert '<code class="command">struct mutex mb</code>' in first
    assert first.index("task 3 waits") < first.index("and 5 more") < first.index("task 4 waits")
    write_report(told)
    read = load(report.directory).summary
    assert read and {fact.label: fact.points[0].command for fact in read.facts}["Evidence"] == (
        "struct mutex mb"
    )


def test_harmful_text_is_escaped_in_the_text_report(report: Report) -> None:
    text = render_text(hostile(report))
    assert not HARMFUL.search(text)
    text.encode()
    assert "\\x1b]0;owned\\x07" in text
    assert "\\xff" in text


def test_harmful_text_is_escaped_in_the_page(report: Report) -> None:
    text = render_html(hostile(report))
    assert not HARMFUL.search(text)
    text.encode()
    assert "script" not in Page(text).tags
    assert "&lt;script&gt;" in text


def test_the_page_needs_nothing_from_elsewhere(report: Report) -> None:
    text = render_html(report)
    page = Page(text)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form"}
    assert not page.values("src")
    # within the page, to the files beside it, and to other jobs' directories
    assert all(value and value.startswith(("#", "./", "../../")) for value in page.values("href"))
    assert [value for value in page.values("href") if value and value.startswith("./")] == [
        *("./log", "./traceback", "./ps")
    ]
    assert "url(" not in text
    assert "@import" not in text


def test_a_long_word_of_any_text_is_broken_where_the_window_is_narrow(report: Report) -> None:
    style = render_html(report).partition("</style>")[0]
    (of_the_page,) = re.findall(r"^body \{(.*?)\}", style, re.M | re.S)
    assert "overflow-wrap: anywhere" in of_the_page
    screen = style.partition("@media print")[0]
    assert not re.findall(r"white-space|overflow-wrap: (?!anywhere)|min-width: *\d", screen)


def test_the_page_leads_to_every_section(report: Report) -> None:
    page = Page(render_html(report))
    targets = [value for value in page.values("href") if value and value.startswith("#")]
    assert targets[:2] == ["#backtrace", "#kernel-log"]
    assert targets[-2:] == ["#section-traceback", "#section-ps"]
    assert {value.removeprefix("#") for value in targets} <= set(page.values("id"))


def test_the_page_may_use_its_own_style_and_nothing_else(report: Report) -> None:
    text = render_html(report)
    (policy,) = re.findall(r'"Content-Security-Policy" content="(.*?)"', text)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.S)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert dict(part.split(" ", 1) for part in policy.split("; ")) == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    names = {name for name, _ in Page(text).attributes}
    assert not [name for name in names if name == "style" or name.startswith("on")]


def test_other_jobs_are_linked_by_whole_names(report: Report) -> None:
    assert report.finding and report.finding.seen
    seen = replace(report.finding.seen, same_dump=("T-1/2026.11.20.01.02.03", "T-11"))
    text = render_html(replace(report, finding=replace(report.finding, seen=seen)))
    links = [value for value in Page(text).values("href") if value and value.startswith("..")]
    assert links == [
        *("../../T-1/2026.11.20.01.02.03/report.html", "../../T-11/"),
        *("../../T-1187/", "../../T-1101/"),
    ]
    assert '<a href="../../T-11/">T-11</a> (signature' in text


def test_the_code_at_fault_is_marked_and_what_is_above_it_folded(report: Report) -> None:
    text = render_html(report)
    above, _, rest = text.partition('<section id="backtrace">')[2].partition("</details>")
    assert '<details class="machinery">' in above and "kernel/panic.c" in above  # and not open
    marked = re.findall(r'class="culprit"><span class="number">#(\d)</span> (.*?)</li>', rest)
    assert marked == [
        ("1", "balance [demo] at demo.c:62 (inlined)"),
        ("2", 'sum_entries+0x13 [demo] <strong class="role">at fault</strong>'),
    ]
    assert 'class="caller"><span class="number">#3</span> kthread' in rest


def test_a_stack_that_the_verdict_is_not_about_has_no_mark(report: Report) -> None:
    assert report.finding
    innocent = Culprit((Frame("nowhere"),), "at fault")
    text = render_html(replace(report, finding=replace(report.finding, culprit=innocent)))
    assert 'class="culprit"' not in text and 'class="machinery"' not in text
    assert "#3" in text


def test_sections_come_by_use_and_a_sites_own_come_last(report: Report) -> None:
    names = ("zoo", "sys", "ps", "log", "aaa", "traceback", "memory")
    some = [replace(report.sections[0], name=name) for name in names]
    expected = ["traceback", "log", "ps", "memory", "sys", "aaa", "zoo"]
    assert [section.name for section in by_use(some)] == expected


def test_every_shipped_snippet_has_its_place() -> None:
    shipped = {path.name for path in (Path(__file__).parents[2] / "snippets/crash").iterdir()}
    assert shipped - {"prelude"} == set(BY_USE) - {"dmesg"}


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
    written = (report.directory / "result.json").read_bytes()
    assert written.isascii()
    assert b"\x7f" not in written
    finding = load(report.directory).finding
    assert finding
    assert finding.what == HOSTILE


def test_reports_are_for_their_owner_only_and_nothing_else_is_left(report: Report) -> None:
    write_report(report)
    names = {path.name for path in report.directory.iterdir()}
    assert names == {"traceback", "log", "ps", "report.txt", "report.html", "result.json"}
    for name in ("report.txt", "report.html", "result.json"):
        assert (report.directory / name).stat().st_mode & 0o777 == 0o600


def test_a_directory_that_is_gone_is_said(report: Report) -> None:
    with pytest.raises(CasError, match=r"cannot write .*report\.txt: No such file"):
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
