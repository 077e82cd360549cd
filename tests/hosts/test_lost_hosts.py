"""Sessions whose client, link, sshd or guard dies or hangs: it is noticed, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sessions_there import STUBBORN, Machine, machine, of, pids, read_until, until
from ssh_servers import Sshd, sshd
from three_hosts import three_hosts

from cas.errors import HostLost
from cas.hosts.session.session import RemoteChild, Session


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    monkeypatch.setenv("HOME", str(tmp_path))
    with sshd(tmp_path / "sshd", tmp_path) as server:
        server.know()
        yield server


@pytest.fixture
def there(server: Sshd, tmp_path: Path) -> Machine:
    return machine("127.0.0.1", server.port, tmp_path / "there")


def descendants(pid: int) -> Iterator[int]:
    for child in of(pid, f"task/{pid}/children").split():
        yield int(child)
        yield from descendants(int(child))


def connections(server: Sshd) -> list[int]:
    """sshd's processes of its connections."""
    below = descendants(server.process.pid)
    # since OpenSSH 9.8 a connection is a program of its own
    return [pid for pid in below if of(pid, "comm") in (b"sshd\n", b"sshd-session\n")]


@contextmanager
def client(there: Machine) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that keeps a session with a stubborn program."""
    argv = [Path(__file__).with_name("sessions_there.py"), there.host.name, str(there.host.port)]
    with subprocess.Popen(
        [sys.executable, *argv, there.directory], stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            assert there.names()
            yield process
        finally:
            process.kill()


@contextmanager
def running(there: Machine, **rules: object) -> Iterator[tuple[Session, RemoteChild]]:
    """A session with a stubborn program."""
    with there.session(**rules) as opened:
        child = opened.start(["/bin/sh", "-c", STUBBORN], [])
        read_until(child, b"ready\n")
        there.names()
        yield opened, child


def lost(child: RemoteChild) -> str:
    """Why a program's host is lost, which every call says from then on."""
    with pytest.raises(HostLost) as caught:
        until(lambda: child.read(0.2) == b"")
        child.wait(5)
    calls: list[Callable[[], object]] = [
        lambda: child.send(b"x"),
        lambda: child.read(0),
        lambda: child.wait(0),
        child.interrupt,
        child.stop,
        child.end,
        lambda: list(child.state()),
    ]
    for call in calls:
        with pytest.raises(HostLost):
            call()
    return str(caught.value)


def test_a_killed_client_leaves_nothing(there: Machine) -> None:
    with client(there) as process:
        process.kill()
        assert until(lambda: not there.left_behind())


def test_a_stopped_client_leaves_nothing_and_hears_of_it_when_it_goes_on(there: Machine) -> None:
    with client(there) as process:
        process.send_signal(signal.SIGSTOP)
        assert until(lambda: not there.left_behind())
        process.send_signal(signal.SIGCONT)
        assert process.wait() == 1


def test_a_stopped_sshd_is_noticed_and_leaves_nothing(there: Machine, server: Sshd) -> None:
    with ExitStack() as stack, running(there) as (_, child):
        for pid in connections(server):
            os.kill(pid, signal.SIGSTOP)
            stack.callback(os.kill, pid, signal.SIGKILL)
        assert "no sign of life for 3 s" in lost(child)
        assert until(lambda: not there.left_behind())


@pytest.mark.parametrize("sandbox", ["auto", "none"])
def test_a_killed_sshd_is_noticed_and_leaves_nothing(
    there: Machine, server: Sshd, sandbox: str
) -> None:
    with running(there, sandbox=sandbox) as (_, child):
        for pid in connections(server):
            os.kill(pid, signal.SIGKILL)
        lost(child)
        assert until(lambda: not there.left_behind())


def test_a_cut_link_is_noticed_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with three_hosts(tmp_path / "hosts", tmp_path, count=1) as (host,):
        there = machine(host.address, None, tmp_path / "there")
        with running(there) as (_, child):
            host.cut()
            assert "no sign of life for 3 s" in lost(child)
            assert until(lambda: not there.left_behind())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGSTOP])
def test_a_guard_that_ends_or_hangs_is_noticed_and_leaves_nothing(
    there: Machine, number: signal.Signals
) -> None:
    with running(there, sandbox="none") as (_, child):
        first, *_ = there.guards()
        os.kill(first, number)
        assert "its guard" in lost(child)
        assert until(lambda: not there.left_behind())


def test_without_the_one_who_waits_for_beats_the_session_ends(there: Machine) -> None:
    with running(there, sandbox="none") as (_, child):
        _, second, *_ = there.guards()
        os.kill(second, signal.SIGKILL)
        assert "its guard" in lost(child)
        assert until(lambda: not there.left_behind())


def test_the_next_session_ends_what_is_left_when_all_guards_are_killed(there: Machine) -> None:
    with running(there, sandbox="none") as (_, child):
        for pid in reversed(there.guards()):
            os.kill(pid, signal.SIGKILL)
        lost(child)
        (left,) = there.sessions()
        assert any(left.name.encode() in of(pid, "environ") for pid in pids())
        with there.session():
            assert left not in there.sessions()
    assert until(lambda: not there.left_behind())


def test_a_session_that_others_keep_is_not_ended(there: Machine) -> None:
    with running(there) as (_, child):
        with there.session(), there.session():
            pass
        child.send(b"x")
        assert child.wait(0.5) is None


def test_stopped_programs_and_a_closed_directory_are_no_obstacle(there: Machine) -> None:
    with running(there, sandbox="none") as (opened, child):
        (Path(opened.directory) / "closed").mkdir()
        (Path(opened.directory) / "closed" / "file").touch()
        (Path(opened.directory) / "closed").chmod(0)
        os.kill(child.pid, signal.SIGSTOP)
    assert there.left_behind() == []
