"""The drgn process and its end: hung, killed, starved; and the snippets' commands in it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cas.engines.drgn.process import Worker
from cas.errors import EngineError
from cas.model.case import Case
from cas.model.snippet import Section, Snippet
from cas.supervise import Confinement

TIMEOUT_S = 60
COMMANDS = (
    "bt, bt -a, bt -sx, bt -l, sys, sys -t, log, mod, mod -t, kmem -i, kmem -s, ps, ps -m, "
    "foreach bt, foreach files, runq, dev, dev -d, mount, net, files, irq, timer, task, vm, "
    "swap, mach, p jiffies, set"
)
ESCAPES = (
    "sys > {}, sys >> {}, sys | tee {}, !touch {}, sys 2> {}, foreach UN bt > {}, "
    "foreach RU bt | tee {}, eval (1|2) > {}, !"
)


@pytest.fixture(scope="module")
def open_worker(opened: Case, make_room: Callable[..., Confinement]) -> Iterator[Worker]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DEBUGINFOD_URLS", "http://127.0.0.1:1")
        worker = Worker(make_room())
    with worker:
        worker.open(opened)
        yield worker


@pytest.fixture
def open_with(
    opened: Case, make_room: Callable[..., Confinement]
) -> Iterator[Callable[..., Worker]]:
    """Start a worker on the dump under rules of its own."""
    with ExitStack() as stack:

        def start(**rules: float) -> Worker:
            worker = stack.enter_context(Worker(make_room(**rules)))
            worker.open(opened)
            return worker

        yield start


def run(worker: Worker, output: Path, *commands: str) -> Section:
    return worker.run_snippet(Snippet(output.name, "a title", commands), output)


def test_commands_write_one_after_the_other(open_worker: Worker, tmp_path: Path) -> None:
    section = run(open_worker, tmp_path / "out", "sys", "mod")
    text = section.path.read_text()
    assert (section.status, section.error, section.engine) == ("ok", None, "drgn")
    assert section.size_bytes == len(text.encode())
    assert text.index("NODENAME") < text.index("nf_cas_dummy")


@pytest.mark.parametrize("command", COMMANDS.split(", "))
def test_commands_of_the_snippets_run(open_worker: Worker, tmp_path: Path, command: str) -> None:
    section = run(open_worker, tmp_path / "out", command)
    assert (section.status, section.error) == ("ok", None)


def test_blocked_tasks_are_shown_with_their_backtrace(open_worker: Worker, tmp_path: Path) -> None:
    section = run(open_worker, tmp_path / "out", "foreach UN bt")
    text = section.path.read_text()
    assert 'COMMAND: "cat"' in text
    assert "cas_stuck_read" in text
    assert text.count("PID: ") == 1


def test_blocked_tasks_are_shown_with_how_long(open_worker: Worker, tmp_path: Path) -> None:
    section = run(open_worker, tmp_path / "out", "foreach UN ps -m")
    (line,) = section.path.read_text().splitlines()
    assert line.startswith("[0 00:00:0")
    assert "[UN]  PID: " in line
    assert line.endswith('COMMAND: "cat"')


def test_stopped_cpus_count_as_online(open_worker: Worker, tmp_path: Path) -> None:
    section = run(open_worker, tmp_path / "out", "sys")
    assert "CPUS: 2\n" in section.path.read_text()


def test_a_descriptor_without_a_file_is_passed_over(open_worker: Worker, tmp_path: Path) -> None:
    section = run(open_worker, tmp_path / "out", "foreach nc files")
    assert 'COMMAND: "nc"' in section.path.read_text()
    assert section.status == "ok"


def test_an_unknown_command_does_not_stop_the_others(open_worker: Worker, tmp_path: Path) -> None:
    section = run(open_worker, tmp_path / "out", "nosuchcommand", "sys")
    assert [outcome.status for outcome in section.commands] == ["failed", "ok"]
    assert section.status == "partly"
    assert section.error == "nosuchcommand: command not found"
    assert "NODENAME" in section.path.read_text()


def test_an_unknown_option_is_told_in_the_output(open_worker: Worker, tmp_path: Path) -> None:
    section = run(open_worker, tmp_path / "out", "sys --frobnicate")
    assert section.status == "failed"
    assert "--frobnicate" in section.path.read_text()


def test_exit_is_not_obeyed(open_worker: Worker, tmp_path: Path) -> None:
    section = run(open_worker, tmp_path / "out", "exit", "quit", "q", "sys -t")
    assert (section.status, section.path.read_text()) == ("ok", "TAINTED_MASK: 1080  GDO\n")


@pytest.mark.parametrize("command", ESCAPES.split(", "))
def test_nothing_reaches_a_shell_or_another_file(
    open_worker: Worker, tmp_path: Path, command: str
) -> None:
    target = tmp_path / "target"
    section = run(open_worker, tmp_path / "out", command.format(target))
    assert section.status == "failed"
    assert section.error is not None and "refused" in section.error
    assert not target.exists()


def test_an_operator_that_is_no_pipe_is_calculated(open_worker: Worker, tmp_path: Path) -> None:
    section = run(open_worker, tmp_path / "out", "eval (4|1)")
    assert section.status == "ok"
    assert "hexadecimal: 5" in section.path.read_text()


def test_output_ends_at_its_limit_and_the_next_command_has_a_little_room(
    open_with: Callable[..., Worker], tmp_path: Path
) -> None:
    section = run(open_with(section_bytes=1600), tmp_path / "out", "log", "sys -t", "sys")
    assert (section.status, section.size_bytes) == ("cut", 1600 + 24 + 100)
    assert section.error == "log: cut after 1.6 KiB; sys: cut after 100 bytes"


def test_a_slow_command_is_given_up_and_the_next_one_runs(
    open_with: Callable[..., Worker], tmp_path: Path
) -> None:
    worker = open_with(command_s=1)
    pid = worker.pid
    slow = "drgn [0 for _ in iter(int, 1) if False]"
    section = run(worker, tmp_path / "out", slow, "sys")
    assert (section.status, section.error) == ("timeout", f"{slow}: timed out after 1 s")
    assert "NODENAME" in section.path.read_text()
    assert worker.pid == pid


@pytest.mark.long
def test_a_command_that_hangs_inside_drgn_is_killed_and_the_next_one_runs(
    open_with: Callable[..., Worker], tmp_path: Path
) -> None:
    worker = open_with(command_s=1)
    pid = worker.pid
    # A loop in C, where no signal handler of Python's comes to its turn.
    section = run(worker, tmp_path / "out", "drgn any(iter(int, 1))", "sys")
    assert section.status == "timeout"
    assert "NODENAME" in section.path.read_text()
    assert not is_alive(pid)


@pytest.mark.long
def test_a_snippet_runs_in_a_fresh_process_after_one_that_killed_drgn(
    worker: Worker, opened: Case, tmp_path: Path
) -> None:
    worker.open(opened)
    deadly = "drgn import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    section = run(worker, tmp_path / "out", "sys -t", deadly, "mach")
    assert section.status == "crashed"
    assert section.error == f"{deadly}: drgn was killed by SIGSEGV"
    assert "TAINTED_MASK" in section.path.read_text()
    assert "MACHINE TYPE" in section.path.read_text()


@pytest.mark.long
def test_a_dump_that_always_kills_drgn_is_given_up(
    open_with: Callable[..., Worker], tmp_path: Path
) -> None:
    deadly = "drgn import os; os.abort()"
    section = run(open_with(attempts=2), tmp_path / "out", *[deadly] * 3)
    assert section.error is not None
    assert section.error.endswith("drgn was started 2 times on this dump")


@pytest.mark.long
def test_a_stopped_worker_is_killed_after_the_time_allowed_and_asked_once_more(
    worker: Worker, opened: Case, tmp_path: Path
) -> None:
    pid = worker.pid
    os.kill(pid, signal.SIGSTOP)
    assert worker.answer(opened, 10).panic_task is not None
    assert not is_alive(pid)
    (trace,) = tmp_path.glob("drgn.*.trc")
    assert "Traced because: stopped by SIGSTOP\n" in trace.read_text()


def test_a_worker_that_dies_twice_during_the_answer_is_told(worker: Worker, opened: Case) -> None:
    def kill_each() -> None:
        killed = set[int]()
        while len(killed) < 2:
            time.sleep(0.05)
            if worker.pid not in killed:
                killed.add(worker.pid)
                os.kill(worker.pid, signal.SIGSEGV)

    threading.Thread(target=kill_each, daemon=True).start()
    with pytest.raises(EngineError, match="drgn was killed by SIGSEGV"):
        worker.answer(opened, TIMEOUT_S)


def test_a_worker_that_somebody_kills_is_asked_once_more(worker: Worker, opened: Case) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.answer(opened, TIMEOUT_S).panic_task is not None


@pytest.mark.long
def test_a_command_during_which_drgn_is_killed_twice_has_failed_and_begins_anew(
    open_worker: Worker, tmp_path: Path
) -> None:
    deadly = (
        "drgn import os, signal; print('half', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    section = run(open_worker, tmp_path / "out", "sys -t", deadly, "sys -t")
    assert [each.status for each in section.commands] == ["ok", "crashed", "ok"]
    assert section.path.read_text().count("half") == 1


def test_too_little_memory_is_told(opened: Case, make_room: Callable[..., Confinement]) -> None:
    with Worker(make_room(memory_bytes=150 << 20)) as worker, pytest.raises(EngineError):
        worker.answer(opened, TIMEOUT_S)


def test_a_command_that_eats_memory_is_recorded_and_the_next_one_runs(
    open_with: Callable[..., Worker], tmp_path: Path
) -> None:
    worker = open_with(memory_bytes=2 << 30)
    section = run(worker, tmp_path / "out", "drgn bytearray(4 << 30)", "sys -t")
    assert (section.status, section.error) == (
        "memory",
        "drgn bytearray(4 << 30): out of memory",
    )
    assert "TAINTED_MASK" in section.path.read_text()


def test_no_process_is_left(room: Confinement) -> None:
    with Worker(room) as worker:
        pid = worker.pid
    assert not is_alive(pid)


def test_the_environment_is_not_inherited(open_worker: Worker, tmp_path: Path) -> None:
    section = run(open_worker, tmp_path / "out", "drgn import os; print(sorted(os.environ))")
    names = section.path.read_text()
    assert "DEBUGINFOD_URLS" not in names
    assert "DRGN_DISABLE_PLUGINS" in names


def test_the_files_of_tickets_are_out_of_reach(open_worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("other ticket's")
    paths = str([f"{tmp_path}/secret", str(tmp_path)])
    script = f"drgn import os; print([os.path.exists(p) for p in {paths}])"
    assert run(open_worker, tmp_path / "out", script).path.read_text() == f"{[False] * 2}\n"


def test_the_dump_cannot_be_opened_again_for_writing(
    open_worker: Worker, opened: Case, tmp_path: Path
) -> None:
    whole = opened.dump.path.stat()
    script = (
        "drgn import os; "
        f"print([os.path.exists(p) for p in ('/proc', '/dev/fd/0', '{opened.dump.path}')])"
    )
    assert run(open_worker, tmp_path / "out", script).path.read_text() == f"{[False] * 3}\n"
    script = "drgn import os; [os.ftruncate(fd, 0) for fd in range(3, 64) if fd != 1]"
    run(open_worker, tmp_path / "out", script)
    assert opened.dump.path.stat().st_mtime_ns == whole.st_mtime_ns
    assert opened.dump.path.stat().st_size == whole.st_size


def test_a_report_names_the_dump_and_not_a_descriptor(
    open_worker: Worker, opened: Case, tmp_path: Path
) -> None:
    text = run(open_worker, tmp_path / "out", "sys").path.read_text()
    assert f"DUMPFILE: {opened.dump.path}\n" in text


@pytest.mark.long
def test_each_fault_leaves_a_trace_of_its_own(
    opened: Case, make_room: Callable[..., Confinement], tmp_path: Path
) -> None:
    with Worker(make_room(watchdog_s=1)) as worker:
        worker.trace_into(tmp_path, print)
        worker.open(opened)
        deadly = "drgn import os; os.abort()"
        section = run(worker, tmp_path / "out", "drgn import time; time.sleep(100)", deadly, "sys")
    assert section.error is not None
    assert "hung: no output and no use of the processor for 1 s" in section.error
    assert "NODENAME" in section.path.read_text()
    hung, dead = sorted(tmp_path.glob("drgn.*.1.trc"), key=lambda path: path.stat().st_mtime_ns)
    assert "Last command: drgn import time; time.sleep(100)\n" in hung.read_text()
    assert "(sleeping)" in hung.read_text()
    assert "Traced because: drgn was killed by SIGABRT\n" in dead.read_text()
    assert "Attempt: 2 of 4\n" in dead.read_text()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
