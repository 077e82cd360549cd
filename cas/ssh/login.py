"""A login on a server that has proved who it is before it learns anything of us."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import paramiko

from cas.errors import CasError
from cas.ssh.account import Account, Destination, Means, account_of
from cas.ssh.trust import KnownHosts, LoginDenied, SshError, Unreachable, name_of, shown

Reach = Callable[[str, int], socket.socket]
"""Connects to a host and port."""

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # it writes to stderr otherwise


@dataclass(frozen=True, slots=True)
class Connection:
    """A server on which we are logged in."""

    destination: Destination
    account: Account
    transport: paramiko.Transport
    host_key: str
    """Type and fingerprint."""


@contextmanager
def logged_in(
    destination: Destination, means: Means, reach: Reach | None = None
) -> Iterator[Connection]:
    """A connection on which the server and the user have proved who they are.

    :param reach: how to connect; default: directly
    :raises Refused: the server's key is unknown, changed, revoked or weak
    :raises LoginDenied: no key is accepted
    :raises Unreachable: nobody answers, or the connection broke
    """
    account = account_of(destination, means)
    known = KnownHosts.read(means.home)
    with (reach or _reach(means.timeout_s))(account.host, account.port) as connection:
        transport = paramiko.Transport(connection)
        try:
            _prove_server(transport, account, known, means)
            _prove_user(transport, account, means)
            key = shown(transport.get_remote_server_key())
            yield Connection(destination, account, transport, key)
        finally:
            transport.close()


def _reach(timeout_s: float) -> Reach:
    def reach(host: str, port: int) -> socket.socket:
        try:
            return socket.create_connection((host, port), timeout_s)
        except OSError as error:
            problem = error.strerror or "the host did not answer in time"
            raise Unreachable(f"{name_of(host, port)} cannot be reached: {problem}") from error

    return reach


def _prove_server(
    transport: paramiko.Transport, account: Account, known: KnownHosts, means: Means
) -> None:
    options = transport.get_security_options()
    kinds = known.kinds(account.host, account.port)
    options.key_types = sorted(options.key_types, key=lambda kind: kind not in _algorithms(kinds))
    transport.banner_timeout = transport.auth_timeout = means.timeout_s
    try:
        transport.start_client(timeout=means.timeout_s)
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise _failure(account, error) from None
    known.check(account.host, account.port, transport.get_remote_server_key())


def _algorithms(kinds: list[str]) -> set[str]:
    """How keys of these types sign; RSA keys do not with SHA-1."""
    rsa = {"rsa-sha2-512", "rsa-sha2-256"} if "ssh-rsa" in kinds else set()
    return rsa.union(kind for kind in kinds if kind != "ssh-rsa")


def _prove_user(transport: paramiko.Transport, account: Account, means: Means) -> None:
    for path in account.keys:
        try:
            transport.auth_publickey(account.user, paramiko.PKey.from_path(path))
        except (paramiko.AuthenticationException, ValueError):
            continue
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise _failure(account, error) from None
        return
    raise LoginDenied(
        f"{name_of(account.host, account.port)}: no key of {account.user} is accepted"
    )


def _failure(account: Account, error: Exception) -> CasError:
    """Why there is no login; no `from`, for a server's words may hold anything."""
    name = name_of(account.host, account.port)
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return SshError(f"{name}: its sshd is too old or too new to talk to")
    return Unreachable(f"{name}: the server broke off")
