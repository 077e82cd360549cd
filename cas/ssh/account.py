"""How to log in on a server: what the caller asks, then ~/.ssh/config, then what is usual."""

from __future__ import annotations

import getpass
import pwd
from dataclasses import dataclass, field
from pathlib import Path

import paramiko

from cas.ssh.trust import SSH_PORT, SshError

KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True, slots=True)
class Destination:
    """A server as a person names it."""

    name: str
    port: int | None = None
    """``None``: what ~/.ssh/config says, else 22."""
    user: str | None = None

    def __str__(self) -> str:
        return self.name if self.port is None else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Means:
    """Whose keys and settings are used, and for how long a server is waited for."""

    home: Path = field(default_factory=Path.home)
    """Where ``.ssh`` is."""
    user: str | None = None
    """On servers for which nobody says another one; ``None``: our own."""
    sshkey: Path | None = None
    timeout_s: float = 15.0
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """How to log in."""

    host: str
    """Name or address to connect to."""
    port: int
    user: str
    keys: tuple[Path, ...]
    jumps: tuple[Destination, ...] = ()
    """Servers to go through, the nearest first."""


def home_of(casuser: str | None) -> Path:
    """The home directory of the user that cas runs as.

    :raises SshError: there is no such user
    """
    if casuser in (None, getpass.getuser()):
        return Path.home()
    try:
        return Path(pwd.getpwnam(str(casuser)).pw_dir)
    except KeyError:
        raise SshError(
            f"there is no user {casuser}", hint="correct `casuser` in cas.conf"
        ) from None


def account_of(destination: Destination, means: Means) -> Account:
    """How to log in on a server.

    :raises SshError: ~/.ssh/config cannot be used
    """
    ssh = means.home / ".ssh"
    path = ssh / "config"
    try:
        config = paramiko.SSHConfig.from_path(str(path)) if path.is_file() else None
        asked = config.lookup(destination.name) if config else {}
        port = destination.port or int(asked.get("port", SSH_PORT))
    except (OSError, ValueError, ImportError, paramiko.SSHException):
        raise SshError(f"{path} cannot be read as ssh_config(5)") from None
    if "proxycommand" in asked or "proxyjump" in asked:
        raise SshError(f"{destination} is behind a proxy of ~/.ssh/config, which is not followed")
    named = [Path(name).expanduser() for name in asked.get("identityfile", ())]
    keys = [means.sshkey, *named, *(ssh / name for name in KEYS)]
    return Account(
        str(asked.get("hostname", destination.name)).lower(),
        port,
        destination.user or asked.get("user") or means.user or getpass.getuser(),
        tuple(dict.fromkeys(key for key in keys if key and key.is_file())),
    )
