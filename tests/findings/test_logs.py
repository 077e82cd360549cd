"""Small logs whose right answer is known, through the entry that stays for whoever measures.

``logs/expected.tsv``: file, kinds, functions, and what must not be said: regular expressions on
what, where and task, a line each, or ``same signature as FILE``, ``other signature than FILE``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cas import model
from cas.findings.crash import crash_of
from cas.findings.finding import find
from cas.findings.outline import Backtrace, outline, read_backtrace
from cas.panic import panic_message

LOGS = Path(__file__).parent / "logs"
ROWS = [
    line.split("\t")
    for line in (LOGS / "expected.tsv").read_text("utf-8").splitlines()
    if not line.startswith("#")
]


@cache
def judged(name: str) -> dict[str, Any]:
    stack = LOGS / name.replace(".log", ".stack")
    backtrace = read_backtrace(stack.read_text().splitlines()) if stack.exists() else None
    return outline((LOGS / name).read_text("utf-8"), backtrace)


def function_names(told: dict[str, Any]) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", f"{told['what']} {told['where']}"))


@pytest.mark.parametrize(("name", "kinds", "functions", "must_not"), ROWS)
def test_a_log_is_judged_rightly(name: str, kinds: str, functions: str, must_not: str) -> None:
    told = judged(name)
    assert told["kind"] in kinds.split("|")
    if functions:
        assert function_names(told) & set(functions.split("|"))
    for rule in filter(None, must_not.split("; ")):
        if other := re.match(r"(same|other) signature (?:as|than) (\S+)", rule):
            is_same = told["signature"] == judged(other[2])["signature"]
            assert is_same is (other[1] == "other"), rule
        else:
            said = f"{told['what']}\n{told['where']}\n{told['task']}"
            assert not re.search(rule, said), rule


def test_every_log_has_a_right_answer() -> None:
    assert {row[0] for row in ROWS} == {path.name for path in LOGS.glob("*.log")}


def test_the_entry_prints_the_same_as_json() -> None:
    log = LOGS / "kfree-caller-stack-a.log"
    done = subprocess.run(
        [sys.executable, "-m", "cas.findings", log, "--stack", log.with_suffix(".stack"), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == judged(log.name)


@pytest.mark.parametrize("name", ["kfree-caller.log", "kfree-caller-stack-a.log"])
def test_what_others_measure_by_has_its_names_and_parameters(name: str) -> None:
    """A harness outside of this repository calls these functions and makes these values itself."""
    text, told = (LOGS / name).read_text("utf-8"), judged(name)
    message = panic_message(text)
    dump = model.Dump(
        path=Path("vmcore"),
        format="ELF",
        size_bytes=len(text),
        arch="x86_64",
        dmesg=text,
        panic_message=message,
    )
    first, stack = None, (LOGS / name).with_suffix(".stack")
    if stack.exists():
        frames, task = read_backtrace(stack.read_text().splitlines())
        first = model.FirstAnswer(
            backtrace=tuple(
                model.Frame(each.function, offset=each.offset, kmod=each.kmod, inlined=each.inlined)
                for each in frames
            ),
            dmesg=text,
            panic_message=message,
            panic_task=model.Task(task.pid, task.comm, task.cpu) if task else None,
        )
    crash, finding = crash_of(dump, first), find(dump, first, None)
    assert str(crash.kind) == told["kind"]
    said = (finding.what, finding.where, finding.who, finding.signature)
    assert said == tuple(told[key] for key in ("what", "where", "task", "signature"))
    assert [(each.function, each.kmod, each.inlined) for each in crash.frames] == [
        (frame["function"], frame["kmod"], frame["inlined"]) for frame in told["frames"]
    ]


def test_the_entry_names_a_file_that_is_not_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cas.findings", "/nowhere/dmesg"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "! /nowhere/dmesg cannot be read: No such file or directory\n"


def test_a_log_without_a_crash_is_of_a_running_system_with_its_warnings_before() -> None:
    told = judged("warning-of-a-running-kernel.log")
    assert told["state"] == "running system"
    assert [event["kind"] for event in told["before"]] == ["warning"]


def test_what_is_passed_over_stays_visible_with_its_reason() -> None:
    passed = judged("kfree-caller.log")["passed"]
    assert [(frame["function"], frame["why"]) for frame in passed] == [
        ("kfree", "memory"),
        ("kfree_skb", "list"),
    ]


@pytest.mark.parametrize(
    ("line", "function", "kmod"),
    [
        ("kfree", "kfree", None),
        ("detect_lockup [hpsa]", "detect_lockup", "hpsa"),
        ("f+0x1c/0x40 [m-a]", "f", "m_a"),
        (
            "#3 [ffffb1f0c0a7fd28] sysrq_handle_crash at ffffffff8167b2a6",
            "sysrq_handle_crash",
            None,
        ),
        ("#4 [ffffb1f0c0a7fd28] xfs_read at ffffffffc067b2a6 [xfs]", "xfs_read", "xfs"),
    ],
)
def test_a_backtrace_is_read_in_several_forms(line: str, function: str, kmod: str | None) -> None:
    frame = read_backtrace([line]).frames[0]
    assert (frame.function, frame.kmod) == (function, kmod)


def test_the_task_of_a_backtrace_is_read() -> None:
    task = read_backtrace(["task 12 my task 3"]).task
    assert task is not None
    assert (task.pid, task.comm, task.cpu) == (12, "my task", 3)
    assert read_backtrace([]) == Backtrace()
