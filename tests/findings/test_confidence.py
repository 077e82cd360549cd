"""How sure the choice is, from the facts of a log; how often that is right: bench/verdict.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cas.findings.outline import Backtrace, outline
from cas.model.code import Frame

BENCH = Path(__file__).parents[2] / "bench" / "verdict.py"
TRACE = """\
CPU: 1 PID: 9 Comm: dd Not tainted 6.1.0 #1
Call Trace:
 demo_read+0x1c/0x40 [demo]
 vfs_read+0x1/0x2
"""
FAULT = "BUG: kernel NULL pointer dereference, address: 08\nOops: 0000 [#1] SMP\n"
OOPS = f"{FAULT}RIP: 0010:demo_read+0x1c/0x40 [demo]\n{TRACE}---[ end trace 0000000000000000 ]---\n"
STALL = (
    "rcu: INFO: rcu_sched self-detected stall on CPU\nrcu: \t1-....: (1 GPs behind)\n"
    "Call Trace:\n <IRQ>\n watchdog_timer_fn+0x1/0x2\n apic_timer_interrupt+0x1/0x2\n </IRQ>\n"
    " demo_read+0x1c/0x40 [demo]\n"
)
HUNG = f"INFO: task dd:9 blocked for more than 120 seconds.\n{TRACE}"
GUESSED = TRACE.replace(" demo", " ? demo").replace(" vfs", " ? vfs")


def judged(log: str, *frames: Frame) -> tuple[str, tuple[str, ...]]:
    sure = outline(log, Backtrace(frames))["confidence"]
    return sure["level"], tuple(sure["why"])


@pytest.mark.parametrize(
    ("log", "level", "why"),
    [
        (OOPS, "high", "the kernel names demo_read"),
        # everybody's code called by the code at fault
        (OOPS.replace("RIP: 0010:demo_read", "RIP: 0010:kfree"), "high", "the kernel names kfree"),
        ("BUG: KASAN: use-after-free in demo_read+0x1c/0x40 [demo]\n" + TRACE, "high",
         "the kernel names demo_read"),
        ("BUG: scheduling while atomic: dd/9/0x2\n" + TRACE, "medium",
         "the kernel names no function, its stack does"),
        ("Kernel panic - not syncing: demo gave up\nCall Trace:\n panic+0x1/0x2\n"
         " demo_read+0x1c/0x40 [demo]\n", "high", "the function that called panic()"),
        ("Kernel panic - not syncing: VFS: Unable to mount root fs\n", "medium",
         "no function is known"),
        ("Kernel panic - not syncing: Fatal machine check\n", "high",
         "the kernel itself says what it was"),
        (FAULT, "low", "no function is known"),
        (FAULT + GUESSED, "medium", "the kernel names no function, its stack does"),
        (HUNG, "medium", "the kernel log tells who waits, not who keeps it waiting"),
        (STALL, "low", "where a stalled CPU was seen is chance"),
        ("BUG: unable to handle kernel NULL pointer dereference at 00\n"
         "Oops: 0010 [#1] SMP\nRIP: 0010:0x0\n" + TRACE, "medium",
         "only the stack tells who called where no code is"),
        ("Linux version 6.1.0\n", "low", "no crash message"),
    ],
)  # fmt: skip
def test_what_a_log_rests_on_says_how_sure_the_choice_is(log: str, level: str, why: str) -> None:
    assert judged(log) == (level, judged(log)[1])
    assert judged(log)[1][0] == why


def test_guessed_frames_matter_only_where_the_culprit_is_one_of_them() -> None:
    said = "the kernel only guesses at the stack"
    assert judged(FAULT + "RIP: 0010:demo_read+0x1c/0x40 [demo]\n" + GUESSED)[0] == "high"
    helper = judged(FAULT + "RIP: 0010:kfree+0x1c/0x40\n" + GUESSED)
    assert (helper[0], helper[1][0]) == ("medium", said)


@pytest.mark.parametrize(
    ("seconds", "level"),
    [(30, "medium"), (7200, "high")],
)
def test_a_warning_that_was_survived_lately_leaves_a_doubt(seconds: int, level: str) -> None:
    warning = f"[  100.0] WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2\n[  100.0] {' '}f+0x1/0x2\n"
    oops = "".join(f"[ {100 + seconds}.5] {line}\n" for line in OOPS.splitlines())
    assert judged(warning + oops)[0] == level


def test_a_task_that_waited_before_leaves_no_doubt() -> None:
    hung = "".join(f"[  100.5] {line}\n" for line in HUNG.splitlines())
    oops = "".join(f"[  109.5] {line}\n" for line in OOPS.splitlines())
    assert judged(hung + oops) == ("high", ("the kernel names demo_read",))


def test_an_oops_that_was_survived_leaves_a_doubt_for_ever() -> None:
    old = "".join(f"[  100.5] {line}\n" for line in OOPS.splitlines())
    new = "".join(f"[ 9100.5] {line}\n" for line in OOPS.replace("#1", "#2").splitlines())
    assert judged(old + new)[0] == "medium"


def test_the_first_of_several_reports_at_once_is_told_as_such() -> None:
    log = "BUG: KASAN: use-after-free in demo_read+0x1c/0x40 [demo]\n" + TRACE + OOPS
    assert judged(log) == (
        "high",
        ("the first of several reports at once", "the kernel names demo_read"),
    )


def test_backtrace_and_log_that_disagree_lower_it() -> None:
    assert judged(OOPS, Frame("demo_read", 1), Frame("vfs_read", 1))[0] == "high"
    assert judged(OOPS, Frame("other", 1), Frame("vfs_read", 1))[0] == "medium"


def test_confidence_and_signatures_are_measured_on_labelled_logs(tmp_path: Path) -> None:
    rows = ["a\tnull-dereference\tdemo_read", "b\tnull-dereference\tother", "c\trcu-stall\tother"]
    for name, text in zip("abc", (OOPS, OOPS, STALL), strict=True):
        (tmp_path / name).write_text(text)
    (tmp_path / "labels.tsv").write_text("".join(f"{row}\t\tx\n" for row in rows))

    def measured(command: str) -> list[list[str]]:
        done = subprocess.run(
            [sys.executable, BENCH, command, tmp_path], capture_output=True, text=True, check=True
        )
        return [line.split() for line in done.stdout.splitlines()]

    # of three logs one is right; two are called high, of which one is right
    assert measured("confidence")[2][:6] == ["all", "3", "33.3", "2", "50.0", "100.0"]
    joined = next(row for row in measured("signatures") if row[0] == "pairs")
    assert joined == ["pairs", "joined", "1", "1", "0", "1", "1"]


def test_everybodys_code_alone_is_no_sure_culprit() -> None:
    oops = f"{FAULT}RIP: 0010:__memcpy+0x12/0x20\n"
    assert judged(oops) == (
        "low",
        ("__memcpy is everybody's code: its caller is not known",),
    )
    assert judged(oops + TRACE)[0] == "high"


def test_a_task_that_waits_on_is_no_trouble_from_before() -> None:
    told = [f"[{at:5}.0] INFO: task dd:9 blocked for more than {for_s} seconds.\n"
            for at, for_s in ((130, 122), (253, 245))]  # fmt: skip
    trace = "".join(f"[  253.0] {line}\n" for line in TRACE.splitlines())
    panic = "[  253.1] Kernel panic - not syncing: hung_task: blocked tasks\n"
    assert judged(told[0] + told[1] + trace + panic)[1] == (
        "the kernel log tells who waits, not who keeps it waiting",
    )
    other = told[0].replace("dd:9", "cp:8")
    assert "the kernel had reported trouble before" in judged(other + told[1] + trace + panic)[1]
