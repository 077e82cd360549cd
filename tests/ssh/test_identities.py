"""With which keys a user logs in, and what is said when none is accepted."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from ssh_servers import Sshd, make_key, sshd

from cas.ssh import Connection, Destination, LoginDenied, LoginOptions, logged_in

from installed import Site, needs


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    """A server that takes no key yet, and a user that has none."""
    with running(tmp_path) as server:
        yield server


@contextlib.contextmanager
def running(directory: Path, **settings: object) -> Iterator[Sshd]:
    with sshd(directory / "sshd", directory / "home", settings) as server:
        server.know()
        for path in (server.home / ".ssh").glob("id_ed25519*"):
            path.unlink()
        accept(server)
        yield server


def accept(server: Sshd, *keys: Path) -> None:
    text = "".join(Path(f"{key}.pub").read_text() for key in keys)
    (server.directory / "authorized").write_text(text)


def give(server: Sshd, key: Path, name: str) -> Path:
    """Put a key into the user's home."""
    path = server.home / ".ssh" / name
    shutil.copy(key, path)
    if (public := Path(f"{key}.pub")).exists():
        shutil.copy(public, f"{path}.pub")
    return path


def configure(server: Sshd, *lines: str) -> None:
    (server.home / ".ssh/config").write_text("\n".join(lines))


def log_in(server: Sshd, **options: object) -> Connection:
    everything = {"home": server.home, "timeout_s": 10.0, **options}
    with logged_in(Destination("127.0.0.1", server.port), LoginOptions(**everything)) as connection:  # type: ignore[arg-type]
        assert connection.transport.is_authenticated()
        return connection


def denied(server: Sshd, **options: object) -> LoginDenied:
    with pytest.raises(LoginDenied) as caught:
        log_in(server, **options)
    return caught.value


