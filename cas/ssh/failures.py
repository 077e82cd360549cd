"""What can go wrong before an ssh server and we believe each other."""

from __future__ import annotations

from cas.errors import CasError, Refused, TryAgain


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
