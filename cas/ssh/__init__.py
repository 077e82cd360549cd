"""Logging in by ssh where the server's key is pinned, with the user's own keys and settings."""

import sys

if "paramiko" not in sys.modules:
    # paramiko wants it for `Match exec` alone, which is refused here; it takes 0.1 s to import
    sys.modules["invoke"] = None  # type: ignore[assignment]
    import paramiko

    del sys.modules["invoke"]
import paramiko  # which others take from here

from cas.ssh.account import (
    SSH_PORT,
    Account,
    Destination,
    LoginOptions,
    account_of,
    home_of,
    known_hosts_name,
)
from cas.ssh.failures import (
    ChangedHost,
    LoginDenied,
    RevokedHostKey,
    SshError,
    UnknownHost,
    Unreachable,
    WeakHostKey,
)
from cas.ssh.known_servers import KnownServers, servers_in_known_hosts
from cas.ssh.login import Connection, logged_in

__all__ = [
    "SSH_PORT",
    "Account",
    "ChangedHost",
    "Connection",
    "Destination",
    "KnownServers",
    "LoginDenied",
    "LoginOptions",
    "RevokedHostKey",
    "SshError",
    "UnknownHost",
    "Unreachable",
    "WeakHostKey",
    "account_of",
    "home_of",
    "known_hosts_name",
    "logged_in",
    "paramiko",
    "servers_in_known_hosts",
]
