"""A report with everything in it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

from cas.choices import Engine, MatchEvidence, SectionStatus, Stage, Verdict
from cas.model.answer import FirstAnswer, Kmod, Task
from cas.model.code import Frame
from cas.model.dump import Dump
from cas.model.finding import Culprit, Finding, KnownIssue
from cas.model.kernel import Kernel, Match
from cas.model.occurrence import Newest, Occurrences, Seen
from cas.model.report import Report
from cas.model.snippet import Section

STARTED = dt.datetime(2026, 11, 21, 8, 41, 20, tzinfo=dt.UTC)


def sample_report(directory: Path) -> Report:
    """A finished job; a log of 500 lines among its sections."""
    (directory / "traceback").write_text('PID: 23  COMMAND: "kworker/1:1"\n #0 panic\n')
    (directory / "log").write_text("".join(f"line {number}\n" for number in range(1, 501)))
    (directory / "ps").write_text("".join(f"task {number}\n" for number in range(1, 501)))
    return Report(
        ticket="T-1",
        directory=directory,
        upload=Path("/srv/vmcore.xz"),
        server="cas.example.com",
        started=STARTED,
        verdict=Verdict.COMPLETE,
        stage=Stage.REPORTED,
        engine=Engine.CRASH,
        ladder=("crash: full",),
        dump=_dump(directory),
        match=Match(_kernel(), MatchEvidence.BUILD_ID, "the dump's build-id is the package's"),
        vmlinux=Path("/var/cache/cas/vmlinux"),
        answer=_answer(),
        finding=_finding(),
        sections=(
            _section(directory, "traceback", "Backtraces"),
            _section(directory, "log", "Kernel log"),
            _section(directory, "ps", "Tasks"),
        ),
        seconds={"match": 0.01},
    )


def known_report(directory: Path, count: int) -> Report:
    """The same, of a crash that is so many known issues."""
    issues = tuple(
        KnownIssue(
            f"issue {number}",
            "Update it.",
            "https://example.com/?a=1&b=2",
            ("6.1.91",),
            directory,
            (),
        )
        for number in range(1, count + 1)
    )
    report = sample_report(directory)
    assert report.finding
    return replace(report, finding=replace(report.finding, known=issues))


def _dump(directory: Path) -> Dump:
    return Dump(
        directory / "vmcore",
        "ELF",
        25380088,
        "x86_64",
        osrelease="6.1.0",
        build_id="ab" * 20,
        crash_time=STARTED,
        dump_level=31,
        dmesg="secret line of the log",
        vmcoreinfo={"OSRELEASE": "6.1.0"},
    )


def _kernel() -> Kernel:
    return Kernel("6.1.0", "x86_64", Path("/srv/k.rpm"), "usr/lib/debug/vmlinux", "ab" * 20)


FRAMES = (
    Frame("panic", 0x28B, file="kernel/panic.c", line=459),
    Frame("balance", kmod="demo", file="demo.c", line=62, inlined=True),
    Frame("sum_entries", 0x13, kmod="demo"),
    Frame("kthread", 0x10),
)


def _answer() -> FirstAnswer:
    return FirstAnswer("panic", Task(23, "kworker/1:1", 1), FRAMES, (Kmod("demo", taint="O"),))


def _finding() -> Finding:
    return Finding(
        what="BUG: kernel NULL pointer dereference, address: 0018 in sum_entries [demo]",
        where="balance [demo] at demo.c:62, inlined in sum_entries+0x13",
        who="kworker/1:1, pid 23, CPU 1",
        when="2026-11-21 08:41:20 UTC, 8 s after boot",
        taint="O: out-of-tree module loaded",
        kmods="demo (O); 1 loaded",
        confidence="choice high: the kernel names f; data high: kernel by build-id, dump whole",
        next_steps=("ask the vendor of demo", "try to reproduce without demo"),
        signature="0123456789abcdef",
        title="NULL pointer dereference in balance [demo]",
        culprit=Culprit(FRAMES[1:3], "at fault"),
        seen=Seen(same=_occurrences("T-1187", "T-1101"), same_dump=("T-7",)),
    )


def _occurrences(*tickets: str) -> Occurrences:
    hosts = Newest(5, ("db1", "db2", "db3", "db4", "db5"))
    return Occurrences(12, STARTED, Newest(4, tickets), hosts, Newest(1, ("6.1.0",)))


def _section(directory: Path, name: str, title: str) -> Section:
    path = directory / name
    return Section(name, title, SectionStatus.OK, Engine.CRASH, path, 0.3, path.stat().st_size)
