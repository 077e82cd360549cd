"""Logging in by ssh where the server's key is pinned, with the user's own keys and settings."""

from cas.ssh.account import Account, Destination, Means, account_of, home_of
from cas.ssh.login import Connection, logged_in
from cas.ssh.trust import (
    ChangedHost,
    LoginDenied,
    RevokedHostKey,
    SshError,
    UnknownHost,
    Unreachable,
    WeakHostKey,
)

__all__ = [
    "Account",
    "ChangedHost",
    "Connection",
    "Destination",
    "LoginDenied",
    "Means",
    "RevokedHostKey",
    "SshError",
    "UnknownHost",
    "Unreachable",
    "WeakHostKey",
    "account_of",
    "home_of",
    "logged_in",
]
