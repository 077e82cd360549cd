"""Keys for the tests of logins, made once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ssh_servers import make_key

from installed import needs

KINDS = {
    "ed25519": ("ed25519", 0),
    "other": ("ed25519", 0),
    "ecdsa": ("ecdsa", 0),
    "rsa": ("rsa", 3072),
    "rsa1024": ("rsa", 1024),
    "authority": ("ed25519", 0),
}


@pytest.fixture
def keys(made: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A directory of key pairs, called as in `KINDS`."""
    return made("ssh-keys", _make)


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of whoever runs the tests is not asked."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def _make(directory: Path) -> None:
    needs("ssh-keygen")
    directory.mkdir()
    for name, (kind, bits) in KINDS.items():
        make_key(directory / name, kind, bits)
