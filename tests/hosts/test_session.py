"""Programs on an analysis host: real sshd, real crash; their limits, their sandbox, their end."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sessions_there import PATIENCE_S, STUBBORN, Machine, everything, machine, read_until, until
from ssh_servers import sshd

from cas.errors import HostLost
from cas.hosts.link import HostUnfit
from cas.hosts.session.session import HostBusy, RemoteChild, RemoteTerminal
from cas.supervise import ProgramFailure, write_trace
from cas.terminal import Size, Window

from installed import needs, working_sandbox

Serve = Callable[..., Machine]
"""``serve(PATH=…)``: a host; the variables are those that its sshd sets."""
TOOLS = (
    "sh awk cat chmod env flock grep head id mkdir mkfifo mv readlink rm sed sleep timeout tr uname"
)
BOXES = ["auto", pytest.param("none", marks=pytest.mark.long)]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    monkeypatch.setenv("HOME", str(tmp_path))
    with ExitStack() as stack:

        def start(jobs: int = 4, sessions: int = 10, **variables: object) -> Machine:
            words = " ".join(f'"{name}={value}"' for name, value in variables.items())
            settings = {"MaxSessions": sessions, **({"SetEnv": words} if words else {})}
            server = stack.enter_context(sshd(tmp_path / "sshd", tmp_path, settings))
            server.know()
            return machine("127.0.0.1", server.port, tmp_path / "over there", jobs)

        yield start


@pytest.fixture
def there(serve: Serve) -> Machine:
    return serve()


def directory_of(tmp_path: Path, *programs: str) -> Path:
    """A directory with some of this machine's programs."""
    directory = tmp_path / "programs"
    directory.mkdir(exist_ok=True)
    for program in programs:
        (directory / program).symlink_to(needs(program))
    return directory


def fake(directory: Path, name: str, script: str) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / name).unlink(missing_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)
    return directory


def shell(there: Machine, script: str, **rules: object) -> tuple[int | None, bytes]:
    """How a script ends there and what it writes."""
    with there.session(**rules) as opened, opened.start(["/bin/sh", "-c", script], []) as child:
        return everything(child)


@pytest.mark.long
def test_crash_answers_and_can_be_interrupted(there: Machine, vmcore: Path, vmlinux: Path) -> None:
    crash = needs("crash")
    files = [str(vmlinux), str(vmcore)]
    argv = [crash, "--no_crashrc", "-s", *files]
    with there.session(*files) as opened, opened.start(argv, files) as child:
        child.send(b"bt\necho here is the end\n")
        assert b"cas_audit_ledger at " in read_until(child, b"here is the end\n")
        child.send(b"!while :; do :; done\n")
        assert child.read(1.0) is None
        come_back(child)
        assert Path(f"/proc/{child.pid}/comm").read_text() == "crash\n"
        child.send(b"exit\n")
        assert everything(child)[0] == 0
    assert there.left_behind() == []


def come_back(child: RemoteChild) -> None:
    """Interrupt crash until it takes commands."""
    for number in range(int(PATIENCE_S)):
        child.interrupt()
        child.read(0.2)
        child.send(b"\necho it is back %d\n" % number)
        if b"it is back" in read_until(child, b"it is back", timeout_s=1.0):
            return
    raise AssertionError("crash does not come back")


@pytest.mark.parametrize("sandbox", BOXES)
def test_limits_hold(there: Machine, sandbox: str) -> None:
    working_sandbox()
    script = """
        dd if=/dev/zero of=/dev/null bs=1G count=1 2>/dev/null; echo memory $?
        dd if=/dev/zero of="$HOME/file" bs=1M count=9 2>/dev/null; echo file $?
        echo core $(ulimit -c) files $(ulimit -n)
        while :; do :; done"""
    rules = {"memory_bytes": 512 << 20, "file_bytes": 1 << 20, "cpu_s": 1.0, "sandbox": sandbox}
    status, said = shell(there, script, **rules)
    assert said.decode().splitlines() == ["memory 1", "file 153", "core 0 files 1024"]
    assert status == -signal.SIGXCPU


@pytest.mark.parametrize("sandbox", BOXES)
def test_a_program_sees_nothing_of_the_environment(there: Machine, sandbox: str) -> None:
    working_sandbox()
    with there.session(sandbox=sandbox) as opened, opened.start(["/usr/bin/env"], []) as child:
        status, said = everything(child)
        home = opened.directory if sandbox == "none" else "/home/cas"
    seen = dict(line.split("=", 1) for line in said.decode().splitlines())
    mark = seen.pop("CAS_RUN")
    del seen["PATH"]
    assert status == 0
    assert seen.pop("PWD", home) == home
    assert seen == {"HOME": home, "LANG": "C.UTF-8", "TERM": "dumb"}
    assert mark.partition(".")[0] == Path(opened.directory).parent.name


