"""Which servers are believed, and that the others learn nothing of us."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ssh_servers import Sshd, Tap, family, sshd

from cas.errors import CasError
from cas.ssh import (
    ChangedHost,
    Destination,
    LoginOptions,
    RevokedHostKey,
    UnknownHost,
    WeakHostKey,
    logged_in,
)

from installed import closed_port, needs

EXCHANGE_BYTES = 8 << 10
"""More than key exchange takes, fewer than anything else would."""


@dataclass(frozen=True)
class Case:
    """A server's keys, and what known_hosts says of it."""

    has: tuple[str, ...]
    """Private keys of the server, by name."""
    known: str
    """known_hosts: a word in braces is a name's public key; ``HERE`` is the server's name."""
    error: type[CasError] | None = None
    says: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    is_hashed: bool = False
    config: str = ""
    """Of ssh."""


ACCEPTED = {
    "ed25519": Case(("ed25519",), "HERE {ed25519}"),
    "rsa of 3072 bits": Case(("rsa",), "HERE {rsa}"),
    "ecdsa": Case(("ecdsa",), "HERE {ecdsa}"),
    "hashed": Case(("ed25519",), "HERE {ed25519}", is_hashed=True),
    "port, several names": Case(("ed25519",), "alpha,HERE,10.9.9.9 {ed25519}"),
    "wildcard": Case(("ed25519",), "[127.0.0.*]:* {ed25519}"),
    "known type of several": Case(("ed25519", "ecdsa", "rsa"), "HERE {rsa}"),
    "several known keys": Case(("ecdsa",), "HERE {ed25519}\nHERE {other}\nHERE {ecdsa}"),
    "two keys of a type": Case(("ed25519",), "HERE {other}\nHERE {ed25519}"),
    "another one's is revoked": Case(("ed25519",), "@revoked * {other}\nHERE {ed25519}"),
    "alias": Case(("ed25519",), "alpha {ed25519}", config="HostKeyAlias Alpha"),
    "key besides authority": Case(("ed25519",), "@cert-authority * {authority}\nHERE {ed25519}"),
    "odd lines before": Case(
        ("ed25519",), "# x\n\nh\nh ssh-ed25519 ###\nHERE ssh-new AAAA\n\0\nHERE {ed25519}"
    ),
}
REFUSED = {
    "unknown": Case(("ed25519",), "alpha {ed25519}", UnknownHost, "is not known: ssh-ed25519 SHA"),
    "nothing known": Case(("ed25519",), "", UnknownHost, "is not known"),
    "changed": Case(("ed25519",), "HERE {other}", ChangedHost, "another one than in known_hosts"),
    "changed, hashed": Case(("ed25519",), "HERE {other}", ChangedHost, "other", is_hashed=True),
    "changed type": Case(
        ("ed25519",), "HERE {rsa}", ChangedHost, "ssh-ed25519 SHA256:.* instead of ssh-rsa SHA256:"
    ),
    "revoked": Case(
        ("ed25519",), "HERE {ed25519}\n@revoked * {ed25519}", RevokedHostKey, "is revoked"
    ),
    "revoked for another name": Case(
        ("ed25519",), "@revoked alpha {ed25519}\nHERE {ed25519}", RevokedHostKey, "is revoked"
    ),
    "revoked in the file that a setting hides": Case(
        ("ed25519",),
        "@revoked * {ed25519}",
        RevokedHostKey,
        "is revoked",
        config="UserKnownHostsFile HOME/more",
    ),
    "revoked in a file of its own": Case(
        ("ed25519",),
        "HERE {ed25519}",
        RevokedHostKey,
        "is revoked",
        config="RevokedHostKeys HOME/revoked",
    ),
    "rsa of 1024 bits": Case(("rsa1024",), "HERE {rsa1024}", WeakHostKey, "only 1024 bits"),
    "only sha-1": Case(
        ("rsa",),
        "HERE {rsa}",
        WeakHostKey,
        "nor RSA with signatures by SHA-2",
        {"HostKeyAlgorithms": "ssh-rsa"},
    ),
    "the key of another port": Case(
        ("ed25519",), "[127.0.0.1]:9 {ed25519}", UnknownHost, "is not known"
    ),
    "the key of the usual port": Case(
        ("ed25519",), "127.0.0.1 {ed25519}", UnknownHost, "is not known"
    ),
    "negation": Case(("ed25519",), "*,!HERE {ed25519}", UnknownHost, "is not known"),
    "negation first": Case(("ed25519",), "!HERE,* {ed25519}", UnknownHost, "is not known"),
    "only an authority": Case(
        ("ed25519",), "@cert-authority * {authority}", UnknownHost, "certificate authority only"
    ),
    "no checking is asked for": Case(
        ("ed25519",), "HERE {other}", ChangedHost, "instead of", config="StrictHostKeyChecking no"
    ),
    "no file is asked for": Case(
        ("ed25519",),
        "HERE {ed25519}",
        UnknownHost,
        "is not known",
        config="StrictHostKeyChecking accept-new\nUserKnownHostsFile /dev/null",
    ),
    "a name that only begins so": Case(("ed25519",), "HERE0 {ed25519}", UnknownHost, "not known"),
    "the key of another type in its line": Case(
        ("ed25519",), "HERE ssh-rsa {ed25519}", UnknownHost, "is not known"
    ),
}


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
def test_a_known_key_is_believed(case: Case, tmp_path: Path, keys: Path) -> None:
    with _server(case, tmp_path, keys) as server, Tap(server.port) as tap:
        _prepare(case, server, tap, keys)
        with logged_in(Destination("127.0.0.1", tap.port), LoginOptions(server.home)) as connection:
            assert connection.transport.is_authenticated()
        assert "userauth-request" in _whole_log(server)


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_another_key_is_refused_before_anything_is_sent(
    case: Case, tmp_path: Path, keys: Path
) -> None:
    assert case.error
    with _server(case, tmp_path, keys) as server, Tap(server.port) as tap:
        _prepare(case, server, tap, keys)
        with pytest.raises(case.error, match=case.says) as caught:
            _log_in(server, tap.port)
        assert caught.value.hint
        assert caught.value.exit_code == 5
        assert 0 < tap.sent_bytes < EXCHANGE_BYTES
        assert "userauth" not in _whole_log(server)


