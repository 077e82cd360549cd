"""The ladder below crash: drgn, and at last what the dump says without any debugger."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_crash import loop

from cas.engines.crash.failover import CrashAnywhere
from cas.engines.crash.place import LocalPlace
from cas.engines.drgn.process import Worker
from cas.engines.ladder import Ladder, Session
from cas.engines.salvage import salvage, salvaged_sections
from cas.model.case import Case
from cas.model.dump import Dump, Missing, Registers
from cas.model.snippet import Snippet
from cas.supervise import Confinement

from installed import Site

LOG = Snippet("log", "Kernel log", ("log",))
SYS = Snippet("sys", "System", ("sys -t",))
BT = Snippet("traceback", "Traceback", ("bt",))
DUMP = Dump(
    path=Path("vmcore"),
    format="KDUMP",
    size_bytes=1 << 20,
    arch="x86_64",
    osrelease="6.1.0",
    build_id="ab12",
    crash_time=datetime(2025, 11, 21, 8, 41, 29, tzinfo=UTC),
    panic_message="Oops: 0000",
    dmesg="[    0.000000] Linux version 6.1.0\n[    9.000000] Oops: 0000\n",
    vmcoreinfo={"OSRELEASE": "6.1.0"},
    registers=(Registers(0, 27, {"rip": 0xFFFFFFFF81000000, "rsp": 16}),),
    missing=(Missing("declares 8.0 GiB, data ends at 3.2 GiB (40 %)"),),
)


@pytest.fixture
def crash_that(
    tmp_path: Path, vmcore: Path, make_room: Callable[..., Confinement]
) -> Iterator[Callable[[str], CrashAnywhere]]:
    """A session with a program that does, on a command, what a script says."""
    opened: list[CrashAnywhere] = []

    def begin(script: str) -> CrashAnywhere:
        program = tmp_path / "crash"
        program.write_text(f"#!/bin/sh\n{loop(script)}")
        program.chmod(0o755)
        room = make_room(attempts=3, watchdog_s=1, stop_s=0.5)
        places = iter([LocalPlace(program, vmcore, vmcore, room)])
        transcript = (tmp_path / "crash.out").open("wb")
        rules = room.supervision
        opened.append(CrashAnywhere(lambda: next(places, None), rules, tmp_path, transcript, print))
        opened[-1].open()
        return opened[-1]

    yield begin
    for crash in opened:
        crash.__exit__()


def ladder(crash: CrashAnywhere | None, worker: Worker, dump: Dump = DUMP) -> Ladder:
    return Ladder(Session(crash) if crash else None, worker, dump)


def test_what_killed_crash_is_done_by_drgn(
    crash_that: Callable[[str], CrashAnywhere], worker: Worker, opened: Case, tmp_path: Path
) -> None:
    worker.open(opened)
    used = ladder(crash_that("kill -SEGV $$"), worker)
    section = used.run_snippet(SYS, tmp_path / "sys")
    assert (section.status, section.engine) == ("ok", "drgn")
    assert "TAINTED_MASK" in section.path.read_text()
    ((lost, instead),) = used.given_up
    assert (lost.status, lost.error, instead) == ("crashed", "sys -t: killed by SIGSEGV", "drgn")
    assert [outcome.engine for outcome in section.commands] == ["drgn"]
    assert used.rungs == ["drgn"]


def test_what_crash_has_begun_to_tell_is_kept(
    crash_that: Callable[[str], CrashAnywhere], worker: Worker, tmp_path: Path
) -> None:
    used = ladder(crash_that("echo half; kill -SEGV $$"), worker)
    section = used.run_snippet(SYS, tmp_path / "sys")
    assert (section.status, section.engine) == ("crashed", "crash")
    assert section.path.read_text() == "half\n"
    assert used.given_up == []


def test_when_crash_is_used_up_the_rest_is_done_by_drgn(
    crash_that: Callable[[str], CrashAnywhere], worker: Worker, opened: Case, tmp_path: Path
) -> None:
    worker.open(opened)
    used = ladder(crash_that("kill -SEGV $$"), worker)
    statuses = [used.run_snippet(SYS, tmp_path / "sys").status for _ in range(4)]
    assert statuses == ["ok"] * 4
    assert [lost.status for lost, _ in used.given_up] == ["crashed"] * 3 + ["not run"]


def test_a_demanded_crash_is_not_replaced(
    crash_that: Callable[[str], CrashAnywhere], worker: Worker, tmp_path: Path
) -> None:
    session = Session(crash_that("kill -SEGV $$"), is_demanded=True)
    section = Ladder(session, worker, DUMP).run_snippet(SYS, tmp_path / "sys")
    assert (section.status, section.engine) == ("crashed", "crash")


def test_what_neither_debugger_tells_is_taken_from_the_dump(
    crash_that: Callable[[str], CrashAnywhere], worker: Worker, opened: Case, tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(bytes(100_000))
    worker.open(replace(opened, dump=replace(opened.dump, path=garbage)))
    used = ladder(crash_that("kill -SEGV $$"), worker)
    log, traceback = (used.run_snippet(each, tmp_path / each.name) for each in (LOG, BT))
    assert (log.status, log.engine) == ("ok", "salvage")
    assert log.path.read_text() == DUMP.dmesg
    assert (traceback.status, traceback.engine) == ("crashed", "crash")
    assert used.rungs == ["drgn", "salvage"]
    (registers,) = used.finish(tmp_path)
    assert "rip: ffffffff81000000\n" in registers.path.read_text()


def test_without_crash_the_ladder_begins_with_drgn(
    worker: Worker, opened: Case, tmp_path: Path
) -> None:
    worker.open(opened)
    used = ladder(None, worker)
    assert used.run_snippet(SYS, tmp_path / "sys").engine == "drgn"
    assert used.rungs == ["drgn"]
    assert used.finish(tmp_path) == ()


def test_a_dump_is_described_without_a_debugger(tmp_path: Path) -> None:
    found = {section.name: section for section in salvaged_sections(DUMP, tmp_path)}
    assert list(found) == ["log", "sys", "registers"]
    text = found["sys"].path.read_text()
    assert "     RELEASE: 6.1.0\n" in text
    assert '       PANIC: "Oops: 0000"\n' in text
    assert "     MISSING: declares 8.0 GiB" in text
    assert text.endswith("OSRELEASE=6.1.0\n")
    assert all(section.size_bytes == section.path.stat().st_size for section in found.values())


def test_what_a_dump_does_not_say_is_no_section(tmp_path: Path) -> None:
    bare = Dump(path=Path("vmcore"), format="ELF", size_bytes=1, arch="x86_64")
    assert [section.name for section in salvaged_sections(bare, tmp_path)] == ["sys"]
    assert salvage("traceback", DUMP, tmp_path / "traceback") is None
    assert not (tmp_path / "traceback").exists()


def fake_crash(site: Site, script: str) -> None:
    program = site.directory / "fake-crash"
    program.write_text(f"#!/bin/sh\n[ $1 != --version ] || exit 0\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    site.settings |= {"crash": str(program), "respawnInterval": "0.1", "stopInterval": "1"}


@pytest.mark.long
def test_a_crash_that_dies_at_its_start_leaves_a_job_with_drgns_results(
    site_a: Site, vmcore: Path
) -> None:
    fake_crash(site_a, "kill -SEGV $$")
    site_a.keep_snippets("sys", "traceback")
    done = site_a.cas("-i", "T-1", "-f", vmcore)
    assert done.returncode == 0, done.stderr
    result = site_a.result("T-1")
    assert (result["verdict"], result["engine"]) == ("complete", "drgn")
    assert result["ladder"] == ["crash", "drgn"]
    assert "crash does not open the dump: killed by SIGSEGV: drgn did it" in result["remarks"]
    assert result["sandbox"].startswith(("bwrap", "none"))
    assert len(list(site_a.job("T-1").glob("crash.*.trc"))) == 2


@pytest.mark.long
def test_ending_cas_ends_all_that_it_started(site_a: Site, vmcore: Path) -> None:
    stamp = "1000.25"
    fake_crash(site_a, f"(setsid sleep {stamp} &); sleep {stamp} & sleep {stamp}")
    with site_a.start("cas", "-i", "T-1", "-f", vmcore) as process:
        try:
            while process.poll() is None and len(running(stamp)) < 3:
                time.sleep(0.02)
            assert len(running(stamp)) >= 3
        finally:
            process.terminate()
            process.communicate(timeout=60)
    # who was killed without being ours to wait for needs the processor once more
    deadline = time.monotonic() + 60
    while running(stamp) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert running(stamp) == []


def running(word: str) -> list[int]:
    """Processes with this argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if arguments[:1] == [b"sleep"] and word.encode() in arguments:
            found.append(int(path.parent.name))
    return found
