"""A login on a server that has proved who it is before it learns anything of us."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import paramiko

from cas.frozen import dataclass
from cas.ssh.account import Account, Destination, LoginOptions, known_hosts_name, route_to
from cas.ssh.failures import SshError, Unreachable, WeakHostKey
from cas.ssh.known_hosts import key_fingerprint
from cas.ssh.proof import prove_user
from cas.ssh.trust import KnownHosts

Reach = Callable[[str, int], socket.socket]
"""Connects to a host and port."""
OLD_KEYS = ("ssh-rsa", "ssh-dss")
OLD = (*OLD_KEYS, "cbc", "md5", "sha1", "-96")
"""Parts of names of algorithms that are not negotiated, whatever paramiko still has."""

_log = logging.getLogger("paramiko")
_log.addHandler(logging.NullHandler())  # it writes to stderr otherwise
_log.propagate = False  # its records quote servers


@dataclass(frozen=True, slots=True)
class Connection:
    """A server on which we are logged in."""

    destination: Destination
    account: Account
    transport: paramiko.Transport
    host_key: str
    """Type and fingerprint."""
    remarks: tuple[str, ...] = ()
    """What did not work and was not needed, e.g. an agent that is gone."""


@contextmanager
def logged_in(
    destination: Destination, options: LoginOptions, reach: Reach | None = None
) -> Iterator[Connection]:
    """A connection on which the server and the user have proved who they are.

    :param reach: how to connect to it, or to the first of the servers on the way to it;
        default: directly
    :raises Refused: a server's key is unknown, changed, revoked or weak
    :raises LoginDenied: no key is accepted
    :raises Unreachable: nobody answers, or the connection broke
    :raises SshError: ~/.ssh cannot be used, or the server is too old
    """

    def connect_directly(host: str, port: int) -> socket.socket:
        try:
            return socket.create_connection((host, port), options.timeout_s)
        except (OSError, UnicodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "its name cannot be one"
            problem = said or "the host did not answer in time"
            raise Unreachable(
                f"{known_hosts_name(host, port)} cannot be reached: {problem}"
            ) from None

    *hops, last = route_to(destination, options)
    with ExitStack() as stack:
        through = reach or connect_directly
        for hop in hops:
            way = stack.enter_context(_logged_in(hop, replace(options, password=None), through))
            through = _connect_through(way, options.timeout_s)
        connection = stack.enter_context(_logged_in(last, options, through))
        yield replace(connection, destination=destination)


@contextmanager
def _logged_in(account: Account, options: LoginOptions, reach: Reach) -> Iterator[Connection]:
    known = KnownHosts.known_for(account.pins)
    with reach(account.host, account.port) as wire:
        transport = paramiko.Transport(wire, disabled_algorithms={"pubkeys": OLD_KEYS})
        try:
            key = _prove_server(transport, account, known, options.timeout_s)
            remarks = prove_user(transport, account, options.password)
            host = Destination(account.host, account.port)
            yield Connection(host, account, transport, key, remarks)
        finally:
            transport.close()


def _connect_through(way: Connection, timeout_s: float) -> Reach:
    """Connects from a server on which we are logged in.

    Source: RFC 4254, 7.2; the originator is nobody's business.
    """

    def connect_onwards(host: str, port: int) -> socket.socket:
        try:
            channel = way.transport.open_channel(
                "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout_s
            )
        except (paramiko.SSHException, EOFError, OSError):
            raise Unreachable(
                f"{known_hosts_name(host, port)} cannot be reached from {way.account}"
            ) from None
        channel.settimeout(timeout_s)
        return channel  # type: ignore[return-value]  # behaves as a connected socket

    return connect_onwards


def _prove_server(
    transport: paramiko.Transport, account: Account, known: KnownHosts, timeout_s: float
) -> str:
    """The type and fingerprint of the server's key, which is believed."""
    options = transport.get_security_options()
    types = [kind for kind in options.key_types if _is_good(kind)]
    # a key that we know first; one of type ssh-rsa signs by rsa-sha2-256 and -512 (RFC 8332, 3)
    options.key_types = sorted(
        types,
        key=lambda kind: ("ssh-rsa" if kind.startswith("rsa-sha2-") else kind) not in known.kinds,
    )
    # with GCM, which needs no hash in Python, 300 MB went up at 140 MB/s, with CTR at 119
    ciphers = [name for name in options.ciphers if _is_good(name)]
    options.ciphers = sorted(ciphers, key=lambda name: "gcm" not in name)
    options.digests = [name for name in options.digests if _is_good(name)]
    options.kex = [name for name in options.kex if _is_good(name)]
    transport.banner_timeout = transport.handshake_timeout = timeout_s
    transport.auth_timeout = transport.channel_timeout = timeout_s
    try:
        transport.start_client(timeout=timeout_s)
        key = transport.get_remote_server_key()
    except paramiko.ssh_exception.IncompatiblePeer as error:
        if "host key" in str(error):
            raise WeakHostKey(
                f"{account} has no host key that is good enough: neither ed25519 nor ECDSA, "
                "nor RSA with signatures by SHA-2"
            ) from None
        raise SshError(f"{account}: its sshd is too old or too new to talk to") from None
    except (paramiko.SSHException, EOFError, OSError, ValueError):
        # no `from`: a server's words may hold anything
        raise Unreachable(
            f"{account}: the server broke off, or does not answer as sshd does"
        ) from None
    known.require_believed(key)
    return key_fingerprint(key.asbytes())


def _is_good(algorithm: str) -> bool:
    return not any(word in algorithm for word in OLD)
