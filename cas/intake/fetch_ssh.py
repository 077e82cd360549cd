"""A login by ssh on a server whose host key is pinned, with the user's own keys and settings."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import paramiko

from cas.errors import CasError, FetchError, Refused
from cas.intake.fetch_network import connect, translated
from cas.intake.fetch_source import Broken, Denied, FetchPolicy
from cas.intake.url import PORTS, Url

SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # it writes to stderr otherwise


class UnknownHost(Refused):
    """The host key of an ssh server is not known."""

    hint = "compare the fingerprint with the administrator's, then add the key: ssh HOST"


class ChangedHost(Refused):
    """The host key of an ssh server is another one than before."""

    hint = (
        "somebody may be in between: ask the server's administrator; "
        "if the key was renewed, run ssh-keygen -R HOST and accept the new one"
    )


@dataclass(frozen=True)
class _Account:
    """How to log in."""

    url: Url
    """With the host and port that ~/.ssh/config gives."""
    user: str
    keys: tuple[str, ...]


class _Refuse(paramiko.MissingHostKeyPolicy):
    """Talk to no server whose key is not known."""

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        """Refuse."""
        raise UnknownHost(f"the host key of {hostname} is not known: {_shown(key)}")


@contextmanager
def logged_in(url: Url, policy: FetchPolicy) -> Iterator[paramiko.Transport]:
    """A connection on which the server and the user have proved who they are.

    :raises UnknownHost: known_hosts has no key of this server
    :raises ChangedHost: known_hosts has another one
    :raises Denied: no key or password is accepted
    :raises Broken: the connection broke
    """
    account = _account(url, policy)
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(_Refuse())
        _pin(client, policy.home)
        yield _log_in(client, account, policy)


def _account(url: Url, policy: FetchPolicy) -> _Account:
    """The URL's wishes, then those of ``~/.ssh/config``, then what is usual."""
    ssh = policy.home / ".ssh"
    try:
        path = ssh / "config"
        config = paramiko.SSHConfig.from_path(str(path)) if path.is_file() else None
        asked = config.lookup(url.host) if config else {}
        port = int(asked.get("port", url.port)) if url.port == PORTS["sftp"] else url.port
    except (OSError, ValueError, ImportError, paramiko.SSHException):
        raise FetchError(f"{ssh / 'config'} cannot be read as ssh_config(5)") from None
    if "proxycommand" in asked or "proxyjump" in asked:
        raise FetchError(f"{url.host} is behind a proxy of ~/.ssh/config, which is not followed")
    named = [Path(name).expanduser() for name in asked.get("identityfile", ())]
    keys = [policy.sshkey, *named, *(ssh / name for name in KEYS)]
    return _Account(
        replace(url, host=str(asked.get("hostname", url.host)).lower(), port=port),
        url.user or asked.get("user") or getpass.getuser(),
        tuple(dict.fromkeys(str(key) for key in keys if key and key.is_file())),
    )


def _pin(client: paramiko.SSHClient, home: Path) -> None:
    """Trust the keys of known_hosts; the user's count before the system's."""
    for path in (SYSTEM_KNOWN_HOSTS, home / ".ssh/known_hosts"):
        try:
            lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
        except OSError as error:
            raise FetchError(f"cannot read {path}: {error.strerror}") from error
        _trust(client.get_host_keys(), [line.split() for line in lines])


def _trust(known: paramiko.HostKeys, lines: list[list[str]]) -> None:
    """Take the keys that are not revoked; like ssh, skip lines that are no keys."""
    revoked = {word for fields in lines if fields[:1] == ["@revoked"] for word in fields[3:4]}
    for fields in lines:
        if len(fields) < 3 or fields[0][0] in "#@" or fields[2] in revoked:
            continue
        with suppress(paramiko.hostkeys.InvalidHostKey, paramiko.SSHException, ValueError):
            entry = paramiko.hostkeys.HostKeyEntry.from_line(" ".join(fields[:3]))
            if entry is None:
                continue
            for name in entry.hostnames:
                known.add(name, entry.key.get_name(), entry.key)


def _log_in(
    client: paramiko.SSHClient, account: _Account, policy: FetchPolicy
) -> paramiko.Transport:
    url = account.url
    try:
        with translated(url):
            client.connect(
                url.host,
                url.port,
                account.user,
                url.password,
                key_filename=list(account.keys),  # type: ignore[arg-type]
                look_for_keys=False,
                sock=connect(url, policy),
                timeout=policy.timeout_s,
                banner_timeout=policy.timeout_s,
                auth_timeout=policy.timeout_s,
                channel_timeout=policy.timeout_s,
            )
    except paramiko.BadHostKeyException as error:
        raise ChangedHost(
            f"the host key of {url.authority} is another one than in known_hosts: "
            f"{_shown(error.key)} instead of {_shown(error.expected_key)}"
        ) from None
    except (paramiko.SSHException, EOFError, ValueError) as error:
        # no `from`: the library's message may quote what the server sent
        raise _failure(client, account, error) from None
    transport = client.get_transport()
    if transport is None:
        raise Broken(f"{url}: the connection broke")
    return transport


def _failure(client: paramiko.SSHClient, account: _Account, error: Exception) -> CasError:
    """Why there is no login: the server refused it, or it is gone."""
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return FetchError(f"{account.url}: this server's ssh is too old or too new to talk to")
    transport = client.get_transport()
    was_asked = transport and transport.is_active() and transport.initial_kex_done
    if was_asked and "timeout" not in str(error):
        return Denied(f"{account.url}: no key or password of {account.user} is accepted")
    return Broken(f"{account.url}: the server broke off")


def _shown(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.fingerprint}"