class Agent:
    """A real ssh-agent, and what is done with it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, key: Path, *options: str) -> None:
        key.chmod(0o600)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(self.path)}
        argv = [needs("ssh-add"), "-q", *options, key]
        subprocess.run(argv, env=environment, check=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    path = tmp_path / "agent"
    argv = [needs("ssh-agent"), "-D", "-a", path]
    environment = {**os.environ, "SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(argv, stdout=quiet, stderr=quiet, env=environment) as process:
        with socket.socket(socket.AF_UNIX) as trial:
            while trial.connect_ex(str(path)) != 0:  # its file is there before it listens
                assert process.poll() is None
        try:
            yield Agent(path)
        finally:
            process.terminate()


@pytest.fixture
def authority(tmp_path: Path, keys: Path) -> Path:
    """Trusted to sign certificates of users."""
    shutil.copy(keys / "authority.pub", tmp_path / "authority.pub")
    return keys / "authority"


def sign(authority: Path, key: Path) -> Path:
    """A certificate, beside the key."""
    names = os.environ.get("USER") or "root"
    argv = [needs("ssh-keygen"), "-q", "-s", authority, "-I", "test", "-n", f"{names},root", key]
    subprocess.run([*argv[:-1], f"{key}.pub"], check=True, capture_output=True)
    return Path(f"{key}-cert.pub")


@pytest.mark.parametrize(
    ("kind", "name"), [("ed25519", "id_ed25519"), ("ecdsa", "id_ecdsa"), ("rsa", "id_rsa")]
)
def test_usual_keys_are_found(server: Sshd, keys: Path, kind: str, name: str) -> None:
    give(server, keys / kind, name)
    accept(server, keys / kind)
    log_in(server)


def test_the_configured_key_is_used(server: Sshd, keys: Path) -> None:
    accept(server, keys / "rsa")
    log_in(server, sshkey=keys / "rsa")


def test_the_key_of_ssh_config_is_used_instead_of_usual_ones(server: Sshd, keys: Path) -> None:
    give(server, keys / "other", "id_ecdsa")
    give(server, keys / "ed25519", "mine")
    configure(server, 'IdentityFile "~/.ssh/mine"')
    accept(server, keys / "ed25519")
    log_in(server)
    accept(server, keys / "other")
    assert "(tried: " in str(denied(server))
    assert "id_ecdsa" not in str(denied(server))


def test_a_key_of_an_agent_is_used(server: Sshd, keys: Path, agent: Agent) -> None:
    for kind in ("ed25519", "ecdsa", "rsa"):
        agent.add(keys / kind)
        accept(server, keys / kind)
        assert log_in(server, agent=agent.path).remarks == ()


def test_an_encrypted_key_is_used_through_the_agent(
    server: Sshd, tmp_path: Path, agent: Agent
) -> None:
    key = make_key(tmp_path / "plain")
    agent.add(key)
    accept(server, key)
    locked = give(server, key, "id_ed25519")
    argv = [needs("ssh-keygen"), "-q", "-p", "-N", "open sesame", "-f", locked]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    log_in(server, agent=agent.path)
    said = denied(server)
    assert f"{locked} is encrypted" in str(said)
    assert f"ssh-add {locked}" in said.hint


def test_the_agent_is_limited_to_the_named_key(server: Sshd, keys: Path, agent: Agent) -> None:
    for kind in ("ecdsa", "ed25519"):
        agent.add(keys / kind)
    shutil.copy(keys / "ed25519.pub", server.home / ".ssh/mine.pub")
    configure(server, "IdentityFile ~/.ssh/mine.pub", "IdentitiesOnly yes")
    accept(server, keys / "ecdsa")
    assert "mine.pub" in str(denied(server, agent=agent.path))
    accept(server, keys / "ed25519")
    log_in(server, agent=agent.path)


def test_an_agent_of_ssh_config_is_asked(server: Sshd, keys: Path, agent: Agent) -> None:
    agent.add(keys / "ed25519")
    accept(server, keys / "ed25519")
    configure(server, f"IdentityAgent {agent.path}")
    log_in(server)
    configure(server, "IdentityAgent none")
    assert "none was tried" in str(denied(server, agent=agent.path))


def test_a_dead_agent_is_a_remark(server: Sshd, keys: Path, tmp_path: Path) -> None:
    give(server, keys / "ed25519", "id_ed25519")
    accept(server, keys / "ed25519")
    (remark,) = log_in(server, agent=tmp_path / "gone").remarks
    assert "does not answer" in remark
    accept(server)
    assert remark in str(denied(server, agent=tmp_path / "gone"))


def test_an_agent_that_is_silent_is_not_waited_for(
    server: Sshd, keys: Path, tmp_path: Path
) -> None:
    give(server, keys / "ed25519", "id_ed25519")
    accept(server, keys / "ed25519")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        (remark,) = log_in(server, agent=tmp_path / "silent", timeout_s=4.0).remarks
    assert "does not answer" in remark


def test_an_agent_that_does_not_sign_is_passed_over(server: Sshd, keys: Path, agent: Agent) -> None:
    agent.add(keys / "other", "-c")
    give(server, keys / "ed25519", "id_ed25519")
    accept(server, keys / "ed25519", keys / "other")
    log_in(server, agent=agent.path)
    assert "Accepted publickey" in server.log


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_certificate_beside_the_key_is_used(
    tmp_path: Path, keys: Path, authority: Path, kind: str
) -> None:
    with running(tmp_path, TrustedUserCAKeys=tmp_path / "authority.pub") as server:
        key = give(server, keys / kind, "id_ed25519")
        denied(server)
        sign(authority, key)
        log_in(server)
        assert "-CERT" in server.log


def test_a_certificate_of_ssh_config_is_used(tmp_path: Path, keys: Path, authority: Path) -> None:
    with running(tmp_path, TrustedUserCAKeys=tmp_path / "authority.pub") as server:
        certificate = sign(authority, give(server, keys / "ed25519", "mine"))
        certificate.rename(server.home / "certificate")
        configure(server, "IdentityFile ~/.ssh/mine", "CertificateFile ~/certificate")
        log_in(server)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_certificate_in_the_agent_is_used(
    tmp_path: Path, keys: Path, authority: Path, agent: Agent, kind: str
) -> None:
    with running(tmp_path, TrustedUserCAKeys=tmp_path / "authority.pub") as server:
        key = give(server, keys / kind, "mine")
        sign(authority, key)
        agent.add(key)
        log_in(server, agent=agent.path)
        assert "-CERT" in server.log


def test_a_damaged_certificate_does_not_hide_its_key(server: Sshd, keys: Path) -> None:
    key = give(server, keys / "ed25519", "id_ed25519")
    Path(f"{key}-cert.pub").write_text("ssh-ed25519-cert-v01@openssh.com AAAA")
    accept(server, keys / "ed25519")
    assert log_in(server).remarks == (f"{key}-cert.pub is no certificate",)


def test_a_server_that_takes_no_rsa_gets_the_next_key(tmp_path: Path, keys: Path) -> None:
    with running(tmp_path, PubkeyAcceptedAlgorithms="ssh-ed25519") as server:
        give(server, keys / "ed25519", "id_ed25519")
        accept(server, keys / "ed25519")
        log_in(server, sshkey=keys / "rsa")


class Picky(paramiko.ServerInterface):
    """Takes a key, and counts what it is offered; a newer sshd behaves so, too."""

    def __init__(self, key: Path) -> None:
        self.accepted = key.with_suffix(".pub").read_text().split()[1]
        self.offered: list[str] = []

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.offered.append(key.get_name())
        is_mine = key.get_base64() == self.accepted
        return paramiko.AUTH_SUCCESSFUL if is_mine else paramiko.AUTH_FAILED


def test_a_server_that_says_that_it_takes_no_rsa_is_offered_none(
    tmp_path: Path, keys: Path
) -> None:
    rsa = ("rsa-sha2-512", "rsa-sha2-256")
    server = Picky(keys / "ed25519")
    (tmp_path / ".ssh").mkdir()
    shutil.copy(keys / "other", tmp_path / ".ssh/id_ed25519")
    shutil.copy(keys / "ed25519", tmp_path / ".ssh/id_ecdsa")
    shutil.copy(keys / "rsa", tmp_path / ".ssh/first")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        public = (keys / "ecdsa.pub").read_text().split()
        (tmp_path / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}")
        (tmp_path / ".ssh/config").write_text(
            "".join(f"IdentityFile ~/.ssh/{name}\n" for name in ("id_ed25519", "first", "id_ecdsa"))
        )

        def serve() -> None:
            transport = paramiko.Transport(
                listener.accept()[0], disabled_algorithms={"pubkeys": rsa}
            )
            transport.add_server_key(paramiko.ECDSAKey.from_private_key_file(str(keys / "ecdsa")))
            transport.start_server(server=server)

        thread = threading.Thread(target=serve)
        thread.start()
        with logged_in(Destination("127.0.0.1", port), LoginOptions(tmp_path)) as connection:
            assert connection.transport.is_authenticated()
        thread.join()
    assert server.offered == ["ssh-ed25519", "ssh-ed25519"]


def test_two_keys_where_the_server_wants_two(tmp_path: Path, keys: Path) -> None:
    with running(tmp_path, AuthenticationMethods="publickey,publickey") as server:
        give(server, keys / "ed25519", "id_ed25519")
        accept(server, keys / "ed25519", keys / "ecdsa")
        denied(server)
        give(server, keys / "ecdsa", "id_ecdsa")
        log_in(server)


def test_not_more_keys_are_tried_than_a_server_allows(
    tmp_path: Path, keys: Path, agent: Agent
) -> None:
    with running(tmp_path, MaxAuthTries=20) as server:
        for number in range(8):
            agent.add(make_key(tmp_path / f"key-{number}"))
        assert "no more than that" in str(denied(server, agent=agent.path))
        assert server.log.count("Failed publickey") <= 6


def test_a_server_that_breaks_off_after_many_keys_has_denied(tmp_path: Path, keys: Path) -> None:
    with running(tmp_path, MaxAuthTries=2) as server:
        for kind, name in (("ed25519", "id_ed25519"), ("ecdsa", "id_ecdsa"), ("rsa", "id_rsa")):
            give(server, keys / kind, name)
        said = str(denied(server))
        assert "id_ecdsa" in said
        assert "id_rsa" not in said


def test_a_file_that_is_no_key_is_named_and_its_text_is_not(server: Sshd, keys: Path) -> None:
    lines = (keys / "rsa").read_text().splitlines()
    lines[3] = "SECRETSECRET" + lines[3][12:]
    broken = server.home / ".ssh/id_rsa"
    broken.write_text("\n".join(lines[:-4] + lines[-1:]))
    with pytest.raises(LoginDenied) as caught:
        log_in(server)
    shown = "".join(traceback.format_exception(caught.value))
    assert f"{broken} is no private key" in shown
    assert "SECRET" not in shown
    assert lines[2] not in shown


def test_a_password_is_never_shown(tmp_path: Path, server: Sshd, site: Site) -> None:
    shutil.copytree(server.home / ".ssh", tmp_path / ".ssh", dirs_exist_ok=True)
    site.settings["privateAddresses"] = "Yes"
    url = server.url(tmp_path / "x").replace("@", ":pass-w0rd@")
    done = site.cas("--debug", "-i", "T-1", "-f", url)
    assert done.returncode == 4
    assert "no key or password of" in done.stderr
    assert "Traceback" in done.stderr
    everything = done.stderr + done.stdout
    for path in (tmp_path / "cores").rglob("*"):
        everything += path.read_text(errors="replace") if path.is_file() else ""
    assert "pass-w0rd" not in everything
    assert "pass-w0rd" not in repr(LoginOptions(password="pass-w0rd"))  # noqa: S106
