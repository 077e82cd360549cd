"""The sandbox: what a program in it can reach, and what happens where there is none."""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cas.settings.rules import Supervision
from cas.supervise import (
    FILES,
    Child,
    Confinement,
    Finished,
    VisibleFiles,
    find_sandbox,
    run_program,
    seccomp,
)
from cas.supervise.sandbox import visible

from installed import Site, working_sandbox

PYTHON = Path(sys.executable).resolve()


@pytest.fixture
def room(tmp_path: Path) -> Confinement:
    directory = tmp_path / "room"
    directory.mkdir()
    return Confinement(directory, sandbox=working_sandbox())


@pytest.fixture
def inside(room: Confinement) -> Callable[[str], Finished]:
    def sh(script: str) -> Finished:
        return run_program(["/bin/sh", "-c", script], room, timeout_s=30, max_bytes=1 << 20)

    return sh


def test_there_is_no_network(room: Confinement) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = f"import socket; socket.create_connection({server.getsockname()!r}, 5)"
        python = dict(visible([Path(sys.base_prefix).resolve()]))
        with Child([PYTHON, "-I", "-S", "-c", script], room, VisibleFiles(python)) as child:
            assert child.read(30) == b""
            assert child.wait(10) == 1
            assert "Error" in child.stderr


def test_only_files_that_were_given_are_seen(room: Confinement, tmp_path: Path) -> None:
    given, other = tmp_path / "given", tmp_path / "other"
    given.write_text("yes\n")
    other.write_text("no\n")
    view = VisibleFiles({given: f"{FILES}/one"})
    with Child(["/bin/cat", given, other], room, view) as child:
        assert child.read(10) == b"yes\n"
        assert child.wait(10) == 1
        assert "No such file" in child.stderr


def test_a_given_file_cannot_be_changed(room: Confinement, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("whole")
    with Child(
        ["/usr/bin/truncate", "-s0", given], room, VisibleFiles({given: f"{FILES}/one"})
    ) as child:
        assert child.wait(10) == 1
    assert given.read_text() == "whole"


@pytest.mark.parametrize(
    "place", ["/x", "/usr/x", "/etc/x", "/dev/shm/../x", "/proc/sys/kernel/core_pattern"]
)
def test_nothing_outside_can_be_written(inside: Callable[[str], Finished], place: str) -> None:
    assert "Read-only" in inside(f"echo x > {place}").stderr or not Path(place).exists()


def test_what_is_written_inside_is_gone(
    inside: Callable[[str], Finished], room: Confinement
) -> None:
    assert inside("echo x > $HOME/a && echo x > /tmp/b && ls -A $HOME /tmp").status == 0
    assert inside("ls -A $HOME /tmp").stdout == b"/home/cas:\n\n/tmp:\n"
    assert list(room.directory.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "limit_bytes"), [("/dev/shm", 64 << 20), ("/tmp", 256 << 20), ("$HOME", 256 << 20)]
)
def test_what_is_written_inside_has_a_limit(
    inside: Callable[[str], Finished], place: str, limit_bytes: int
) -> None:
    said = inside(f"head -c 300M /dev/zero > {place}/x; stat -c %s {place}/x")
    assert "No space left" in said.stderr
    assert 0 < int(said.stdout) <= limit_bytes


def test_there_is_nowhere_else_in_dev_to_write_to(inside: Callable[[str], Finished]) -> None:
    assert "Read-only" in inside("echo x > /dev/x").stderr
    assert inside("echo x > /dev/null && head -c 1 /dev/urandom >/dev/zero").status == 0


CALLS = """
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
for number in map(int, sys.argv[1:]):
    print(libc.syscall(number, 0, 0, 0), errno.errorcode.get(ctypes.get_errno()))
"""
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "s390x": 0x80000016, "ppc64le": 0xC0000015}


def test_the_kernels_keys_and_memory_without_a_limit_are_out_of_reach(room: Confinement) -> None:
    numbers = [str(number) for number in seccomp.REFUSED[ARCHES[platform.machine()]] if number]
    python = dict(visible([Path(sys.base_prefix).resolve()]))
    with Child([PYTHON, "-I", "-S", "-c", CALLS, *numbers], room, VisibleFiles(python)) as child:
        assert child.read(30) == b"-1 ENOSYS\n" * len(numbers)


def test_the_filter_is_there_for_each_start(inside: Callable[[str], Finished]) -> None:
    for _ in range(2):
        assert b"Seccomp:\t2" in inside("cat /proc/self/status").stdout


