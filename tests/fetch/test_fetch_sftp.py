"""Fetching by sftp from OpenSSH's own server on loopback."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fetch_servers import patient_policy
from ssh_servers import Sshd, Tap, make_key, sshd

from cas.errors import FetchError, Refused, TryAgain
from cas.fetch.fetch import fetch
from cas.fetch.source import PrivateNetworks
from cas.fetch.url import parse_url
from cas.progress import Silent
from cas.settings.rules import IntakeLimits

BODY = os.urandom(3_000_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with sshd(tmp_path, tmp_path / "home") as running:
        running.know()
        yield running


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "vmcore of today"
    path.write_bytes(BODY)
    return path


def get(server: Sshd, url: str, **policy: object) -> Path:
    policy = {"limits": IntakeLimits(reserve_bytes=1), **policy}
    job = server.directory / "job"
    return fetch(parse_url(url), job, patient_policy(server.home, **policy), Silent())


def left(server: Sshd) -> list[str]:
    return sorted(path.name for path in (server.directory / "job").iterdir())


def test_a_file_arrives_whole(server: Sshd, dump: Path) -> None:
    path = get(server, server.url(dump))
    assert (path.name, path.read_bytes()) == ("vmcore_of_today", BODY)
    assert left(server) == ["vmcore_of_today"]


def test_a_checksum_beside_the_file_is_compared(server: Sshd, dump: Path) -> None:
    beside = dump.with_name(f"{dump.name}.sha256")
    beside.write_text("0" * 64)
    with pytest.raises(FetchError, match=hashlib.sha256(BODY).hexdigest()):
        get(server, server.url(dump))
    assert left(server) == []


def test_an_unknown_host_is_refused_with_its_fingerprint(server: Sshd, dump: Path) -> None:
    (server.home / ".ssh/known_hosts").unlink()
    with pytest.raises(Refused, match=r"is not known: ssh-ed25519 SHA256:") as caught:
        get(server, server.url(dump))
    assert "fingerprint" in caught.value.hint
    assert left(server) == []


def test_a_changed_host_key_is_refused(server: Sshd, dump: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    (server.home / ".ssh/known_hosts").unlink()
    server.know(tmp_path / "other.pub")
    with pytest.raises(Refused, match="another one than in known_hosts"):
        get(server, server.url(dump))


def test_a_revoked_host_key_is_refused(server: Sshd, dump: Path) -> None:
    known = server.home / ".ssh/known_hosts"
    _, kind, data = known.read_text().split()
    with known.open("a") as file:
        file.write(f"@revoked * {kind} {data}\n")
    with pytest.raises(Refused, match="is revoked"):
        get(server, server.url(dump))


def test_lines_of_known_hosts_that_are_no_keys_are_skipped(server: Sshd, dump: Path) -> None:
    known = server.home / ".ssh/known_hosts"
    odd = "# x\n\nh\nh ssh-ed25519 ####\nh ssh-new AAAA\n@cert-authority h ssh-rsa AAAA\n\x00\n"
    known.write_text(odd + known.read_text())
    assert get(server, server.url(dump)).read_bytes() == BODY


def test_a_user_without_a_key_is_denied(server: Sshd, dump: Path) -> None:
    (server.home / ".ssh/id_ed25519").unlink()
    url = server.url(dump).replace("@", ":s3cret@")
    with pytest.raises(FetchError, match=r"no key or password .* is accepted") as caught:
        get(server, url)
    assert "s3cret" not in str(caught.value)


def test_the_configured_key_is_used(server: Sshd, dump: Path, tmp_path: Path) -> None:
    shutil.move(server.home / ".ssh/id_ed25519", tmp_path / "key")
    assert get(server, server.url(dump), sshkey=tmp_path / "key").read_bytes() == BODY


def test_ssh_config_gives_host_port_user_and_key(server: Sshd, dump: Path, tmp_path: Path) -> None:
    shutil.move(server.home / ".ssh/id_ed25519", tmp_path / "key")
    user = parse_url(server.url(dump)).user
    (server.home / ".ssh/config").write_text(
        f"Host dumps\n HostName 127.0.0.1\n Port {server.port}\n User {user}\n"
        f" IdentityFile {tmp_path / 'key'}\n"
    )
    assert get(server, f"sftp://dumps{dump}").read_bytes() == BODY


def test_a_missing_file_is_final(server: Sshd, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="no such file"):
        get(server, server.url(tmp_path / "none"))
    assert left(server) == []


def test_a_directory_is_no_file(server: Sshd, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="not a regular file"):
        get(server, server.url(tmp_path))


def test_a_broken_connection_is_gone_on_with(server: Sshd, dump: Path) -> None:
    """Between client and server stands a relay that breaks off twice."""
    relay = Relay(server.port, [1_000_000, 1_000_000])
    known = server.home / ".ssh/known_hosts"
    known.write_text(known.read_text().replace(str(server.port), str(relay.port)))
    assert get(server, server.url(dump).replace(str(server.port), str(relay.port))).exists()
    assert relay.passed_bytes < 2 * len(BODY)


def test_what_came_is_kept_for_the_next_run(server: Sshd, dump: Path) -> None:
    relay = Relay(server.port, [1_500_000], server.directory / "job")
    known = server.home / ".ssh/known_hosts"
    known.write_text(known.read_text().replace(str(server.port), str(relay.port)))
    url = server.url(dump).replace(str(server.port), str(relay.port))
    with pytest.raises(TryAgain):
        get(server, url, attempts=1)
    assert left(server) == [".vmcore_of_today.part", ".vmcore_of_today.part.json"]
    assert get(server, url).read_bytes() == BODY
    assert relay.passed_bytes < len(BODY) + 1_500_000


def test_a_changed_file_begins_anew(server: Sshd, dump: Path) -> None:
    relay = Relay(server.port, [1_500_000], server.directory / "job")
    known = server.home / ".ssh/known_hosts"
    known.write_text(known.read_text().replace(str(server.port), str(relay.port)))
    url = server.url(dump).replace(str(server.port), str(relay.port))
    with pytest.raises(TryAgain):
        get(server, url, attempts=1)
    dump.write_bytes(BODY[::-1])
    os.utime(dump, (1, 1))
    assert get(server, url).read_bytes() == BODY[::-1]


def test_another_protocol_is_worth_another_run_at_most(server: Sshd, dump: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        answer = threading.Thread(target=_greet, args=(listener, b"220 ftp here\r\n"))
        answer.start()
        with pytest.raises(TryAgain):
            get(server, f"sftp://127.0.0.1:{port}/x", timeout_s=0.5, attempts=1)
        answer.join()


def test_a_silent_server_counts_as_gone(server: Sshd, dump: Path) -> None:
    server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(TryAgain):
            get(server, server.url(dump), timeout_s=0.3, attempts=1)
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_private_networks_are_refused_unless_allowed(server: Sshd, dump: Path) -> None:
    with pytest.raises(Refused, match="private network"):
        get(server, server.url(dump), private_networks=PrivateNetworks.REFUSED)


def test_a_jump_of_ssh_config_is_taken(server: Sshd, dump: Path, tmp_path: Path) -> None:
    with sshd(tmp_path / "near", server.home) as near:
        near.know()
        jump(server, near.port)
        assert get(server, server.url(dump)).read_bytes() == BODY
        assert "Accepted publickey" in near.log


def test_a_jump_must_not_be_in_a_private_network(server: Sshd, dump: Path) -> None:
    with Tap(server.port) as near:
        jump(server, near.port)
        with pytest.raises(Refused, match="private network"):
            get(server, server.url(dump), private_networks=PrivateNetworks.REFUSED)
        assert near.connections == 0


def test_a_program_of_ssh_config_is_not_run(server: Sshd, dump: Path, tmp_path: Path) -> None:
    config = server.home / ".ssh/config"
    config.write_text(f"Host *\n ProxyCommand touch {tmp_path / 'ran'}\n")
    with pytest.raises(FetchError, match="ProxyCommand"):
        get(server, server.url(dump))
    assert not (tmp_path / "ran").exists()


def jump(server: Sshd, port: int) -> None:
    (server.home / ".ssh/config").write_text(
        f"Host near\n HostName 127.0.0.1\n Port {port}\nHost 127.*\n ProxyJump near\n"
    )


def _greet(listener: socket.socket, line: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(line)


class Relay:
    """Passes connections on to a port, and cuts the first ones after so many bytes."""

    def __init__(self, port: int, breaks: list[int], job: Path | None = None) -> None:
        """:param job: where something must have arrived before a connection is cut"""
        self._job = job
        self._behind = port
        self._breaks = breaks
        self.passed_bytes = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(("127.0.0.1", self._behind))
            left = self._breaks.pop(0) if self._breaks else 1 << 40
            for one, other, most in ((client, server, 1 << 40), (server, client, left)):
                threading.Thread(target=self._pass, args=(one, other, most), daemon=True).start()

    def _wait(self) -> None:
        for _ in range(200):
            if not self._job or any(part.stat().st_size for part in self._job.glob(".*.part")):
                return
            time.sleep(0.1)

    def _pass(self, one: socket.socket, other: socket.socket, left: int) -> None:
        try:
            while left > 0 and (data := one.recv(min(left, 65536))):
                other.sendall(data)
                left -= len(data)
                self.passed_bytes += len(data)
            if left <= 0:
                self._wait()
        except OSError:
            pass
        for end in (one, other):
            end.close() if end.fileno() < 0 else _shut(end)


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        end.close()