def test_a_sandboxed_program_puts_no_more_into_memory_than_it_may(there: Machine) -> None:
    working_sandbox()
    script = """
        echo x 2>/dev/null >/dev/x || echo read-only
        head -c 65M /dev/zero 2>/dev/null >/dev/shm/x; stat -c %s /dev/shm/x"""
    _, said = shell(there, script)
    assert said == b"read-only\n67108864\n"


def test_a_sandboxed_program_sees_its_files_and_no_others(there: Machine, tmp_path: Path) -> None:
    working_sandbox()
    given, other = tmp_path / "it's\n given", tmp_path / "other"
    given.write_text("given")
    other.write_text("other")
    script = """cat "$1"; cat "$2" || echo " not seen"; echo x > "$1" || echo not writable
        ls /etc; grep -c : /proc/net/dev; ls -A "$HOME" | wc -l; ls /proc | grep -c '^[0-9]'"""
    with there.session() as opened:
        argv = ["/bin/sh", "-c", f"exec 2>/dev/null; {script}", "sh", str(given), str(other)]
        with opened.start(argv, [str(given)]) as child:
            _, said = everything(child)
    lines = said.decode().splitlines()
    assert opened.sandbox == "bwrap"
    assert lines[:2] == ["given not seen", "not writable"]
    assert set(lines[2:-3]) <= {"alternatives", "ld.so.cache"}
    assert lines[-3:-1] == ["1", "0"]
    assert int(lines[-1]) <= 7


def test_words_of_every_kind_arrive_as_they_are(there: Machine) -> None:
    words = ["a b", "it's", 'a "quote"', "two\nlines", "$HOME `id` ; | & * \\", "", "-n", "ü"]
    argv = ["/usr/bin/printf", "<%s>", *words]
    with there.session() as opened, opened.start(argv, []) as child:
        assert everything(child) == (0, "".join(f"<{word}>" for word in words).encode())


@pytest.mark.parametrize("sandbox", ["auto", "none"])
@pytest.mark.parametrize(
    ("script", "status"), [("exit 3", 3), ("kill -SEGV $$", -signal.SIGSEGV), ("exit 0", 0)]
)
def test_the_exit_status_comes_back(there: Machine, sandbox: str, script: str, status: int) -> None:
    assert shell(there, script, sandbox=sandbox) == (status, b"")


def test_a_program_that_is_not_there_says_so(there: Machine) -> None:
    with there.session() as opened, opened.start(["/no/such/program"], []) as child:
        status, _ = everything(child)
        assert status not in (0, None)
        assert "/no/such/program" in child.stderr


def test_a_silent_program_is_reported_and_a_busy_one_is_not(there: Machine) -> None:
    with there.session(watchdog_s=1) as opened:
        with opened.start(["/bin/sleep", "1000"], []) as child:
            assert child.read(PATIENCE_S) is None
            assert child.fault == "hung: no output and no use of the processor for 1 s"
        busy = "while [ $SECONDS -lt 3 ]; do :; done; echo done"
        with opened.start(["/bin/bash", "-c", busy], []) as child:
            assert (read_until(child, b"done"), child.fault) == (b"done\n", None)


def test_too_many_processes_are_reported(there: Machine) -> None:
    argv = ["/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait"]
    with (
        there.session(processes=5, sandbox="none") as opened,
        opened.start(argv, []) as child,
    ):
        assert child.read(PATIENCE_S) is None
        assert child.fault == "more than 5 processes"
    assert there.left_behind() == []


@pytest.mark.parametrize("sandbox", BOXES)
def test_a_program_that_wants_to_stay_ends_with_all_that_it_started(
    there: Machine, sandbox: str
) -> None:
    with there.session(sandbox=sandbox) as opened:
        child = opened.start(["/bin/sh", "-c", STUBBORN], [])
        assert read_until(child, b"ready\n") == b"ready\n"
        assert child.stop() == -signal.SIGKILL
        assert until(lambda: opened.context.lease.processes == 0)
        opened.start(["/bin/sh", "-c", STUBBORN], [])
        there.names()
    assert there.left_behind() == []


def test_what_an_ended_program_has_left_behind_ends_too(there: Machine) -> None:
    script = "setsid sleep 1000 >/dev/null 2>&1 </dev/null & exit 5"
    with there.session(sandbox="none") as opened:
        child = opened.start(["/bin/sh", "-c", script], [])
        assert everything(child) == (5, b"")
        assert until(lambda: opened.context.lease.processes == 1)
        assert child.end() == 5
        assert until(lambda: opened.context.lease.processes == 0)


