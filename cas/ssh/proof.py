"""Proving to a server who we are, with one key after the other."""

from __future__ import annotations

from collections.abc import Iterable

import paramiko

from cas.ssh.account import Account
from cas.ssh.failures import LoginDenied, Unreachable
from cas.ssh.identities import Identities, Identity

ATTEMPTS = 6
"""Keys after which sshd breaks off, see MaxAuthTries in sshd_config(5)."""
AGENT_S = 5.0
"""Seconds for an agent's answer, unless the server would not wait so long."""


def prove_user(
    transport: paramiko.Transport, account: Account, password: str | None
) -> tuple[str, ...]:
    """Log in.

    :return: what did not work and was not needed
    :raises LoginDenied: nothing is accepted
    :raises Unreachable: the connection broke
    """
    with Identities(account, min(AGENT_S, transport.auth_timeout / 2)) as identities:
        tried = _try_keys(transport, account, identities, ATTEMPTS - (password is not None))
        has_turn = transport.is_active() and not transport.is_authenticated()
        if password is not None and has_turn:
            try:
                transport.auth_password(account.user, password)
            except paramiko.AuthenticationException:
                if not transport.is_active():
                    raise _connection_broke(account) from None
            except (paramiko.SSHException, EOFError, OSError, ValueError):
                raise _connection_broke(account) from None
        if transport.is_authenticated():
            return tuple(identities.remarks)
        what = "no key" if password is None else "no key or password"
        facts = [f"tried: {', '.join(tried)}" if tried else "none was tried", *identities.remarks]
        facts += [f"{path} is encrypted" for path in identities.locked]
        hint = None
        if identities.locked:
            paths = " ".join(str(path) for path in identities.locked)
            hint = f"unlock the key in an agent, from which cas is run: ssh-add {paths}"
        raise LoginDenied(
            f"{account}: {what} of {account.user} is accepted ({'; '.join(facts)})", hint=hint
        )


def _try_keys(
    transport: paramiko.Transport, account: Account, identities: Iterable[Identity], most: int
) -> list[str]:
    """What was tried, until a key was accepted."""
    tried: list[str] = []
    for identity in identities:
        if len(tried) == most:
            return [*tried, "no more than that"]
        if identity.key.get_name().startswith("ssh-rsa"):
            # paramiko would end the connection where a server takes no signature of an RSA key: RFC
            # 8308, 3.1; of other types some servers list none, and take them
            extensions: dict[str, bytes] = getattr(transport, "server_extensions", {})
            said = extensions.get("server-sig-algs", b"").split(b",")
            if said != [b""] and not {b"rsa-sha2-512", b"rsa-sha2-256"}.intersection(said):
                continue
        goes_on = _try_key(transport, account, identity.key, is_first=not tried)
        tried.append(identity.name)
        if not goes_on:
            break
    return tried


def _try_key(
    transport: paramiko.Transport, account: Account, key: paramiko.PKey, *, is_first: bool
) -> bool:
    """Offer a key; whether another one may be offered after it."""
    try:
        transport.auth_publickey(account.user, key)
    except paramiko.BadAuthenticationType:
        return False
    except (paramiko.SSHException, EOFError, OSError, ValueError) as error:
        if "timeout" in str(error) or (is_first and not transport.is_active()):
            raise _connection_broke(account) from None
        return transport.is_active()  # sshd breaks off after too many keys
    return not transport.is_authenticated()


def _connection_broke(account: Account) -> Unreachable:
    return Unreachable(f"{account}: the server broke off during the login")
