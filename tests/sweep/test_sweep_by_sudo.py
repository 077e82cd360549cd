"""A directory that is root's alone, read by a user whom one line of sudoers lets read it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from made_crashes import FULL
from ssh_servers import sshd
from swept_hosts import Sweeper

from installed import needs

PAGE = Path(__file__).parents[2] / "man" / "cas.conf.5"
SETUP = """set -e
cp -a /etc {there}/etc
mount --make-rprivate /
mount --bind {there}/etc /etc
id cas >/dev/null 2>&1 || useradd -M -d / -s /bin/sh cas
usermod -p '*' cas
install -m 440 {there}/sudoers /etc/sudoers.d/cas-sweep
exec {sshd} "$@"
"""


def documented(pattern: str) -> str:
    found = re.search(pattern, PAGE.read_text(), re.M)
    assert found
    return found[1]


RULE = documented(r"^(cas ALL = .*)$")
COMMAND = documented(r"^\.Ql (sudo -n /usr/lib/openssh/sftp-server -R)$")


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sweeper]:
    """A host with a user ``cas``, in an /etc of its own, and a directory that is closed to him."""
    if os.geteuid():
        pytest.skip("only root can have a host with users")
    for program in ("sudo", "useradd", "unshare"):
        needs(program)
    if not Path("/usr/lib/openssh/sftp-server").exists():
        pytest.skip("sftp-server is elsewhere here")
    # pytest's own directories are closed to other users
    directory = Path(tempfile.mkdtemp(prefix="cas-swept-", dir="/tmp"))
    directory.chmod(0o755)
    host = directory / "host"
    (host / "bin").mkdir(parents=True)
    (host / "sudoers").write_text(f"{RULE}\n")
    wrapper = host / "bin/sshd"
    (host / "setup").write_text(SETUP.format(there=host, sshd=needs("sshd")))
    wrapper.write_text(f'#!/bin/sh\nexec unshare -m sh {host}/setup "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{host / 'bin'}:{os.environ['PATH']}")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        server = stack.enter_context(sshd(host / "ssh", directory / "home"))
        server.know()
        (server.home / ".ssh/config").write_text(
            f"Host db01\n  HostName 127.0.0.1\n  Port {server.port}\n  User cas\n"
        )
        monkeypatch.setenv("HOME", str(server.home))
        (host / "ssh/authorized").chmod(0o644)
        sweeper = Sweeper(server, directory)
        sweeper.there.chmod(0o700)
        yield sweeper


def test_one_line_of_sudoers_lets_us_read_what_is_roots_and_change_nothing(
    closed: Sweeper,
) -> None:
    dump = closed.dump(1, FULL)
    dump.chmod(0o600)
    refused = closed.sweep()
    assert (refused.missing, "closed to this user" in str(refused.problem)) == ([], True)
    closed.rule(server=COMMAND)
    (missing,) = closed.sweep().missing
    assert (missing.path, missing.is_fetched) == (str(dump), True)
    (place,) = closed.archive.read(missing.crash).swept
    assert (place.uid, place.gid) == (0, 0)
    closed.rule(server=COMMAND.removesuffix(" -R"))
    assert "does not speak sftp there" in str(closed.sweep().problem)
