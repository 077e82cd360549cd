"""Pictures, the log around the crash, and marks on a stack: only what is really there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from sample_report import sample_report

from cas.model.answer import Task
from cas.model.code import Frame
from cas.model.finding import Culprit, LogEvent
from cas.model.report import Report
from cas.report.html import render_html
from cas.report.kernel_log import kernel_log
from cas.report.page import Limits, page
from cas.report.picture import Pictures, pictures, time_line
from cas.report.stack import Part, stacks

PS = """\
  RU: 3
  IN: 18
  UN: 1
  QQ: 2
      PID    PPID  CPU       TASK        ST  %MEM      VSZ      RSS  COMM
>      23       2   1  ffff891d0020d780  RU   0.0        0        0  [kworker/1:1]
"""
RUNQUEUES = """\
CPU 0 RUNQUEUE: ffff891d05a23800
  CURRENT: PID: 0      TASK: ffffffff8960f600  COMMAND: "swapper/0"
 CPU 0: [0 00:00:09.367]  PID: 0      TASK: ffffffff8960f600  COMMAND: "swapper/0"
 CPU 1: [1 02:00:00.000]  PID: 23     TASK: ffff891d0020d780  COMMAND: "kworker/1:1"
"""
MEMORY = """\
                 PAGES        TOTAL      PERCENTAGE
    TOTAL MEM    1000       3.9 MB         ----
         FREE     600       2.3 MB   60% of TOTAL MEM
         USED     400       1.6 MB   40% of TOTAL MEM
       SHARED      10        40 KB    1% of TOTAL MEM
      BUFFERS       0            0    0% of TOTAL MEM
       CACHED     100     400.0 KB   10% of TOTAL MEM
         SLAB     200     800.0 KB   20% of TOTAL MEM
