"""Which host keys are believed: those of known_hosts, and no weak ones.

Source: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import paramiko

from cas.errors import CasError, Refused, TryAgain

SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
SSH_PORT = 22


class SshError(CasError):
    """An ssh server, or the settings for it, are of no use."""

    hint = "try it by hand: ssh HOST true"


class LoginDenied(SshError):
    """The server accepts none of our keys."""

    hint = "put the public key into ~/.ssh/authorized_keys of that user on the host"


class Unreachable(TryAgain):
    """Nobody answers, or the connection broke."""

    hint = "check that the host runs and its sshd listens; try: ssh HOST true"


class UnknownHost(Refused):
    """The host key of an ssh server is not known."""

    hint = "compare the fingerprint with the administrator's, then add the key: ssh HOST"


class ChangedHost(Refused):
    """The host key of an ssh server is another one than before."""

    hint = (
        "somebody may be in between: ask the server's administrator; "
        "if the key was renewed, run ssh-keygen -R HOST and accept the new one"
    )


class RevokedHostKey(Refused):
    """known_hosts says that nobody may believe this key any more."""

    hint = "ask the server's administrator for a new host key"


class WeakHostKey(Refused):
    """The server's key, or its way of signing with it, is not good enough."""

    hint = "have the server's administrator make an ed25519 host key: ssh-keygen -A"


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """The keys that are believed, and those that never are."""

    keys: paramiko.HostKeys
    revoked: frozenset[str]
    """In base64."""

    @classmethod
    def read(cls, home: Path) -> Self:
        """Those of the system and of a user.

        :raises SshError: a file cannot be read
        """
        keys, revoked = paramiko.HostKeys(), set()
        for path in (SYSTEM_KNOWN_HOSTS, home / ".ssh/known_hosts"):
            lines = [line.split() for line in _lines(path)]
            revoked |= {
                word for fields in lines if fields[:1] == ["@revoked"] for word in fields[3:4]
            }
            for fields in lines:
                _trust(keys, fields)
        return cls(keys, frozenset(revoked))

    def kinds(self, host: str, port: int) -> list[str]:
        """The types of the keys known of a server, e.g. ``ssh-ed25519``."""
        known = self.keys.lookup(name_of(host, port))
        return list(known.keys()) if known else []

    def check(self, host: str, port: int, key: paramiko.PKey) -> None:
        """Believe a server's key, or not.

        :raises Refused: it is unknown, another one than before, revoked or weak
        """
        name = name_of(host, port)
        known = self.keys.lookup(name)
        if key.get_base64() in self.revoked:
            raise RevokedHostKey(f"the host key of {name} is revoked: {shown(key)}")
        if not known:
            raise UnknownHost(f"the host key of {name} is not known: {shown(key)}")
        if not self.keys.check(name, key):
            expected = ", ".join(shown(each) for each in known.values())
            raise ChangedHost(
                f"the host key of {name} is another one than in known_hosts: "
                f"{shown(key)} instead of {expected}"
            )


def name_of(host: str, port: int) -> str:
    """How known_hosts calls a server."""
    return host if port == SSH_PORT else f"[{host}]:{port}"


def shown(key: paramiko.PKey) -> str:
    """A key's type and fingerprint, to be compared by a person."""
    return f"{key.get_name()} {key.fingerprint}"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines() if path.is_file() else []
    except OSError as error:
        raise SshError(f"cannot read {path}: {error.strerror}") from error


def _trust(keys: paramiko.HostKeys, fields: list[str]) -> None:
    """Take a line's key; like ssh, skip lines that are no keys."""
    if len(fields) < 3 or fields[0][0] in "#@":
        return
    with suppress(paramiko.hostkeys.InvalidHostKey, paramiko.SSHException, ValueError):
        entry = paramiko.hostkeys.HostKeyEntry.from_line(" ".join(fields[:3]))
        if entry is None:
            return
        for name in entry.hostnames:
            keys.add(name, entry.key.get_name(), entry.key)
