"""Programs under supervision: clean environment, limits, a watchdog, and no survivor."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cas.errors import EngineError
from cas.settings.rules import Supervision
from cas.supervise import Child, Confinement, ProgramFailure, StartLimit, run_program, write_trace

from installed import few_of, working_sandbox

LIMITS = {"timeout_s": 20.0, "max_bytes": 1 << 20}
HANGS = {
    "deaf": "trap '' TERM INT; while :; do sleep 1000; done",
    "with a child in another session": "setsid sleep 1000 & wait",
    "with an orphan in another session": "(setsid sh -c 'sleep 1000' &); sleep 1000",
    "stopped": "kill -STOP $$",
}


@pytest.fixture(params=["sandbox", "none"])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Confinement:
    """A room with and without a sandbox, whose watchdog is quick."""
    rules = Supervision(watchdog_s=1, stop_s=0.7)
    sandbox = working_sandbox() if request.param == "sandbox" else None
    return Confinement(tmp_path, rules, sandbox=sandbox)


@pytest.fixture
def bare(tmp_path: Path) -> Confinement:
    return Confinement(tmp_path, Supervision(watchdog_s=1, stop_s=1))


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def family_of(child: Child) -> list[int]:
    """Process ids of a program and its descendants, once there are no more of them to come."""
    known = [0]
    while (pids := [process.pid for process in child.processes()]) != known or not pids:
        known = pids
        time.sleep(0.3)
    return pids


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_output_errors_and_status_come_back(room: Confinement) -> None:
    finished = run_program(sh("echo out; echo oops >&2; exit 3"), room, **LIMITS)
    assert (finished.status, finished.stdout, finished.stderr) == (3, b"out\n", "oops\n")
    assert finished.reason == "exit status 3: oops"


def test_a_program_sees_nothing_of_our_environment(
    room: Confinement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    lines = run_program(sh("env; pwd; ls -A"), room, **LIMITS).stdout.decode().splitlines()
    home = "/home/cas" if room.sandbox else str(room.directory)
    assert f"HOME={home}" in lines
    assert lines[-1] == home
    assert not any("SECRET" in line for line in lines)


@pytest.mark.parametrize("how", HANGS)
def test_a_hung_program_is_ended_with_all_that_it_started(room: Confinement, how: str) -> None:
    with Child(sh(HANGS[how]), room) as child:
        pids = family_of(child)
        assert child.read(60) is None
        hung = "hung: no output and no use of the processor for 1 s"
        assert child.fault == ("stopped by SIGSTOP" if how == "stopped" else hung)
        child.stop()
        assert [pid for pid in pids if is_alive(pid)] == []


@pytest.mark.parametrize("room", few_of(("sandbox", "none"), {"sandbox"}), indirect=True)
def test_a_silent_program_that_computes_is_left_alone(room: Confinement) -> None:
    busy = "timeout 1.7 sh -c 'while :; do :; done'; echo done"
    assert run_program(sh(busy), room, **LIMITS).stdout == b"done\n"


def test_an_idle_program_that_writes_is_left_alone(room: Confinement) -> None:
    slow = "for i in 1 2 3 4; do sleep 0.6; echo .; done"
    assert run_program(sh(slow), room, **LIMITS).stdout == b".\n" * 4


@pytest.mark.parametrize("room", few_of(("sandbox", "none"), {"sandbox"}), indirect=True)
def test_a_program_that_computes_for_ever_ends_with_our_patience(room: Confinement) -> None:
    finished = run_program(sh("while :; do :; done"), room, timeout_s=0.7, max_bytes=100)
    assert finished.timed_out
    assert finished.fault is None


def test_endless_output_is_cut(room: Confinement) -> None:
    finished = run_program(["yes"], room, timeout_s=20, max_bytes=100_000)
    assert finished.cut
    assert len(finished.stdout) == 100_000


def test_death_by_signal_is_told(room: Confinement) -> None:
    assert run_program(sh("kill -SEGV $$"), room, **LIMITS).reason == "killed by SIGSEGV"


def test_a_missing_program_is_named(room: Confinement) -> None:
    with pytest.raises(EngineError, match="cannot start /nonexistent: No such file"):
        run_program(["/nonexistent"], room, **LIMITS)


@pytest.mark.parametrize("room", few_of(("sandbox", "none"), {"sandbox"}), indirect=True)
@pytest.mark.parametrize(
    ("rules", "script", "says"),
    [
        ({"memory_bytes": 64 << 20}, "dd if=/dev/zero of=/dev/null bs=256M count=1", "exhausted"),
        ({"file_bytes": 1 << 20}, "head -c 9M /dev/zero > $HOME/file", ""),
        ({"cpu_s": 1}, "while :; do :; done", "SIGXCPU"),
    ],
)
def test_what_the_system_limits(
    room: Confinement, rules: dict[str, int], script: str, says: str
) -> None:
    limited = Confinement(room.directory, Supervision(**rules), sandbox=room.sandbox)
    finished = run_program(sh(script), limited, **LIMITS)
    assert finished.status != 0
    assert says in finished.reason
    file = room.directory / "file"
    assert not file.exists() or file.stat().st_size <= 1 << 20


def test_no_core_file_is_written(room: Confinement) -> None:
    assert run_program(sh("ulimit -c"), room, **LIMITS).stdout == b"0\n"


def test_too_many_processes_are_a_fault(room: Confinement) -> None:
    limited = Confinement(room.directory, Supervision(stop_s=1, processes=8), sandbox=room.sandbox)
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; wait"
    finished = run_program(sh(script), limited, timeout_s=20, max_bytes=100)
    assert finished.status != 0
    # root may start them, and the watchdog counts; others are stopped by the system
    assert finished.fault == "more than 8 processes" or "fork" in finished.stderr


def test_a_dialogue_goes_back_and_forth(room: Confinement) -> None:
    with Child(["cat"], room) as child:
        child.send(b"ping\n")
        assert child.read(10) == b"ping\n"
        assert child.read(0.1) is None
        assert child.fault is None
        child.close_stdin()
        assert child.read(10) == b""
        assert child.wait(10) == 0


def test_an_interrupt_reaches_the_program_itself(room: Confinement) -> None:
    with Child(
        sh("trap 'echo caught' INT; echo ready; while :; do sleep 0.1; done"), room
    ) as child:
        assert child.read(10) == b"ready\n"
        child.interrupt()
        assert child.read(10) == b"caught\n"


def test_a_child_does_not_outlive_its_block(room: Confinement) -> None:
    with Child(sh(HANGS["with an orphan in another session"]), room) as child:
        pids = family_of(child)
        assert len(pids) > 2
    assert [pid for pid in pids if is_alive(pid)] == []


@pytest.mark.parametrize("wanted", ["bwrap", "none"])
def test_nothing_outlives_us_when_we_are_killed(tmp_path: Path, wanted: str) -> None:
    if wanted == "bwrap":
        working_sandbox()
    script = (
        "import sys; from pathlib import Path; from cas.supervise import *\n"
        "room = Confinement(Path(sys.argv[1]), sandbox=find_sandbox(sys.argv[2])[0])\n"
        "child = Child(['/bin/sleep', '1000'], room)\n"
        "child.read(0.5); print(child.pid, flush=True); child.read(1000)"
    )
    argv = [sys.executable, "-c", script, tmp_path, wanted]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
    assert until(lambda: not is_alive(pid))


def fault(why: str, output: bytes = b"") -> ProgramFailure:
    return ProgramFailure(
        "tool", why, attempt="2 of 8", rung="tool --less", command="bt", output=output
    )


def test_a_trace_says_what_was_seen(room: Confinement, tmp_path: Path) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(300))
    with Child(["sleep", "1000"], room) as child:
        assert until(lambda: any(each.name == "sleep" for each in child.processes()))
        path = write_trace(tmp_path, child, fault("hung", lines + b"\x1b]0;title\x07"), print)
        pid = child.pid
    assert path is not None
    assert path.name == f"tool.{pid}.1.trc"
    text = path.read_text()
    head = text.split("\n")
    assert head[1].startswith(f"Process: pid={pid} ")
    assert head[1].endswith("sleep 1000")
    assert head[2] == "Traced because: hung"
    assert head[3].startswith("Time of trace: (")
    assert head[4].startswith("Invoking trace program: cas ")
    assert "Attempt: 2 of 8\nDegradation level: tool --less\nLast command: bt\n" in text
    assert "line 299\n" in text
    assert "line 200\n" not in text
    assert "\x1b" not in text
    assert f"--- /proc/{pid}/status\nName:\tsleep\n" in text
    for name in ("stat", "wchan", "syscall", "stack", "limits", "io", "maps (summary)"):
        assert f"--- /proc/{pid}/{name}\n" in text


def test_two_faults_make_two_files(bare: Confinement, tmp_path: Path) -> None:
    with Child(["sleep", "1000"], bare) as child:
        paths = [write_trace(tmp_path, child, fault(why), print) for why in ("first", "second")]
    assert [path and path.name.split(".")[2] for path in paths] == ["1", "2"]


def test_a_trace_of_a_dead_program_says_so(bare: Confinement, tmp_path: Path) -> None:
    with Child(sh("kill -SEGV $$"), bare) as child:
        assert child.read(10) == b""
        child.wait(10)
        path = write_trace(tmp_path, child, fault("killed by SIGSEGV"), print)
    assert path is not None
    assert "none is left to look at" in path.read_text()


def test_a_trace_is_bounded(bare: Confinement, tmp_path: Path) -> None:
    with Child(sh("for i in $(seq 60); do sleep 1000 & done; wait"), bare) as child:
        assert until(lambda: len(child.processes()) > 60)
        path = write_trace(tmp_path, child, fault("x" * 9000, b"\xff" * (1 << 20)), print)
    assert path is not None
    assert path.stat().st_size < 2 << 20
    assert "and 29 more" in path.read_text()


def test_starts_are_counted_and_kept_apart() -> None:
    starts = StartLimit("crash", Supervision(attempts=3, respawn_s=0.2))
    begun = time.monotonic()
    for _ in range(3):
        starts.take()
    assert time.monotonic() - begun >= 0.4
    assert str(starts) == "3 of 3"
    with pytest.raises(EngineError, match="crash was started 3 times on this dump"):
        starts.take()


def test_our_own_limits_are_not_raised(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path; from cas.supervise import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "done = run_program(['/bin/sh', '-c', 'ulimit -f'], Confinement(Path(sys.argv[1])),"
        " timeout_s=20, max_bytes=99)\n"
        "print(done.stdout.decode())"
    )
    argv = [sys.executable, "-c", script, tmp_path]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert int(shown) * 512 == 1 << 20
