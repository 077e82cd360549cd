"""OpenSSH's own server on loopback, with keys of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from installed import closed_port, needs


@dataclass
class Sshd:
    """OpenSSH's server with keys of its own; its users' home is a directory of the test."""

    directory: Path
    home: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.directory / "sshd.log").read_text(errors="replace")

    def url(self, path: Path) -> str:
        return f"sftp://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    def know(self, key: Path | None = None, name: str | None = None, marker: str = "") -> None:
        """Add the server's key, or another one, to known_hosts."""
        kind, data = (key or self.directory / "host.pub").read_text().split()[:2]
        with (self.home / ".ssh/known_hosts").open("a") as known:
            known.write(f"{marker} {name or f'[127.0.0.1]:{self.port}'} {kind} {data}\n".lstrip())

    def stop(self) -> None:
        """Halt the server, its connections and what runs in them."""
        self._signal(signal.SIGSTOP)

    def cont(self) -> None:
        """Let all that was halted go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the server, its connections and what runs in them, at once."""
        halted = self._signal(signal.SIGSTOP)  # or a child could make another one meanwhile
        # one whose parent was ending has lost it since
        self._signal(signal.SIGKILL, halted)

    def _signal(self, number: int, others: Iterable[int] = ()) -> set[int]:
        """Send a signal to all, and to others; to whom."""
        pids = {*family(self.process.pid), *others}  # before the first of them is gone
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids


def family(pid: int) -> Iterator[int]:
    """A process, then its children, theirs, and so on; sshd's are in sessions of their own."""
    children: dict[int, list[int]] = {}
    yield pid
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    for child in children.get(pid, ()):
        yield from family(child)


def make_key(path: Path, kind: str = "ed25519", bits: int = 0, passphrase: str = "") -> Path:
    """A key pair; the private one is at the path."""
    argv = [needs("ssh-keygen"), "-q", "-t", kind, "-N", passphrase, "-f", path]
    subprocess.run([*argv, *(["-b", str(bits)] if bits else [])], check=True)
    return path


@contextlib.contextmanager
def sshd(
    directory: Path, home: Path, settings: Mapping[str, object] | None = None
) -> Iterator[Sshd]:
    """A running sshd that takes ``home/.ssh/id_ed25519``.

    :param settings: of sshd_config(5), added or instead of ours; a list stands for several lines;
        ``SetEnv`` may hold ``PATH=…``, where programs of a host can be put first
    """
    program, port = needs("sshd"), _port(settings or {})
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    (home / ".ssh").mkdir(parents=True, exist_ok=True)
    if not (directory / "host").exists():
        make_key(directory / "host")
    user = home / ".ssh/id_ed25519"
    if not user.exists():
        make_key(user)
    shutil.copy(f"{user}.pub", directory / "authorized")
    everything = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": directory / "host",
        "AuthorizedKeysFile": directory / "authorized",
        "Subsystem": "sftp internal-sftp",
        "StrictModes": "no",
        "PermitRootLogin": "yes",
        "PasswordAuthentication": "no",
        "PidFile": "none",
        **(settings or {}),
    }
    # one line holds all variables; the user's own start-up files would take their time
    everything["SetEnv"] = f"{everything.get('SetEnv', '')} HOME={home}".strip()
    config = directory / "sshd_config"
    config.write_text("".join(_lines(everything)))
    with (directory / "sshd.log").open("wb") as log:
        argv = [program, "-D", "-e", "-f", config]
        with subprocess.Popen(argv, stderr=log, stdin=subprocess.DEVNULL) as process:
            running = Sshd(directory, home, port, process)
            try:
                _await(port, process)
                yield running
            finally:
                running.kill()


def _port(settings: Mapping[str, object]) -> int:
    """The one of the first ListenAddress, or a free one."""
    listen = settings.get("ListenAddress")
    first = listen[0] if isinstance(listen, list) else listen
    return int(str(first).rpartition(":")[2]) if first else closed_port()


def _lines(settings: Mapping[str, object]) -> Iterator[str]:
    for key, value in settings.items():
        for each in value if isinstance(value, list) else [value]:
            yield f"{key} {each}\n"


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("sshd did not start")


class Tap:
    """Passes connections on to a port, and counts what clients send; a context manager."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._behind = (host, port)
        self.sent_bytes = 0
        """By clients."""
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Tap:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(self._behind)
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(*ends, client), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if one is client:
                    self.sent_bytes += len(data)
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)
