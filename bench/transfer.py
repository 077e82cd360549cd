#!/usr/bin/env python3
"""How fast a copy goes to a host, against scp and other ways, in turns in the same run.

usage: bench/transfer.py [--mb 512] [--rounds 3] [--scratch DIRECTORY] [FILE…]

OpenSSH's sshd runs on loopback, so that both ends share the processors. Without FILE, random bytes
and the programs and libraries of this machine (which compress about as a vmlinux does) are sent.
Each way's median and its ratio to scp's are printed; `cas` is the stream alone, as scp checks no
digest, and `cas, checked` is the whole of Copies.place, both SHA-256 included.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from ssh_servers import Sshd, sshd  # noqa: E402

from cas.hosts.link import Link  # noqa: E402
from cas.hosts.transfer.copies import Copies  # noqa: E402
from cas.progress import Advance, Silent  # noqa: E402
from cas.settings.rules import HostRules  # noqa: E402
from cas.ssh import Destination, LoginOptions, logged_in  # noqa: E402

LOOPBACK = "127.0.0.1"
TARGET = 0.8
CHUNK_BYTES = 1 << 20
Way = Callable[[Path], float]
"""Sends a file and gives back the seconds."""


class Stopwatch(Silent):
    """Progress that knows how long the bar was shown."""

    seconds = 0.0

    @contextmanager
    def bar(self, text: str, total: int | None, unit: str = "B") -> Iterator[Advance]:
        begin = time.perf_counter()
        with super().bar(text, total, unit) as advance:
            yield advance
        self.seconds = time.perf_counter() - begin


class Ways:
    """The ways to send a file to a server."""

    def __init__(self, server: Sshd, scratch: Path) -> None:
        self._server = server
        self._scratch = scratch
        self._target = scratch / "target"
        self._options = (
            "-F",
            "/dev/null",
            "-o",
            "BatchMode=yes",
            "-i",
            server.home / ".ssh/id_ed25519",
        )
        self._options += ("-o", f"UserKnownHostsFile={server.home}/.ssh/known_hosts")

    def all(self) -> dict[str, Way]:
        return {
            "scp": self._timed(self._scp),
            "cas": self._cas,
            "cas, checked": self._timed(self._cas),
            "ssh cat": self._timed(self._ssh),
            "paramiko sftp put": self._timed(self._sftp),
            "paramiko, exec cat": self._timed(self._exec),
        }

    def _timed(self, way: Callable[[Path], object]) -> Way:
        def run(path: Path) -> float:
            begin = time.perf_counter()
            way(path)
            return time.perf_counter() - begin

        return run

    def _scp(self, path: Path) -> None:
        to = f"{LOOPBACK}:{self._target}"
        port = str(self._server.port)
        subprocess.run(["scp", "-q", *self._options, "-P", port, path, to], check=True)

    def _ssh(self, path: Path) -> None:
        port = str(self._server.port)
        argv = ["ssh", *self._options, "-p", port, LOOPBACK, f"cat > {self._target}"]
        with path.open("rb") as file:
            subprocess.run(argv, stdin=file, check=True)

    def _cas(self, path: Path) -> float:
        """The seconds of the stream alone."""
        directory, watch = self._scratch / "objects", Stopwatch()
        means = LoginOptions(self._server.home)
        destination = Destination(LOOPBACK, self._server.port)
        with logged_in(destination, means) as connection, Link(connection, 60.0) as link:
            Copies(link, HostRules(directory=str(directory)), watch).place_copy(path)
        shutil.rmtree(directory)
        return watch.seconds

    def _sftp(self, path: Path) -> None:
        with self._transport() as transport, transport.open_sftp_client() as client:  # type: ignore[union-attr]
            client.put(str(path), str(self._target))

    def _exec(self, path: Path) -> None:
        with self._transport() as transport, path.open("rb") as file:
            channel = transport.open_session()
            channel.exec_command(f"cat > {self._target}")
            while data := file.read(CHUNK_BYTES):
                channel.sendall(data)
            channel.shutdown_write()
            channel.recv_exit_status()

    @contextmanager
    def _transport(self) -> Iterator[paramiko.Transport]:
        """With what paramiko prefers."""
        with socket.create_connection((LOOPBACK, self._server.port)) as connection:
            transport = paramiko.Transport(connection)
            transport.start_client()
            key = paramiko.PKey.from_path(self._server.home / ".ssh/id_ed25519")
            transport.auth_publickey("root" if os.geteuid() == 0 else os.environ["USER"], key)
            try:
                yield transport
            finally:
                transport.close()


def random_file(path: Path, size_bytes: int) -> Path:
    with path.open("wb") as file:
        for _ in range(0, size_bytes, CHUNK_BYTES):
            file.write(os.urandom(CHUNK_BYTES))
    return path


def programs_file(path: Path, size_bytes: int) -> Path:
    """Programs and libraries of this machine, one behind the other."""
    found = sorted(Path("/usr/lib").rglob("*.so*"))
    with path.open("wb") as file:
        while file.tell() < size_bytes:
            for each in found:
                if each.is_file() and file.tell() < size_bytes:
                    file.write(each.read_bytes()[: size_bytes - file.tell()])
    return path


def compare(ways: dict[str, Way], path: Path, rounds: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(way(path))
    size = path.stat().st_size
    medians = {name: size / statistics.median(each) for name, each in seconds.items()}
    print(f"{path.name}, {size >> 20} MiB, {rounds} rounds")
    for name, speed in medians.items():
        verdict = f"  target {TARGET}" if name == "cas" else ""
        print(f"  {name:20}{speed / 1e6:8.0f} MB/s{speed / medians['scp']:7.2f} x scp{verdict}")
    print(f"  load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mb", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("files", type=Path, nargs="*")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=words.scratch) as name:
        scratch = Path(name)
        with sshd(scratch / "server", scratch / "home") as server:
            server.know()
            files = words.files or [
                random_file(scratch / "random", words.mb << 20),
                programs_file(scratch / "programs", words.mb << 20),
            ]
            for path in files:
                compare(Ways(server, scratch).all(), path, words.rounds)


if __name__ == "__main__":
    main()
