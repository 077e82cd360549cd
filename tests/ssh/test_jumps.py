"""Logins through other servers, each with its own key and login."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ssh_servers import Sshd, Tap, make_key, sshd

from cas.ssh import (
    ChangedHost,
    Connection,
    Destination,
    LoginDenied,
    LoginOptions,
    UnknownHost,
    Unreachable,
    logged_in,
)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Sshd]]:
    """Three, and a user whose key all of them take."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(sshd(tmp_path / name, tmp_path / "home", {"LogLevel": "DEBUG"}))
            for name in ("near", "far", "last")
        ]
        for server in running:
            server.know()
        yield running


def configure(servers: list[Sshd], jumps: str) -> None:
    names = zip(("near", "far", "last"), servers, strict=True)
    blocks = [f"Host {name}\n HostName 127.0.0.1\n Port {each.port}" for name, each in names]
    text = "\n".join((*blocks, f"Host last\n ProxyJump {jumps}\n"))
    (servers[0].home / ".ssh/config").write_text(text)


def log_in(servers: list[Sshd], **options: object) -> Connection:
    everything = {"home": servers[0].home, **options}
    with logged_in(Destination("last"), LoginOptions(**everything)) as connection:  # type: ignore[arg-type]
        channel = connection.transport.open_session()
        channel.exec_command("echo $SSH_CONNECTION")
        assert channel.recv(100).split()[-1] == str(servers[2].port).encode()
        return connection


def was_seen(server: Sshd) -> bool:
    """Whether somebody logged in."""
    return "Accepted publickey" in server.log


def test_one_server_leads_to_another(servers: list[Sshd]) -> None:
    configure(servers, "near")
    assert str(log_in(servers).destination) == "last"
    assert [was_seen(server) for server in servers] == [True, False, True]


def test_a_chain_of_two_leads_to_a_third(servers: list[Sshd]) -> None:
    configure(servers, f"near,127.0.0.1:{servers[1].port}")
    log_in(servers)
    assert [was_seen(server) for server in servers] == [True, True, True]


def test_a_jump_that_is_not_known_is_refused_and_nobody_behind_it_hears_of_us(
    servers: list[Sshd], tmp_path: Path
) -> None:
    known = servers[0].home / ".ssh/known_hosts"
    with Tap(servers[2].port) as tap:
        servers[2].port = tap.port
        configure(servers, "near,far")
        known.write_text("")
        servers[0].know()
        servers[2].know()
        with pytest.raises(UnknownHost, match=f":{servers[1].port} is not known"):
            log_in(servers)
        assert (was_seen(servers[1]), tap.connections) == (False, 0)


def test_the_last_server_is_pinned_whatever_the_jump_says(
    servers: list[Sshd], tmp_path: Path
) -> None:
    configure(servers, "near")
    make_key(tmp_path / "other")
    (servers[0].home / ".ssh/known_hosts").write_text("")
    servers[0].know()
    servers[2].know(tmp_path / "other.pub")
    with pytest.raises(ChangedHost, match=f":{servers[2].port} is another one"):
        log_in(servers)
    assert not was_seen(servers[2])


def test_each_server_has_its_own_key(servers: list[Sshd], tmp_path: Path) -> None:
    configure(servers, "near")
    key = make_key(tmp_path / "key")
    (servers[0].directory / "authorized").write_text(key.with_suffix(".pub").read_text())
    with pytest.raises(LoginDenied, match=f":{servers[0].port}: no key of"):
        log_in(servers)
    config = servers[0].home / ".ssh/config"
    config.write_text(f"Host near\n IdentityFile {key}\n{config.read_text()}")
    log_in(servers)


def test_a_jump_gets_no_password(servers: list[Sshd], tmp_path: Path) -> None:
    configure(servers, "near")
    (servers[0].directory / "authorized").write_text("")
    with pytest.raises(LoginDenied, match=r"no key of .* is accepted"):
        log_in(servers, password="pass-w0rd")  # noqa: S106
    assert "method password" not in servers[0].log


def test_a_server_that_the_jump_cannot_reach_is_named(servers: list[Sshd]) -> None:
    configure(servers, "near")
    servers[2].kill()
    servers[2].process.wait()
    with pytest.raises(Unreachable, match=r"cannot be reached from \[127.0.0.1\]:"):
        log_in(servers)
