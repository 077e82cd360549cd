"""The keys with which a user can log in: of files, with their certificates, and of an agent."""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import field
from pathlib import Path

import paramiko
from paramiko.pkey import PublicBlob

from cas.frozen import dataclass
from cas.ssh.account import Account
from cas.ssh.agent import Agent, AgentKey, AgentLost

CERTIFICATE_SUFFIX = "-cert.pub"


@dataclass(frozen=True, slots=True)
class Identity:
    """A key, and how it is called in messages."""

    name: str
    key: paramiko.PKey


@dataclass(slots=True)
class Identities:
    """The keys for a login; a context manager that lets the agent go."""

    account: Account
    timeout_s: float
    """Seconds for an agent's answer; one that asks its user must not take longer."""
    locked: list[Path] = field(default_factory=list)
    """Files that are encrypted, of those that were looked at."""
    remarks: list[str] = field(default_factory=list)
    _kept: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Identities:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    def __iter__(self) -> Iterator[Identity]:
        """The keys named for this server, the others of the agent, the usual ones."""
        of_agent: list[AgentKey] = []
        if self.account.agent is not None:
            try:
                agent = Agent(self.account.agent, self.timeout_s)
                self._kept.callback(agent.close)
                of_agent = list(agent.keys())
            except AgentLost:  # no reason not to try the files
                self.remarks.append(f"the ssh-agent at {self.account.agent} does not answer")
        for path in self.account.keys:
            public = _public_key(path)
            mine = [key for key in of_agent if key.asbytes() == public]
            yield from (found for key in mine for found in self._certified(path, key))
            of_agent = [key for key in of_agent if key not in mine]
            if not mine:
                yield from self._keys_of_file(path)
        if not self.account.is_agent_limited:
            yield from (Identity(f"{key.comment} (agent)", key) for key in of_agent)
        had = {key.asbytes() for key in of_agent}
        for path in self.account.usual_keys:
            if path.is_file() and _public_key(path) not in had:
                yield from self._keys_of_file(path)

    def _keys_of_file(self, path: Path) -> Iterator[Identity]:
        try:
            key = _private_key(path)
        except paramiko.PasswordRequiredException:
            self.locked.append(path)
        except OSError as error:
            self.remarks.append(f"{path}: {error.strerror}")
        else:
            if key is not None:
                yield from self._certified(path, key)
            elif path.suffix == ".pub":
                self.remarks.append(f"the key of {path} is not in the agent")
            else:
                self.remarks.append(f"{path} is no private key that is read here")

    def _certified(self, path: Path, key: paramiko.PKey) -> Iterator[Identity]:
        """A key with each of its certificates, then alone."""
        beside = Path(f"{str(path).removesuffix('.pub')}{CERTIFICATE_SUFFIX}")
        named = self.account.certificate
        certificates = [file for file in (named, beside if beside.is_file() else None) if file]
        for file in dict.fromkeys(certificates):
            try:
                certificate = PublicBlob.from_file(str(file))
            except (OSError, ValueError, LookupError, paramiko.SSHException):
                self.remarks.append(f"{file} is no certificate")
                continue
            if certificate.key_type.startswith(key.get_name()):
                key.public_blob = certificate
                yield Identity(str(file), key)
        key.public_blob = None
        yield Identity(str(path), key)


def _private_key(path: Path) -> paramiko.PKey | None:
    """The key in a file; ``None`` where it is of no type or format that paramiko reads.

    :raises PasswordRequiredException: it is encrypted
    """
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key_file(str(path))
        except paramiko.PasswordRequiredException:
            raise
        except (ValueError, LookupError, struct.error, paramiko.SSHException):
            continue
    return None


def _public_key(path: Path) -> bytes | None:
    """The public key in or beside a file; ``None`` where there is none."""
    beside = path if path.suffix == ".pub" else Path(f"{path}.pub")
    try:
        return b64decode(beside.read_text().split()[1], validate=True)
    except (OSError, ValueError, LookupError):
        return None
