"""Programs under supervision: clean environment, limits, and no survivor."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cas.errors import EngineError
from cas.supervise import Child, Room, run

LIMITS = {"timeout_s": 20.0, "max_bytes": 1 << 20}


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_output_errors_and_status_come_back(room: Room) -> None:
    finished = run(sh("echo out; echo oops >&2; exit 3"), room, **LIMITS)
    assert (finished.status, finished.stdout, finished.stderr) == (3, b"out\n", "oops\n")
    assert finished.reason == "exit status 3: oops"


def test_a_program_sees_an_empty_home_and_nothing_of_ours(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    finished = run(sh("env; pwd"), room, **LIMITS)
    lines = finished.stdout.decode().splitlines()
    assert f"HOME={room.directory}" in lines
    assert str(room.directory) in lines
    assert "SECRET" not in finished.stdout.decode()


def test_a_silent_program_is_ended_with_its_children(room: Room) -> None:
    script = "sleep 1000 & echo $! > grandchild; wait"
    finished = run(sh(script), room, timeout_s=1.0, max_bytes=100)
    assert finished.timed_out
    grandchild = int((room.directory / "grandchild").read_text())
    assert not is_alive(grandchild)


def test_endless_output_is_cut(room: Room) -> None:
    finished = run(["yes"], room, timeout_s=20, max_bytes=100_000)
    assert finished.cut
    assert len(finished.stdout) == 100_000


def test_death_by_signal_is_told(room: Room) -> None:
    assert run(sh("kill -SEGV $$"), room, **LIMITS).reason == "killed by SIGSEGV"


def test_a_missing_program_is_named(room: Room) -> None:
    with pytest.raises(EngineError, match="cannot start /nonexistent: No such file"):
        run(["/nonexistent"], room, **LIMITS)


def test_memory_is_limited(tmp_path: Path) -> None:
    room = Room(tmp_path, memory_bytes=256 << 20)
    finished = run(["python3", "-c", "input(); x = bytearray(1 << 30)"], room, **LIMITS)
    assert finished.status != 0


def test_a_dialogue_goes_back_and_forth(room: Room) -> None:
    with Child(["cat"], room) as child:
        child.send(b"ping\n")
        assert child.read(10) == b"ping\n"
        assert child.read(0.1) is None
        child.close_stdin()
        assert child.read(10) == b""
        assert child.wait(10) == 0


def test_a_child_does_not_outlive_its_block(room: Room) -> None:
    with Child(["sleep", "1000"], room) as child:
        pid = child.pid
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        os.sched_yield()
    assert not is_alive(pid)
