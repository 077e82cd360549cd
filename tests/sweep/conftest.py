"""A host with an sshd, an archive, and sweeps of the one into the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_servers import Sshd, sshd
from swept_hosts import Sweeper


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """The sshd of the module's hosts, in whose user's home we are at home, too."""
    directory = tmp_path_factory.mktemp("host")
    with sshd(directory / "ssh", directory / "home") as running, pytest.MonkeyPatch.context() as at:
        running.know()
        lines = "HostName 127.0.0.1", f"Port {running.port}"
        (running.home / ".ssh/config").write_text("Host db*\n  " + "\n  ".join(lines) + "\n")
        at.setenv("HOME", str(running.home))
        yield running


@pytest.fixture
def sweeper(server: Sshd, tmp_path: Path) -> Sweeper:
    """A host whose directory of dumps is empty, and an archive that is."""
    return Sweeper(server, tmp_path)
