"""Analysis hosts with addresses of their own: sshds in namespaces, whose links and disks can fail.

Each host has its own network, processes and mounts: a small tmpfs as the user's home, sshd on
port 22, and a directory of programs that come first on PATH. Its files are otherwise this
machine's, so that a work directory is shared unless it is hidden. All of it ends with the process
that made it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from ssh_servers import make_key

from installed import needs

NETWORK = IPv4Address("198.18.0.0")
"""198.18.0.0/15 is set aside for measurements (RFC 2544)."""
ADDRESSES = 1 << 17
SSHDS = ("sshd: ", "sshd-session: ", "sshd-auth: ")
"""What the processes of OpenSSH's server call themselves; the latter two since 9.8 and 10.0."""
LINKS_OF_A_PROCESS = 16
SAFE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME_BYTES = 256 << 20
START_S = 20.0
INIT = """mount -t tmpfs -o "size=$1,mode=700" tmpfs "$2"
shift 2
for hidden; do mount -t tmpfs tmpfs "$hidden"; done
echo ready
exec >&-
while :; do sleep 1000 & wait; done"""
"""The first process of a host: it takes on and buries what others leave behind."""
_numbers = itertools.count(1)


@dataclass
class HostInNamespace:
    """A running host."""

    address: str
    directory: Path
    """Its sshd's files, and ``bin``: programs that come first on its PATH."""
    init: int
    """Process id, on this machine, of its first process."""
    interface: str
    """Our end of its link."""

    @property
    def name(self) -> str:
        """What ``cas-admin host add`` is told."""
        return self.address

    @property
    def bin(self) -> Path:
        return self.directory / "bin"

    @property
    def home(self) -> Path:
        """The user's home as this machine sees it, whatever the host's processes do."""
        return Path(f"/proc/{self.init}/root{self.directory}/home")

    @property
    def host_key(self) -> str:
        """Type and key, as in known_hosts."""
        return " ".join((self.directory / "host.pub").read_text().split()[:2])

    def pids(self) -> set[int]:
        """All processes of the host but the first, as this machine numbers them.

        A sandbox there has namespaces of its own; whoever loses its parent becomes the first's.
        """
        parents = {int(path.name): _parent(path) for path in Path("/proc").glob("[1-9]*")}
        found, new = set(), {self.init}
        while new := {pid for pid, parent in parents.items() if parent in new}:
            found |= new
        return found

    def processes(self) -> list[str]:
        """Command lines of what runs there beside the listening sshd."""
        return [line for pid in self.pids() if (line := _command(pid)) and not _is_part(line)]

    def cut(self) -> None:
        """Pull the cable: nothing comes through, nobody is told."""
        self._within("ip", "link", "set", "eth0", "down")

    def mend(self) -> None:
        """Put the cable in again."""
        self._within("ip", "link", "set", "eth0", "up")

    def stop(self) -> None:
        """Stop every process of the host, as if the machine hung; its kernel still answers."""
        for _ in range(3):  # what was started meanwhile is stopped, too
            self._signal(self.pids(), signal.SIGSTOP)

    def cont(self) -> None:
        self._signal(self.pids(), signal.SIGCONT)

    def kill_sshd(self) -> None:
        """Kill the listening sshd and those of the connections; what they started stays."""
        names = {pid: _command(pid) for pid in self.pids()}
        sshds = {pid for pid, line in names.items() if line.startswith(SSHDS)}
        self._signal(sshds, signal.SIGKILL)

    def start_sshd(self) -> None:
        """Start sshd, and wait until it listens."""
        sshd = str(needs("sshd"))
        words = ["-E", self.directory / "sshd.log", "-f", self.directory / "sshd_config"]
        subprocess.run([*self._inside(), sshd, *words], check=True, stdin=subprocess.DEVNULL)
        _await(self.address)

    def fill_disk(self) -> None:
        """Leave no room in the home."""
        with contextlib.suppress(OSError), (self.home / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(1 << 20)):
                pass

    def free_disk(self) -> None:
        (self.home / "filler").unlink(missing_ok=True)

    def fake(self, name: str, script: str) -> None:
        """Put a program of that name first on the host's PATH."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def _inside(self) -> list[str]:
        # -r: where we are in a chroot, its root is not that of the mount namespace
        return [needs("nsenter"), "-t", str(self.init), "-n", "-m", "-p", "-r"]

    def _within(self, *words: str) -> None:
        argv = [*self._inside(), *words]
        subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)

    def _signal(self, pids: set[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


@contextlib.contextmanager
def three_hosts(
    directory: Path,
    home: Path,
    *,
    count: int = 3,
    hides: Sequence[Path] = (),
    settings: Mapping[str, object] | None = None,
) -> Iterator[list[HostInNamespace]]:
    """Running hosts that take the key in ``home/.ssh``, whose known_hosts gets their keys.

    :param hides: directories of this machine that the hosts do not see
    :param settings: of sshd_config(5), added or instead of ours
    """
    _needs_namespaces()
    (home / ".ssh").mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (home / ".ssh/id_ed25519").exists():
        make_key(home / ".ssh/id_ed25519")
    with contextlib.ExitStack() as stack:
        hosts = []
        for number in range(1, count + 1):
            own = directory / f"host{number}"
            (own / "bin").mkdir(parents=True)
            (own / "home").mkdir()
            hosts.append(stack.enter_context(_host(own, home, hides, settings or {})))
        with (home / ".ssh/known_hosts").open("a") as known:
            known.writelines(f"{host.address} {host.host_key}\n" for host in hosts)
        yield hosts


@contextlib.contextmanager
def _host(
    directory: Path, home: Path, hides: Sequence[Path], settings: Mapping[str, object]
) -> Iterator[HostInNamespace]:
    number = os.getpid() * LINKS_OF_A_PROCESS + next(_numbers) % LINKS_OF_A_PROCESS
    ours, theirs = (NETWORK + (2 * number + end) % ADDRESSES for end in (0, 1))
    with _namespaces(directory, hides) as init:
        host = HostInNamespace(str(theirs), directory, init, f"cas{number}")
        make_key(directory / "host")
        shutil.copy(home / ".ssh/id_ed25519.pub", directory / "authorized")
        _configure(directory, settings)
        try:
            _connect(host, str(ours))
            host.start_sshd()
            yield host
        finally:
            subprocess.run([needs("ip"), "link", "del", host.interface], check=False)


def _configure(directory: Path, settings: Mapping[str, object]) -> None:
    everything = {
        "HostKey": directory / "host",
        "AuthorizedKeysFile": directory / "authorized",
        "Subsystem": "sftp internal-sftp",
        "StrictModes": "no",
        "PermitRootLogin": "yes",
        "PasswordAuthentication": "no",
        "UseDNS": "no",
        "MaxStartups": "100",
        "MaxSessions": "100",
        "PidFile": "none",
        "SetEnv": f"HOME={directory}/home PATH={directory}/bin:{SAFE_PATH}",
        **settings,
    }
    text = "".join(f"{key} {value}\n" for key, value in everything.items())
    (directory / "sshd_config").write_text(text)


@contextlib.contextmanager
def _namespaces(directory: Path, hides: Sequence[Path]) -> Iterator[int]:
    """A host without a network; its first process."""
    Path("/run/sshd").mkdir(exist_ok=True)
    kinds = ("--net", "--mount", "--pid", "--uts", "--ipc", "--mount-proc", "--fork")
    argv = [needs("setpriv"), "--pdeathsig", "KILL", needs("unshare"), *kinds, "--kill-child"]
    words = [str(HOME_BYTES), str(directory / "home"), *map(str, hides)]
    argv += ["sh", "-ec", INIT, "host", *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as outside:
        try:
            yield _first_process(outside)
        finally:
            outside.kill()


def _first_process(outside: subprocess.Popen[str]) -> int:
    """The first process of the namespaces, once it has made its mounts."""
    assert outside.stdout is not None
    if outside.stdout.readline() != "ready\n":
        raise RuntimeError("the namespaces of a host cannot be made")
    children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
    return int(children.read_text().split()[0])


def _connect(host: HostInNamespace, ours: str) -> None:
    """A cable between this machine and the host."""
    name, theirs = host.interface, host.address
    _ip(*f"link add {name} type veth peer name eth0 netns {host.init}".split())
    _ip(*f"addr add {ours} peer {theirs}/32 dev {name}".split())
    _ip("link", "set", name, "up")
    host._within(*f"ip addr add {theirs} peer {ours}/32 dev eth0".split())
    host._within("ip", "link", "set", "lo", "up")
    host.mend()


def _ip(*words: str) -> None:
    subprocess.run([needs("ip"), *words], check=True, capture_output=True)


def _await(address: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((address, 22), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"sshd on {address} does not listen")


def _needs_namespaces() -> None:
    if os.geteuid() != 0:
        pytest.skip("hosts with addresses of their own need root")
    for program in ("ip", "nsenter", "unshare", "setpriv"):
        needs(program)
    probe = "ip link add eth0 type veth peer name eth1 && mount -t tmpfs tmpfs /mnt"
    argv = ["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-c", probe]
    if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine allows no network namespaces")


def _parent(process: Path) -> int | None:
    """Source: proc(5), ``/proc/pid/stat``; the name in parentheses may hold anything."""
    try:
        return int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None


def _command(pid: int) -> str:
    """The words of a process; empty for one that ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def _is_part(line: str) -> bool:
    """Whether it belongs to the host itself."""
    return line == "sleep 1000" or line.startswith("sshd: /")
