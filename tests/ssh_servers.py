"""OpenSSH's own server on loopback, with keys of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
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

    def url(self, path: Path) -> str:
        return f"sftp://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    def know(self, key: Path | None = None) -> None:
        """Add the server's key, or another one, to known_hosts."""
        kind, data = (key or self.directory / "host.pub").read_text().split()[:2]
        with (self.home / ".ssh/known_hosts").open("a") as known:
            known.write(f"[127.0.0.1]:{self.port} {kind} {data}\n")


def make_key(path: Path) -> Path:
    """A key pair; the private one is at the path."""
    argv = [needs("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", path]
    subprocess.run(argv, check=True)
    return path


@contextlib.contextmanager
def sshd(
    directory: Path, home: Path, settings: Mapping[str, object] | None = None
) -> Iterator[Sshd]:
    """A running sshd that takes ``home/.ssh/id_ed25519``.

    :param settings: of sshd_config(5), added or instead of ours; ``SetEnv`` may hold
        ``PATH=…``, where programs of a host can be put first
    """
    program, port = needs("sshd"), closed_port()
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    (home / ".ssh").mkdir(parents=True, exist_ok=True)
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
    config = directory / "sshd_config"
    config.write_text("".join(f"{key} {value}\n" for key, value in everything.items()))
    with (directory / "sshd.log").open("wb") as log:
        argv = [program, "-D", "-e", "-f", config]
        with subprocess.Popen(argv, stderr=log, stdin=subprocess.DEVNULL) as process:
            try:
                _await(port, process)
                yield Sshd(directory, home, port, process)
            finally:
                process.terminate()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("sshd did not start")