def _server(case: Case, directory: Path, keys: Path) -> AbstractContextManager[Sshd]:
    settings = {"HostKey": [keys / name for name in case.has], "LogLevel": "DEBUG3"}
    return sshd(directory / "sshd", directory / "home", {**settings, **case.settings})


def _log_in(server: Sshd, port: int) -> None:
    with logged_in(Destination("127.0.0.1", port), LoginOptions(server.home)):
        pass


def _prepare(case: Case, server: Sshd, tap: Tap, keys: Path) -> None:
    ssh, public = server.home / ".ssh", {}
    for path in keys.glob("*.pub"):
        public[path.stem] = " ".join(path.read_text().split()[:2])
    if "ssh-rsa {" in case.known:
        public = {name: words.split()[1] for name, words in public.items()}
    here = f"[127.0.0.1]:{tap.port}"
    (ssh / "known_hosts").write_text(case.known.format_map(public).replace("HERE", here) + "\n")
    (server.home / "more").write_text(f"{here} {public['ed25519']}\n")
    (server.home / "revoked").write_text(f"# list\n{public['ed25519']} comment\n")
    (ssh / "config").write_text(case.config.replace("HOME", str(server.home)))
    if case.is_hashed:
        argv = [needs("ssh-keygen"), "-H", "-f", ssh / "known_hosts"]
        subprocess.run(argv, check=True, capture_output=True)
        assert here not in (ssh / "known_hosts").read_text()


def _whole_log(server: Sshd) -> str:
    """What sshd says, once the client's connection is over for it, too."""
    for _ in range(200):
        if len(list(family(server.process.pid))) == 1:
            break
        time.sleep(0.05)
    return server.log


def test_an_ipv6_address_has_its_own_name(tmp_path: Path, keys: Path) -> None:
    port = closed_port()
    settings = {
        "HostKey": keys / "ed25519",
        "ListenAddress": [f"127.0.0.1:{port}", f"[::1]:{port}"],
    }
    with sshd(tmp_path / "sshd", tmp_path / "home", settings) as server:
        server.know(keys / "ed25519.pub", f"[::1]:{port}")
        with logged_in(Destination("::1", port), LoginOptions(server.home)) as connection:
            assert str(connection.destination) == f"[::1]:{port}"
        with pytest.raises(UnknownHost):
            _log_in(server, port)
