"""What analysis hosts have: real ones on loopback, some of which are broken or lie."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from ssh_servers import Sshd, sshd

from cas.database.store import Store
from cas.hosts.inventory import AT_A_TIME, Load, ask_all_hosts, ask_host, inspect_host, load_of
from cas.hosts.link import HostUnfit, open_link
from cas.hosts.questions import BEGIN, END, read_answer
from cas.model.host import CrashProgram, Host
from cas.progress import Silent
from cas.settings.config import Config
from cas.settings.rules import HostRules

from installed import closed_port, needs

Serve = Callable[..., Sshd]
"""``serve(settings)``: a host whose key is known."""
TOOLS = (
    "sh dirname awk env mkfifo sha256sum uname head nproc grep df tail stat mkdir rm sed cat "
    "timeout flock true sleep"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cores").mkdir()
    return tmp_path


@pytest.fixture
def config(tmp_path: Path) -> Config:
    rules = HostRules(directory=str(tmp_path / "there"), keepalive_s=10)
    unused = tmp_path / "unused"
    return Config(unused, unused, tmp_path / "cores", str(unused), hosts=rules)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(settings: Mapping[str, object] | None = None) -> Sshd:
            directory = tmp_path / f"sshd-{closed_port()}"
            server = stack.enter_context(sshd(directory, tmp_path, settings))
            server.know()
            return server

        yield start


def host_of(server: Sshd) -> Host:
    return Host("127.0.0.1", server.port)


def path_with(directory: Path, **programs: str) -> dict[str, object]:
    """Settings of a host with these shell scripts first on PATH; ``_`` stands for ``-``."""
    directory.mkdir()
    for name, script in programs.items():
        program = directory / name.replace("_", "-")
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return {"SetEnv": f"PATH={directory}:{os.environ['PATH']}"}


def test_a_host_tells_its_facts(serve: Serve, config: Config) -> None:
    server = serve()
    host = ask_host(host_of(server), config)
    said = subprocess.run([needs("crash"), "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"^crash (\S+)$", said.stdout, re.MULTILINE)
    assert version
    key = subprocess.run(
        [needs("ssh-keygen"), "-lf", server.directory / "host.pub"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (host.name, host.port, host.problem) == ("127.0.0.1", server.port, None)
    assert host.arch == platform.machine()
    assert CrashProgram(needs("crash"), version[1], platform.machine()) in host.crashes
    assert host.cpus == len(os.sched_getaffinity(0))
    assert (host.memory_bytes or 0) > 1 << 20
    assert (host.free_bytes or 0) > 1 << 20
    assert host.is_shared
    assert host.checked
    assert (host.host_key or "").split()[1] == key.stdout.split()[1]


def test_drgn_is_found(serve: Serve, config: Config, tmp_path: Path) -> None:
    settings = path_with(tmp_path / "bin", drgn="echo 'drgn 0.3.0 (using Python 3.11.2)'")
    assert ask_host(host_of(serve(settings)), config).drgn == "0.3.0"


def test_the_directory_for_copies_is_made_private(serve: Serve, config: Config) -> None:
    ask_host(host_of(serve()), config)
    directory = Path(config.hosts.directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert list(directory.iterdir()) == []


def test_a_host_of_another_architecture(serve: Serve, config: Config, tmp_path: Path) -> None:
    settings = path_with(
        tmp_path / "bin",
        uname="echo aarch64",
        crash_native="echo crash 8.0.4; echo 'This GDB was configured as \"aarch64-linux-gnu\".'",
    )
    host = ask_host(host_of(serve(settings)), config)
    assert host.arch == "aarch64"
    assert host.crashes[0] == CrashProgram(f"{tmp_path}/bin/crash-native", "8.0.4", "aarch64")


def test_crash_says_itself_which_dumps_it_reads(
    serve: Serve, config: Config, tmp_path: Path
) -> None:
    gdb = 'This GDB was configured as \\"--host=x86_64-unknown-linux-gnu --target=%s\\"...'
    settings = path_with(
        tmp_path / "bin",
        uname="echo x86_64",
        crash_1="[ $1 = --version ] && echo crash 8.0.6 || echo '    build_target: ARM64'",
        crash_2=f'echo "crash 7.2.8"; echo "{gdb % "arm-elf-linux"}"',
        crash_3=f'echo "crash 7.2.9-2.el8"; echo "{gdb % "powerpc64le-unknown-linux-gnu"}"',
        crash_4="echo crash 5.0.0; echo 'This GDB was configured as \"x86_64-linux-gnu\".'",
        crash_5="[ $1 = --version ] && echo crash 8.0.6 || echo '    build_target: X86'",
    )
    host = ask_host(host_of(serve(settings)), config)
    found = [(one.version, one.arch) for one in host.crashes if str(tmp_path) in one.path]
    assert found == [
        ("8.0.6", "aarch64"),
        ("7.2.8", "arm"),
        ("7.2.9-2.el8", "ppc64le"),
        ("5.0.0", "x86_64"),
        ("8.0.6", "i686"),
    ]


def test_programs_that_lie_are_not_believed(serve: Serve, config: Config, tmp_path: Path) -> None:
    settings = path_with(
        tmp_path / "bin",
        crash_hangs="sleep 100",
        crash_lies="printf 'crash \\033[2J8.0.2\\nhas-flock yes\\ncpus 77\\n'",
        crash_fails="echo crash 8.0.2; exit 3",
        crash_shouts="yes crash 8.0.2",
        crash_silent="",
    )
    host = ask_host(host_of(serve(settings)), config)
    assert host.problem is None
    assert [one.path for one in host.crashes] == [needs("crash")]
    assert host.cpus != 77
    assert [remark.removeprefix(f"{tmp_path}/bin/crash-") for remark in host.remarks] == [
        "fails says `crash 8.0.2` and ends with status 3 when it is asked for its version",
        "hangs does not say its version within 5 s",
        "lies is no crash: asked for its version it says `crash \\x1b[2J8.0.2`",
        "shouts writes without end when it is asked for its version",
        "silent says nothing and ends with status 0 when it is asked for its version",
    ]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo x86 64", "uname -m there says `x86 64`"),
        (r"printf 'x86\033[2J\n'", r"uname -m there says `x86\x1b[2J`"),
        ("yes yes | tr -d '\\n'", "uname -m there says `yesyes"),
        ("exit 1", "uname -m there says nothing"),
    ],
)
def test_nonsense_for_an_architecture_is_a_problem(
    serve: Serve, config: Config, tmp_path: Path, script: str, said: str
) -> None:
    server = serve(path_with(tmp_path / "bin", uname=script))
    with open_link(host_of(server), config) as link:
        host = inspect_host(link, config)
    assert host.arch is None
    assert said in (host.problem or "")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo No shell for you.; exit 3", "says `No shell for you.` and ends with status 3"),
        ("echo not here >&2; exit 1", "says `not here` and ends with status 1"),
        ("true", "says nothing and ends with status 0"),
        ("yes", "it answers more than"),
        (f"echo '{BEGIN}'; echo arch x86_64", "ends with status 0"),
    ],
)
def test_a_login_shell_that_runs_no_commands_is_a_problem(
    serve: Serve, config: Config, command: str, said: str
) -> None:
    server = serve({"ForceCommand": command})
    (host,) = ask_all_hosts([host_of(server)], config, Silent())
    assert said in (host.problem or "")
    with open_link(host, config) as link, pytest.raises(HostUnfit, match=re.escape(said)):
        load_of(link, config)


def test_a_talkative_login_shell_is_understood(serve: Serve, config: Config) -> None:
    server = serve({"ForceCommand": 'echo Welcome; echo cpus 77; eval "$SSH_ORIGINAL_COMMAND"'})
    host = ask_host(host_of(server), config)
    assert (host.arch, host.problem) == (platform.machine(), None)
    assert host.cpus != 77


def test_a_login_shell_of_another_kind_is_understood(serve: Serve, config: Config) -> None:
    server = serve({"ForceCommand": f'exec {needs("fish")} --no-config -c "$SSH_ORIGINAL_COMMAND"'})
    host = ask_host(host_of(server), config)
    assert (host.arch, host.problem) == (platform.machine(), None)
    with open_link(host, config) as link:
        assert load_of(link, config).sessions == 0


@pytest.mark.parametrize(
    ("tool", "problem"),
    [
        ("timeout", "it has no timeout: install coreutils there"),
        ("flock", "it has no flock: install util-linux there"),
        ("awk", "it has no awk: install mawk there"),
    ],
)
def test_a_missing_tool_is_named_with_its_package(
    serve: Serve, config: Config, tmp_path: Path, tool: str, problem: str
) -> None:
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in set(TOOLS.split()) - {tool}:
        (directory / name).symlink_to(needs(name))
    host = ask_host(host_of(serve({"SetEnv": f"PATH={directory}"})), config)
    assert host.problem == problem


def test_a_directory_that_cannot_be_written_is_a_problem(serve: Serve, config: Config) -> None:
    rules = replace(config.hosts, directory="/proc/cas")
    host = ask_host(host_of(serve()), replace(config, hosts=rules))
    assert host.problem == (
        "/proc/cas cannot be written there: mend that, or set `hostDirectory` in cas.conf"
    )


def test_another_users_directory_is_a_problem(serve: Serve, config: Config, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    (tmp_path / "there").mkdir()
    os.chown(tmp_path / "there", 12345, 12345)
    assert "is not our user's" in (ask_host(host_of(serve()), config).problem or "")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> Sshd:
    """A host with another file system where our work directory is, of 8 MiB."""
    program = needs("sshd")
    if subprocess.run(
        [needs("unshare"), "-m", "true"], capture_output=True, check=False
    ).returncode:
        pytest.skip("this user may not have a mount namespace")
    mount = f"mount -t tmpfs -o size=8m none {tmp_path}/cores && exec {program}"
    directory = tmp_path / "wrapped"
    path_with(directory, sshd=f'exec unshare -m sh -c \'{mount} "$@"\' sshd "$@"')
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return serve()


def test_equal_paths_are_not_taken_for_shared_storage(elsewhere: Sshd, config: Config) -> None:
    assert not ask_host(host_of(elsewhere), config).is_shared


def test_a_disk_that_is_nearly_full_is_a_problem(
    elsewhere: Sshd, config: Config, tmp_path: Path
) -> None:
    rules = replace(config.hosts, directory=f"{tmp_path}/cores/there")
    host = ask_host(host_of(elsewhere), replace(config, hosts=rules))
    assert host.problem == f"only 8.0 MiB are free below {rules.directory}: make room there"


def test_a_dead_a_stopped_and_an_unknown_host_do_not_stop_a_live_one(
    serve: Serve, config: Config, tmp_path: Path
) -> None:
    stopped, live = serve(), serve()
    config = replace(config, hosts=replace(config.hosts, keepalive_s=1))
    dead = Host("127.0.0.1", closed_port(), arch="s390x", cpus=4)
    os.kill(stopped.process.pid, signal.SIGSTOP)
    with sshd(tmp_path / "unknown", tmp_path) as unknown:
        hosts = [dead, host_of(stopped), host_of(unknown), host_of(live)]
        told = ask_all_hosts(hosts, config, Silent())
    os.kill(stopped.process.pid, signal.SIGCONT)
    assert [host.port for host in told] == [host.port for host in hosts]
    assert [host.problem is None for host in told] == [False, False, False, True]
    assert told[0] == replace(dead, problem=told[0].problem)
    assert "refused" in (told[0].problem or "")
    assert "is not known: ssh-ed25519 SHA256:" in (told[2].problem or "")
    assert told[3].arch == platform.machine()


@contextmanager
def silent_server() -> Iterator[tuple[int, list[int]]]:
    """A server that says nothing: its port, and how many were connected at each arrival."""
    seen: list[int] = []
    is_over = threading.Event()

    def serve(listener: socket.socket) -> None:
        held: list[socket.socket] = []
        while not is_over.is_set():
            try:
                held.append(listener.accept()[0])
            except TimeoutError:
                continue
            held = [one for one in held if _is_open(one)]
            seen.append(len(held))

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], seen
        finally:
            is_over.set()
            thread.join()


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while data := connection.recv(4096):
            assert data.startswith(b"SSH-2.0-")
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@pytest.mark.long
def test_many_dead_hosts_are_waited_for_side_by_side(serve: Serve, config: Config) -> None:
    config = replace(config, hosts=replace(config.hosts, keepalive_s=3))
    live = host_of(serve())
    with silent_server() as (port, seen):
        told = ask_all_hosts(
            [*(Host(f"127.0.0.{n}", port) for n in [1] * 19), live], config, Silent()
        )
    assert [host.problem is None for host in told] == [False] * 19 + [True]
    assert max(seen) >= AT_A_TIME - 1


def test_sessions_are_counted_by_their_locks(serve: Serve, config: Config) -> None:
    slots = Path(config.hosts.directory) / "slots"
    slots.mkdir(parents=True)
    with ExitStack() as stack, open_link(host_of(serve()), config) as link:
        for number in (1, 2, 3):
            slot = stack.enter_context((slots / str(number)).open("w"))
            if number != 2:
                fcntl.flock(slot, fcntl.LOCK_EX)
        load = load_of(link, config)
    assert load.sessions == 2


def test_a_host_without_sessions_tells_its_load(serve: Serve, config: Config) -> None:
    with open_link(host_of(serve()), config) as link:
        load = load_of(link, config)
    assert load == Load(0, load.load_per_cpu, load.memory_bytes, load.free_bytes)
    assert load.load_per_cpu >= 0
    assert min(load.memory_bytes, load.free_bytes) > 1 << 20


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_every_posix_shell_understands_the_questions(
    serve: Serve, config: Config, tmp_path: Path, shell: str
) -> None:
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in TOOLS.split() if shell == "busybox" else ["sh"]:
        (directory / name).symlink_to(needs(shell))
    server = serve({"SetEnv": f"PATH={directory}:{os.environ['PATH']}"})
    host = ask_host(host_of(server), config)
    assert (host.arch, host.problem) == (platform.machine(), None)
    assert needs("crash") in [one.path for one in host.crashes]
    assert host.cpus and host.memory_bytes and host.free_bytes
    with open_link(host, config) as link:
        assert load_of(link, config).sessions == 0


def test_a_host_whose_df_does_not_know_the_file_system_tells_its_room_all_the_same() -> None:
    header = "df Filesystem 1024-blocks Used Available Capacity Mounted on"
    told = read_answer(f"\n{BEGIN}\n{header}\nblocks 2048 4096\n{END}\n".encode())
    assert told and told.free_bytes == 2048 * 4096


def test_a_host_that_claims_more_room_than_there_is_can_be_stored(store: Store) -> None:
    told = read_answer(f"\n{BEGIN}\nblocks {'9' * 15} {'9' * 9}\n{END}\n".encode())
    assert told is not None
    store.hosts.put_host(Host("boaster", free_bytes=told.free_bytes))
    assert store.registered_hosts() == (Host("boaster", free_bytes=(1 << 63) - 1),)


def test_a_host_that_makes_everything_up_is_held_to_the_form_of_an_answer(
    serve: Serve, config: Config, tmp_path: Path
) -> None:
    made_up = tmp_path / "answer"
    programs = [f"crash /opt/{n}/crash\n crash 8.0.{n}\n =0\n" for n in range(999)]
    programs.insert(0, "crash /bin/crash\x1b[2J;reboot\n crash 8.0.2\n =0\n")
    programs.insert(1, "crash crash\n crash 8.0.2\n =0\n")
    facts = "arch riscv64\ncpus 64\ncpus 1\nMemAvailable: 99 kB\nwritable yes\n"
    made_up.write_text(f"\n{BEGIN}\n{facts}{''.join(programs)}\n{END}\n")
    liar = f'case "$SSH_ORIGINAL_COMMAND" in *nproc*) cat {made_up} ;; esac'
    host = ask_host(host_of(serve({"ForceCommand": liar})), config)
    assert (host.arch, host.cpus, host.memory_bytes) == ("riscv64", 64, 99 << 10)
    assert 0 < len(host.crashes) < 30
    assert all(one.path.startswith("/opt/") for one in host.crashes)
    assert not host.is_shared


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"\0" * 100,
        f"\n{BEGIN}\n".encode(),
        f"\n{END}\n{BEGIN}\n".encode(),
        f"{BEGIN}\n{END}\n".encode(),
    ],
)
def test_half_an_answer_is_none(output: bytes) -> None:
    assert read_answer(output) is None


@pytest.mark.parametrize("fact", ["cpus -3", "cpus 1e9", "load nan ", "df x", "cpus " + "9" * 99])
def test_a_fact_without_its_form_is_not_believed(fact: str) -> None:
    told = read_answer(f"\n{BEGIN}\n{fact}\n\xff\0\n  \n =0\n{END}\n".encode("latin-1"))
    assert told
    assert (told.cpus, told.load_average, told.memory_bytes, told.free_bytes) == (None,) * 4
