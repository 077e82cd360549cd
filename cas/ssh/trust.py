"""Whether a server is the one that was meant: by the keys of known_hosts, and by no weak ones."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Self

import paramiko

from cas.frozen import dataclass
from cas.ssh.account import Pins
from cas.ssh.failures import ChangedHost, RevokedHostKey, SshError, UnknownHost, WeakHostKey
from cas.ssh.known_hosts import AUTHORITY, REVOKED, KnownKey, key_fingerprint, key_type_of, keys_of

RSA_BITS = 2048
"""Bits of an RSA key, at least; sizes below have been out of use since NIST SP 800-131A of 2011."""
KRL = b"SSHKRL\n\x00"
"""How OpenSSH's binary lists of revoked keys begin (PROTOCOL.krl)."""


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """The keys that are believed of one server, and those that never are."""

    name: str
    """How known_hosts calls the server."""
    keys: tuple[KnownKey, ...]
    authorities: tuple[KnownKey, ...]
    """Those whose signature under its key would be believed."""
    revoked: frozenset[bytes]

    @classmethod
    def known_for(cls, pins: Pins) -> Self:
        """What is known of a server.

        :raises SshError: a file cannot be read
        """
        mine = [key for path in pins.files for key in keys_of(path)]
        more = [key for path in pins.revoking for key in keys_of(path)]
        meant = [key for key in mine if key.is_for(pins.name)]
        return cls(
            pins.name,
            tuple(key for key in meant if not key.marker),
            tuple(key for key in meant if key.marker == AUTHORITY),
            frozenset(key.blob for key in (*mine, *more) if key.marker == REVOKED)
            | _revoked_of(pins.revoked),
        )

    @property
    def kinds(self) -> set[str]:
        """The types of the keys known, e.g. ``ssh-ed25519``."""
        return {key.kind for key in self.keys}

    def require_believed(self, key: paramiko.PKey) -> None:
        """Believe a server's key, or not.

        :raises Refused: it is revoked, weak, unknown, or another one than before
        """
        blob, shown = key.asbytes(), key_fingerprint(key.asbytes())
        if blob in self.revoked:
            raise RevokedHostKey(f"the host key of {self.name} is revoked: {shown}")
        if key_type_of(blob) == "ssh-rsa" and key.get_bits() < RSA_BITS:
            raise WeakHostKey(
                f"the host key of {self.name} has only {key.get_bits()} bits, "
                f"fewer than {RSA_BITS}: {shown}"
            )
        if not self.keys and self.authorities:
            raise UnknownHost(
                f"of {self.name}, known_hosts has a certificate authority only, "
                f"and certificates of hosts are not read here: {shown}",
                hint="compare the fingerprint with the administrator's, then add the key itself "
                "to ~/.ssh/known_hosts: ssh-keyscan HOST",
            )
        if not self.keys:
            raise UnknownHost(f"the host key of {self.name} is not known: {shown}")
        if blob not in {known.blob for known in self.keys}:
            expected = ", ".join(key_fingerprint(each.blob) for each in self.keys)
            raise ChangedHost(
                f"the host key of {self.name} is another one than in known_hosts: "
                f"{shown} instead of {expected}"
            )


def _revoked_of(path: Path | None) -> frozenset[bytes]:
    """The keys of RevokedHostKeys; like ssh, nobody is believed when it cannot be read."""
    if path is None:
        return frozenset()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SshError(f"cannot read RevokedHostKeys {path}: {error.strerror}") from None
    if data.startswith(KRL):
        raise SshError(
            f"RevokedHostKeys {path} is a binary list, which is not read here",
            hint="list the revoked public keys as text, a line each",
        )
    words = (line.split()[1:2] for line in data.splitlines() if not line.startswith(b"#"))
    try:
        return frozenset(b64decode(word, validate=True) for (word,) in filter(None, words))
    except ValueError:
        raise SshError(f"RevokedHostKeys {path} holds lines that are no keys") from None