def test_other_processes_are_out_of_reach(inside: Callable[[str], Finished]) -> None:
    assert inside(f"kill -0 {os.getpid()}").status != 0
    assert b"cas" not in inside("ps -eo args | grep -v bwrap").stdout


def test_there_is_no_way_to_become_root_in_it(inside: Callable[[str], Finished]) -> None:
    assert inside("unshare --user --map-root-user mount -t tmpfs none /tmp").status != 0
    assert b"CapEff:\t0000000000000000" in inside("cat /proc/self/status").stdout


def test_a_program_outside_the_system_is_shown_alone(room: Confinement, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "tool"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nls $(dirname $0)\n")
    program.chmod(0o755)
    (program.parent / "neighbour").touch()
    assert run_program([program], room, timeout_s=20, max_bytes=100).stdout == b"tool\n"


@pytest.mark.parametrize("script", ["exit 1", "echo no user namespaces >&2; exit 7"])
def test_a_demanded_sandbox_that_does_not_work_is_refused_before_anything_is_done(
    site: Site, vmcore: Path, script: str
) -> None:
    programs = site.directory / "bin"
    programs.mkdir()
    (programs / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
    (programs / "bwrap").chmod(0o755)
    site.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    site.settings["sandbox"] = "bwrap"
    done = site.cas("-i", "T-1", "-f", vmcore)
    assert (done.returncode, done.stdout) == (5, "")
    assert "the sandbox cannot be used" in done.stderr
    assert "sandbox = auto" in done.stderr
    assert not site.jobs.exists()


def test_where_there_is_none_everybody_is_told(site_b: Site, vmcore_b: Path) -> None:
    site_b.settings["engine"] = "drgn"
    site_b.keep_snippets("sys")
    programs = site_b.directory / "bin"
    programs.mkdir()
    (programs / "bwrap").write_text("#!/bin/sh\necho no user namespaces >&2\nexit 1\n")
    (programs / "bwrap").chmod(0o755)
    site_b.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    done = site_b.cas("-i", "T-1", "-f", vmcore_b)
    assert done.returncode == 0, done.stderr
    assert "! sandbox of the debuggers: none (no user namespaces)\n" in done.stderr
    for name in ("report.txt", "report.html"):
        told = (site_b.job("T-1") / name).read_text()
        assert "sandbox of the debuggers: none (no user namespaces)" in told
    status = site_b.admin("status")
    hint = "install bubblewrap and allow user namespaces"
    assert f"! none (no user namespaces); {hint}" in status.stdout
    checked = site_b.admin("check", "--quick")
    line = f"open   sandbox: programs that read a dump have none (no user namespaces); {hint}"
    assert line in checked.stdout.splitlines()
    assert checked.returncode == 0
    site_b.settings["sandbox"] = "none"  # as somebody wanted it
    assert "sandbox" not in site_b.admin("check", "--quick").stdout
    assert "! none (switched off in the configuration)\n" in site_b.admin("status").stdout


@pytest.mark.parametrize(
    ("unknown", "lack"),
    [
        ("--size|--disable-userns", "no limit of its directories, bwrap is older than 0.7"),
        ("--seccomp", "no filter of system calls"),
    ],
)
def test_a_sandbox_that_lacks_something_serves_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unknown: str, lack: str
) -> None:
    real = working_sandbox().bwrap
    program = tmp_path / "bin" / "bwrap"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\nfor word; do case $word in {unknown}) echo unknown >&2; exit 1 ;; esac; done\n"
        f'exec {real} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    sandbox, name = find_sandbox("bwrap")
    assert name == f"bwrap; {lack}"
    room = Confinement(tmp_path, sandbox=sandbox)
    script = "echo x > /dev/x; echo x > /tmp/x && echo in"
    finished = run_program(["/bin/sh", "-c", script], room, timeout_s=30, max_bytes=100)
    assert (finished.status, finished.stdout) == (0, b"in\n")
    assert "Read-only" in finished.stderr


def test_without_a_sandbox_the_reason_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_sandbox("auto") == (None, "none (there is no bwrap)")
    assert find_sandbox("none") == (None, "none (switched off in the configuration)")


def test_the_rules_hold_in_it(room: Confinement) -> None:
    limited = Confinement(room.directory, Supervision(file_bytes=1 << 16), sandbox=room.sandbox)
    script = "head -c 1M /dev/zero > /tmp/x; stat -c %s /tmp/x"
    finished = run_program(["/bin/sh", "-c", script], limited, timeout_s=20, max_bytes=100)
    assert finished.stdout == b"65536\n"