def test_a_program_that_is_asked_to_end_may_say_good_bye(there: Machine) -> None:
    script = "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.05; done"
    with there.session() as opened, opened.start(["/bin/sh", "-c", script], []) as child:
        read_until(child, b"ready\n")
        assert child.stop() == 4


def test_endless_complaints_neither_stall_a_program_nor_are_kept(there: Machine) -> None:
    script = "head -c 20000000 /dev/zero | tr '\\0' x >&2; echo last words >&2; echo done"
    with there.session() as opened, opened.start(["/bin/sh", "-c", script], []) as child:
        assert everything(child) == (0, b"done\n")
        assert child.stderr.endswith("xlast words\n")
        assert len(child.stderr) == 16 << 10


def test_a_trace_shows_the_processes_there(there: Machine, tmp_path: Path) -> None:
    evil = "printf '\\033]0;title\\007' > /proc/$BASHPID/comm"
    argv = ["/bin/bash", "-c", f"({evil}; while :; do sleep 1; done) & echo ready; wait"]
    with there.session(sandbox="none") as opened, opened.start(argv, []) as child:
        read_until(child, b"ready\n")
        path = write_trace(
            tmp_path, child, ProgramFailure("crash", "hung", "1 of 8", "crash", "bt"), print
        )
        assert path is not None
        text = path.read_text()
        assert path.name == f"crash.{child.pid}.1.trc"
    assert f"On 127.0.0.1:{there.host.port}:" in text
    assert f"--- /proc/{child.pid}/status\nName:\tbash\n" in text
    assert "Name:\t\\x1b]0;title\\x07\n" in text
    assert "\033" not in text


def test_the_last_slot_taken_means_busy_and_a_free_one_is_taken_again(serve: Serve) -> None:
    there = serve(jobs=2)
    busy = pytest.raises(HostBusy, match="all its slots are taken")
    with there.session():
        with there.session(), busy, there.session():
            pass
        with there.session():
            pass


def test_an_sshd_that_allows_too_few_channels_is_named(serve: Serve) -> None:
    there = serve(sessions=1)
    with there.session() as opened, pytest.raises(HostUnfit, match="too few sessions") as caught:
        opened.start(["/bin/true"], [])
    assert "MaxSessions" in caught.value.hint


def test_copies_in_use_are_held_and_other_files_do_not_matter(
    there: Machine, tmp_path: Path
) -> None:
    objects = there.directory / "objects" / "ab"
    objects.mkdir(parents=True)
    copies = [objects / name for name in ("one", "it's two", "three", "four")]
    for copy in copies:
        copy.write_text("copy")
    with there.session(*copies, tmp_path / "not there"):
        for copy in copies:
            with copy.open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for copy in copies:
        with copy.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_copy_that_is_gone_or_goes_is_a_reason_to_refuse(there: Machine) -> None:
    copy = there.directory / "objects" / "copy"
    with pytest.raises(HostUnfit, match="is not there any more"), there.session(copy):
        pass
    copy.parent.mkdir()
    copy.write_text("copy")
    with copy.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(HostUnfit, match="is being removed"), there.session(copy):
            pass
    assert until(lambda: not there.left_behind())


def test_without_bubblewrap_there_is_no_sandbox_unless_it_is_demanded(
    serve: Serve, tmp_path: Path
) -> None:
    there = serve(PATH=directory_of(tmp_path, *TOOLS.split()))
    with there.session() as opened, opened.start(["/bin/sh", "-c", "echo $HOME"], []) as child:
        assert everything(child) == (0, f"{opened.directory}\n".encode())
        assert opened.sandbox == "none (there is no bwrap)"
    with pytest.raises(HostUnfit, match="the sandbox cannot be used: there is no bwrap"):
        shell(there, "true", sandbox="bwrap")


def test_a_broken_bubblewrap_is_not_used(serve: Serve, tmp_path: Path) -> None:
    first = fake(tmp_path / "first", "bwrap", "echo no $'namespaces\\033[2J' >&2; exit 1")
    there = serve(PATH=f"{first}:{os.environ['PATH']}")
    with there.session() as opened:
        assert opened.sandbox.startswith("none (no $namespaces")
        assert "\033" not in opened.sandbox


