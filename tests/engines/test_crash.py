"""The crash engine on a real dump: limits for each command, and a session that survives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.engines.crash import Crash, Target
from cas.engines.limits import Limits
from cas.errors import EngineError
from cas.model import Section, Snippet

from installed import needs

LIMITS = Limits(command_s=3, start_s=120, section_bytes=1 << 20, memory_bytes=8 << 30)


def start(target: Target, directory: Path, limits: Limits = LIMITS) -> Crash:
    room = directory / "room"
    room.mkdir()
    return Crash(target, limits, room, (directory / "crash.out").open("wb"))


@pytest.fixture(scope="module")
def session(
    vmlinux: Path, vmcore: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crash]:
    target = Target(Path(needs("crash")), vmlinux, vmcore)
    with start(target, tmp_path_factory.mktemp("crash")) as crash:
        crash.open()
        yield crash


def run(session: Crash, directory: Path, *commands: str) -> tuple[Section, str]:
    path = directory / "section"
    section = session.run(Snippet("section", "A title", commands), path)
    return section, path.read_text(errors="replace")


def test_commands_give_their_output_without_markers(session: Crash, tmp_path: Path) -> None:
    section, text = run(session, tmp_path, "bt", "sys")
    assert section.status == "ok"
    assert text.startswith("PID: ")
    assert "cas_oops" in text
    assert "DUMPFILE:" in text
    assert "cas-end" not in text


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("nosuchcommand", "crash: command not found: nosuchcommand"),
        ("p nosuchsymbol", "p: gdb request failed: p nosuchsymbol"),
        ("struct nosuchstruct", "struct: invalid data structure reference: nosuchstruct"),
        ("bt -Z", "bt: this crash does not take the options of: bt -Z"),
    ],
)
def test_a_command_that_crash_refuses_is_failed_and_the_next_one_runs(
    session: Crash, tmp_path: Path, command: str, complaint: str
) -> None:
    section, text = run(session, tmp_path, command, "sys")
    assert section.status == "failed"
    assert section.error == complaint
    assert "DUMPFILE:" in text


def test_a_hanging_command_times_out_and_the_next_one_runs(session: Crash, tmp_path: Path) -> None:
    section, text = run(session, tmp_path, "!sleep 100", "sys")
    assert section.status == "timeout"
    assert section.error == "!sleep 100: timed out after 3 s"
    assert "DUMPFILE:" in text


def test_endless_output_is_cut_and_the_session_goes_on(session: Crash, tmp_path: Path) -> None:
    section, text = run(session, tmp_path, "!yes")
    assert section.status == "cut"
    assert len(text) == LIMITS.section_bytes
    assert run(session, tmp_path, "sys")[0].status == "ok"


def test_a_death_costs_one_command(session: Crash, tmp_path: Path) -> None:
    section, text = run(session, tmp_path, "!kill -SEGV $PPID", "sys")
    assert section.status == "crashed"
    assert section.error == "!kill -SEGV $PPID: killed by SIGSEGV"
    assert "DUMPFILE:" in text


def test_a_dump_that_crash_cannot_open_gives_every_rungs_reason(
    vmlinux: Path, tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"KDUMP   " + bytes(100_000))
    with (
        start(Target(Path(needs("crash")), vmlinux, garbage), tmp_path) as crash,
        pytest.raises(
            EngineError, match=r"crash: exit status 1: .*crash --minimal: exit status 1: "
        ),
    ):
        crash.open()
    assert crash.ladder == ["crash", "crash --zero_excluded", "crash --minimal"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 1", "exit status 1 without a message"),
        ("kill -ABRT $$", "killed by SIGABRT"),
        ("sleep 1000", "not ready after 1 s"),
        ("echo it is all wrong; exit 1", "exit status 1: it is all wrong"),
    ],
)
def test_a_crash_that_does_not_start_is_told_with_its_reason(
    vmcore: Path, tmp_path: Path, script: str, reason: str
) -> None:
    program = tmp_path / "fake-crash"
    program.write_text(f"#!/bin/sh\n[ $1 != --version ] || exit 0\n{script}\n")
    program.chmod(0o755)
    limits = Limits(command_s=1, start_s=1, section_bytes=100, memory_bytes=1 << 30)
    with (
        start(Target(program, vmcore, vmcore), tmp_path, limits) as crash,
        pytest.raises(EngineError, match=reason),
    ):
        crash.open()


def test_a_gdbinit_or_crashrc_beside_the_dump_is_not_executed(
    vmlinux: Path, vmcore: Path, tmp_path: Path
) -> None:
    dump = tmp_path / "vmcore"
    dump.symlink_to(vmcore)
    for name in (".crashrc", ".gdbinit"):
        (tmp_path / name).write_text(f"!touch {tmp_path}/executed\n")
    with start(Target(Path(needs("crash")), vmlinux, dump), tmp_path) as crash:
        crash.open()
    assert not (tmp_path / "executed").exists()
