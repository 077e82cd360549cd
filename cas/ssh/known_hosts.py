"""What stands in a known_hosts file, line by line.

Source: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

from cas.frozen import dataclass
from cas.ssh.failures import SshError
from cas.text import one_line

AUTHORITY = "@cert-authority"
REVOKED = "@revoked"
HASHED = "|1|"
_NAME = re.compile(r"[A-Za-z0-9._:%-]{1,253}")
_NAME_AND_PORT = re.compile(r"\[([A-Za-z0-9._:%-]{1,253})\]:([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A line: a key, and the servers that it is for."""

    marker: str
    """``@revoked``, ``@cert-authority`` or nothing."""
    patterns: tuple[str, ...]
    kind: str
    """The key's own word for its type, e.g. ``ssh-ed25519``."""
    blob: bytes
    """The public key."""

    def is_for(self, name: str) -> bool:
        """Whether a server is meant.

        :param name: as known_hosts calls it, in lower case
        """
        if self.patterns[0].startswith(HASHED):
            # sshd(8): ``|1|`` salt ``|`` HMAC-SHA1 of the name, both in base64
            salt, _, digest = self.patterns[0].removeprefix(HASHED).partition("|")
            expected = hmac.digest(_key_blob(salt), name.encode(), "sha1")
            is_same = hmac.compare_digest(expected, _key_blob(digest))
            return len(self.patterns) == 1 and is_same
        matching: list[str] = []
        for pattern in self.patterns:
            # ssh_config(5), PATTERNS: ``*`` and ``?``, nothing else
            letters = pattern.lstrip("!").lower()
            words = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in letters)
            if re.fullmatch("".join(words), name):
                matching.append(pattern)
        return bool(matching) and not any(pattern.startswith("!") for pattern in matching)


def keys_of(path: Path) -> Iterator[KnownKey]:
    """The keys in a file; like ssh, skip lines that are no keys.

    :raises SshError: the file cannot be read
    """
    for marker, words in _known_hosts_lines(path):
        patterns, blob = tuple(word for word in words[0].split(",") if word), _key_blob(words[2])
        if patterns and blob and (kind := key_type_of(blob)) == words[1]:
            yield KnownKey(marker, patterns, kind, blob)


def key_type_of(blob: bytes) -> str:
    """The type of a public key; ``""`` when it is none.

    Source: RFC 4253, 6.6: it begins with the type's name after its length, big-endian.
    """
    end = 4 + int.from_bytes(blob[:4], "big")
    name = blob[4:end]
    return name.decode("ascii", "replace") if 4 < end <= min(len(blob), 100) else ""


def key_fingerprint(blob: bytes) -> str:
    """A key's type and SHA-256, to be compared by a person; as ssh shows it."""
    digest = binascii.b2a_base64(hashlib.sha256(blob).digest(), newline=False).decode()
    return f"{one_line(key_type_of(blob))} SHA256:{digest.rstrip('=')}"


def names_of(path: Path) -> Iterator[tuple[str, ...]]:
    """The names and addresses of each line that is for a server of its own; hashed ones as such."""
    for marker, words in _known_hosts_lines(path):
        if not marker:
            yield tuple(words[0].split(","))


def split_name(pattern: str) -> tuple[str, int | None] | None:
    """Name and port of a server that is named plainly; ``None`` for patterns.

    >>> [split_name(text) for text in ("a.b", "[::1]:2222", "*.b", "!a")]
    [('a.b', None), ('::1', 2222), None, None]
    """
    if found := _NAME_AND_PORT.fullmatch(pattern):
        port = int(found[2])
        return (found[1], port) if 0 < port < 1 << 16 else None
    return (pattern, None) if _NAME.fullmatch(pattern) else None


def _known_hosts_lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The marker and at least three words of each line that is no comment."""
    try:
        text = path.read_text(errors="replace") if path.is_file() else ""
    except OSError as error:
        raise SshError(f"cannot read {path}: {error.strerror}") from None
    for line in text.split("\n"):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) >= 3 and not words[0].startswith("#"):
            yield marker, words


def _key_blob(word: str) -> bytes:
    try:
        return b64decode(word, validate=True)
    except ValueError:
        return b""