"""
OOPS = [
    "[  300.000000] BUG: kernel NULL pointer dereference, address: 0000000000000018",
    "[  300.000001] #PF: supervisor read access in kernel mode",
    "[  300.000002] Oops: 0000 [#1] SMP",
    "[  300.000003] CPU: 1 PID: 23 Comm: kworker/1:1 Tainted: G O 6.1.0 #1",
    "[  300.000004] RIP: 0010:sum_entries+0x13/0x38 [demo]",
    "[  300.000005] Call Trace:",
    "[  300.000006]  kthread+0x10/0xad",
    "[  300.000007] ---[ end trace 0000000000000000 ]---",
    "[  300.000008] Kernel panic - not syncing: Fatal exception",
]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return sample_report(tmp_path)


def with_sections(report: Report, texts: Mapping[str, str]) -> Report:
    """A report whose sections say something else."""
    sections = []
    for name, text in texts.items():
        path = report.directory / name
        path.write_text(text)
        sections.append(replace(report.sections[0], name=name, path=path, size_bytes=len(text)))
    assert report.dump
    dump = replace(report.dump, page_size=4096)
    return replace(report, sections=tuple(sections), dump=dump)


def test_tasks_processors_and_memory_are_drawn_of_what_the_sections_say(report: Report) -> None:
    told = with_sections(report, {"ps": PS, "runqueues": RUNQUEUES, "memory": MEMORY})
    drawn = pictures(told)
    tasks, memory = drawn.bars
    assert (tasks.whole, memory.whole) == ("24", "3.9 MiB")
    assert [(share.label, share.amount) for share in tasks.shares] == [
        *(("running or ready", "3"), ("uninterruptible", "1"), ("sleeping", "18"), ("QQ", "2")),
    ]
    assert [(share.label, share.amount) for share in memory.shares] == [
        *(("programs and kernel", "400.0 KiB"), ("slab", "800.0 KiB")),
        *(("file cache", "400.0 KiB"), ("free", "2.3 MiB")),
    ]
    assert [(share.left, share.width) for share in memory.shares] == [
        *((0.0, 100.0), (100.0, 200.0), (300.0, 100.0), (400.0, 600.0)),
    ]
    assert [(cpu.number, cpu.task, cpu.span, cpu.is_crash) for cpu in drawn.cpus] == [
        (0, "idle", "9 s", False),
        (1, "kworker/1:1, pid 23", "1 d 2 h", True),
    ]
    text = render_html(told)
    assert text.count("<svg") == text.count("</svg>") > 2


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"ps": "ps: cannot read the tasks\n", "memory": "short read\n", "runqueues": "?\n"},
        {"memory": MEMORY.replace("600 ", "700 ")},
        {"memory": MEMORY.replace("TOTAL MEM    1000", "")},
        {"ps": "  RU: 0\n"},
        {"ps": PS.partition("\n")[2].replace("  ", "x ", 1)},
    ],
    ids=["none", "errors", "no sum", "no total", "nobody", "no counts first"],
)
def test_of_what_is_not_there_or_does_not_add_up_there_is_no_picture(
    report: Report, texts: Mapping[str, str]
) -> None:
    told = with_sections(report, texts)
    assert pictures(told) == Pictures()
    assert 'id="pictures"' not in render_html(told)


def test_the_time_line_has_what_has_a_time_and_ends_with_the_crash(report: Report) -> None:
    assert report.finding
    events = (
        LogEvent("hung task", "task cat:47 blocked", 3, began_before_s=30.0, ended_before_s=10.0),
        LogEvent("I/O error", "I/O error, dev sda", began_before_s=120.0, ended_before_s=120.0),
        LogEvent("taint", "who knows when"),
    )
    line = time_line(replace(report.finding, before=events))
    assert line
    assert (line.begins, line.more) == ("2 min", 1)
    assert [(each.text, each.before, each.left, each.width) for each in line.stretches] == [
        ("I/O error, dev sda", "2 min", 0.0, 0.0),
        ("task cat:47 blocked \N{MULTIPLICATION SIGN}3", "30 s", 750.0, 166.7),
    ]
    assert line.crash == "NULL pointer dereference in balance [demo]"
    for unknown in ((), events[2:], (replace(events[0], began_before_s=0.0),)):
        assert time_line(replace(report.finding, before=unknown)) is None


def log_of(report: Report, lines: list[str]) -> Report:
    return with_sections(report, {"log": "\n".join(lines) + "\n"})


def test_the_kernels_own_report_is_shown_and_its_lines_are_marked(report: Report) -> None:
    before = [f"[  {number}.000000] line {number}" for number in range(100, 200)]
    told = log_of(report, [*before, *OOPS])
    log = kernel_log(told, 50)
    assert log
    assert list(log.oops) == OOPS[:8]
    assert (len(log.lines), log.earlier, log.later) == (50, 59, 0)
    assert [line.text for line in log.lines if line.is_oops] == OOPS
    text = render_html(told)
    (marked,) = (part.partition("</mark>")[0] for part in text.split("<mark>")[1:])
    assert marked.strip("\n").split("\n") == OOPS


def test_an_oops_that_is_far_from_the_end_is_in_what_is_shown(report: Report) -> None:
    behind = [f"[  {number}.000000] line {number}" for number in range(301, 701)]
    before = [f"[  {number}.000000] line {number}" for number in range(100, 200)]
    log = kernel_log(log_of(report, [*before, *OOPS[:-1], *behind]), 100)
    assert log
    assert [line.text for line in log.lines if line.is_oops] == OOPS[:-1] == list(log.oops)
    assert (log.earlier, len(log.lines), log.later) == (60, 100, 348)


def test_of_a_long_log_the_end_is_read_and_the_rest_counted(report: Report) -> None:
    line = f"[    1.000000] {'x' * 985}"
    log = kernel_log(log_of(report, [line] * 3000 + OOPS), 100)
    assert log
    assert log.earlier + len(log.lines) == 3000 + len(OOPS)
    assert list(log.oops) == OOPS[:-1]


def test_a_log_without_a_crash_has_no_report_of_it(report: Report) -> None:
    shown = page(log_of(report, ["[    1.000000] all is well"]), Limits(10))
    assert shown.log and not shown.log.oops
    assert "What the kernel said" not in render_html(log_of(report, ["[    1.000000] well"]))


def test_marks_are_where_the_verdict_points_and_nowhere_else(report: Report) -> None:
    assert report.finding and report.answer
    frames = (Frame("panic", 1), Frame("lock", 2), Frame("user", 3), Frame("main", 4))
    answer = replace(report.answer, backtrace=frames, panic_task=Task(1, "x"))
    culprit = Culprit(frames[2:3], "at fault", inner=frames[1])
    told = replace(report, answer=answer, finding=replace(report.finding, culprit=culprit))
    (stack,) = stacks(told)
    assert [frame.part for frame in stack.frames] == [
        *(Part.MACHINERY, Part.INNER, Part.CULPRIT, Part.CALLER)
    ]
    # where another task's trace of the log counts, the backtrace is nobody's
    other = replace(told.finding, trace=frames[2:]) if told.finding else None
    trace, backtrace = stacks(replace(told, finding=other))
    assert [frame.part for frame in trace.frames] == [Part.CULPRIT, Part.CALLER]
    assert {frame.part for frame in backtrace.frames} == {Part.CALLER} and not backtrace.role


def test_a_recursion_is_one_line(report: Report) -> None:
    assert report.finding and report.answer
    again = Frame("visit", 0x31)
    frames = (Frame("visit", 0x16), *(again,) * 60, Frame("visit_all", 1), again, again)
    answer = replace(report.answer, backtrace=frames)
    finding = replace(report.finding, culprit=Culprit(frames[:1], "recurses"))
    (stack,) = stacks(replace(report, answer=answer, finding=finding))
    assert [(frame.number, frame.text) for frame in stack.frames] == [
        *((0, "visit+0x16"), (1, "visit+0x31 (60 times, to #60)"), (61, "visit_all+0x1")),
        *((62, "visit+0x31"), (63, "visit+0x31")),
    ]


def test_the_backtrace_of_who_only_noticed_is_folded(report: Report) -> None:
    assert report.finding
    other = replace(report.finding, trace=(Frame("wait", 1),), culprit=None)
    aside = render_html(replace(report, finding=other)).partition('id="backtrace"')[0]
    assert aside.rstrip().endswith('<ol class="frames"')
    assert "Backtrace of the task that panicked" in aside.rpartition("<details>")[2]