@pytest.mark.parametrize("kind", ["dash", "bash", "busybox"])
def test_any_posix_shell_will_do(serve: Serve, tmp_path: Path, kind: str) -> None:
    working_sandbox()
    if kind == "busybox":
        programs = directory_of(tmp_path, "busybox")
        subprocess.run([programs / "busybox", "--install", "-s", programs], check=True)
        for program in ("bwrap", "flock"):
            (programs / program).unlink(missing_ok=True)
            (programs / program).symlink_to(needs(program))
    else:
        programs = directory_of(tmp_path, *TOOLS.split()[1:], "bwrap")
        (programs / "sh").symlink_to(needs(kind))
    there = serve(PATH=programs)
    script = f"ulimit -f; {STUBBORN}"
    with there.session(file_bytes=1 << 20) as opened:
        with opened.start(["/bin/sh", "-c", script], []) as child:
            assert read_until(child, b"ready\n") == b"2048\nready\n"
            assert until(lambda: opened.context.lease.processes >= 3)
            assert f"--- /proc/{child.pid}/status" in list(child.state())
            assert child.stop() == -signal.SIGKILL
        assert opened.sandbox == "bwrap"
    assert there.left_behind() == []


LIES = {
    "garbage": ("flock", "head -c 300 /dev/urandom | tr -d '\\n'; printf '\\033]0;x\\007\\n'"),
    "endless": ("flock", "exec cat /dev/zero"),
    "another directory": ("flock", "printf 'ready\\tnone\\t\\t/etc\\n'"),
    "an early end": ("flock", "kill -KILL $PPID"),
    "silence": ("awk", "exec sleep 60"),
    "more than was asked": ("awk", "printf '1 1\\nbeat 2 1 1\\n'"),
    "no numbers": ("awk", "printf '\\033]0;x\\007'"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_host_that_lies_about_its_session_is_lost(serve: Serve, tmp_path: Path, lie: str) -> None:
    program, script = LIES[lie]
    first = fake(tmp_path / "first", program, script)
    there = serve(PATH=f"{first}:{os.environ['PATH']}")
    with pytest.raises(HostLost) as caught, there.session() as opened:
        until(opened.check)
    assert str(caught.value).startswith(f"127.0.0.1:{there.host.port}: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_a_full_disk_is_a_reason_to_refuse(there: Machine) -> None:
    if os.geteuid() != 0:
        pytest.skip("to mount a small disk needs root")
    there.directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", there.directory]
    subprocess.run(mount, check=True)
    try:
        with there.session() as opened:
            with pytest.raises(OSError, match="No space left"):
                (there.directory / "filler").write_bytes(bytes(128 << 10))
            with pytest.raises(HostUnfit, match="cannot write into"):
                opened.start(["/bin/true"], [])
        subprocess.run(["mount", "-o", "remount,nr_inodes=8", there.directory], check=True)
        with pytest.raises(HostUnfit, match="No space left on device"), there.session():
            pass
        assert until(lambda: not there.left_behind())
    finally:
        subprocess.run(["umount", "-l", there.directory], check=True)


def seen_on(terminal: RemoteTerminal, words: bytes) -> bytes:
    """What a terminal shows up to some words."""
    shown = b""
    while words not in shown:
        data = terminal.read(PATIENCE_S)
        assert data, shown
        shown += data
    return shown


@pytest.mark.parametrize("sandbox", BOXES)
def test_a_terminal_has_a_size_and_passes_interrupts_to_the_program(
    there: Machine, sandbox: str
) -> None:
    script = """trap 'echo caught' INT; stty size; echo $TERM; sleep 1000; stty size
        read line; echo "read $line"; exit 7"""
    with there.session(sandbox=sandbox) as opened:
        argv = ["/bin/bash", "-c", script]
        terminal = opened.terminal(argv, [], Window(Size(100, 30), "xterm-256color"))
        assert seen_on(terminal, b"color\r\n") == b"30 100\r\nxterm-256color\r\n"
        terminal.resize(Size(80, 25))
        terminal.write(b"\x03")
        assert b"caught\r\n25 80\r\n" in seen_on(terminal, b"25 80\r\n")
        terminal.write(b"words\n")
        seen_on(terminal, b"read words\r\n")
        assert (terminal.read(PATIENCE_S), terminal.wait()) == (b"", 7)
        terminal.close()
        terminal.close()


def test_a_closed_terminal_leaves_nothing(there: Machine) -> None:
    with there.session(sandbox="none") as opened:
        terminal = opened.terminal(
            ["/bin/sh", "-c", STUBBORN], [], Window(Size(80, 25), "no such\nthing")
        )
        seen_on(terminal, b"ready\r\n")
        terminal.close()
        assert until(lambda: opened.context.lease.processes == 0)
    assert there.left_behind() == []
