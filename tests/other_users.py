"""A site that several users of the system share; tests of it need root, and change no account."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from installed import COMMANDS, Site, needs

OTHER, THIRD = "nobody", "daemon"
"""Users that every Debian has."""
GROUP = "daemon"
"""A group of the latter's."""


class SharedSite(Site):
    """Commands run as root, who may give way to ``casuser``, or as another user."""

    def as_user(
        self, user: str, program: str, *words: str | Path, groups: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """What a command says that this user starts.

        :param groups: besides his own, with commas between them
        """
        found = pwd.getpwnam(user)
        supplementary = [f"--groups={groups}"] if groups else ["--clear-groups"]
        ids = [f"--reuid={found.pw_uid}", f"--regid={found.pw_gid}", *supplementary]
        return self._run(["setpriv", *ids, "--", *self._named(program), *words])

    def run(self, program: str, *words: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
        return self._run([*self._named(program), *words], **how)

    def _named(self, program: str) -> list[str | Path]:
        return [COMMANDS / program if program.startswith("cas") else program]

    def _run(self, argv: list[str | Path], **how: Any) -> subprocess.CompletedProcess[str]:
        environment = self.prepared() | {"HOME": str(self.directory / "root")}
        (self.directory / "cas.conf").chmod(0o644)
        return subprocess.run(
            [*_reachable(self.directory), *argv],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=300,
            check=False,
            **how,
        )

    def own(self, user: str, *paths: str) -> None:
        """Make directories of the site, for this user alone."""
        for path in paths:
            directory = self.directory / path
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.chown(directory, user)

    def owners(self, path: str) -> set[str]:
        """Whose everything below a path of the site is."""
        top = self.directory / path
        return {pwd.getpwuid(found.lstat().st_uid).pw_name for found in (top, *top.rglob("*"))}


class Company(SharedSite):
    """A site whose users are made in an /etc of its own, which nobody else sees."""

    def say(self, *commands: str) -> list[subprocess.CompletedProcess[str]]:
        """What each command gives, one after another, that is typed by a user: ``USER: …``."""
        self.configure()
        there = self.directory
        steps = [
            "set -e",
            "mount --make-rprivate /",
            f"mount --bind {there}/etc /etc",
            f"mount --bind {there}/bin /usr/local/bin",
            "set +e",
        ]
        for number, command in enumerate(commands):
            user, _, typed = command.partition(": ")
            ids = f"--reuid={user} --regid={user} --init-groups"
            out = f"{there}/said/{number}"
            steps.append(
                f"HOME={there} setpriv {ids} sh -c '{typed}' </dev/null >{out}.out 2>{out}.err;"
                f" echo $? >{out}.status"
            )
        done = self.run("unshare", "-m", "sh", "-c", "\n".join(steps))
        require_mounts(done)
        said = []
        for number, command in enumerate(commands):
            parts = [there / "said" / f"{number}.{end}" for end in ("status", "out", "err")]
            status, out, err = (part.read_text() for part in parts)
            said.append(subprocess.CompletedProcess(command, int(status), out, err))
        return said


def require_mounts(done: subprocess.CompletedProcess[str]) -> None:
    """Leave the test out where nobody may mount; all else that goes wrong is a failure."""
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr


@contextmanager
def shared_site(kernels: Path) -> Iterator[SharedSite]:
    """A site outside of pytest's directories, which are closed to other users."""
    if os.geteuid():
        pytest.skip("only root can be other users")
    needs("setpriv")
    needs("unshare")
    directory = Path(tempfile.mkdtemp(prefix="cas-users-", dir="/tmp"))
    directory.chmod(0o755)
    settings = {
        "kernels": str(kernels),
        "workDirectory": str(directory / "cores"),
        "debugs": str(directory / "debugs"),
        "database": str(directory / "db" / "cas.db"),
        "engine": "drgn",
    }
    (directory / "root").mkdir(mode=0o700)
    try:
        yield SharedSite(directory, settings)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _reachable(directory: Path) -> list[str]:
    """What makes Python and the program reachable for all, where root keeps them at home."""
    project = Path(__file__).parents[1]
    places = {Path(place).resolve() for place in (sys.base_prefix, sys.prefix, project)}
    outermost = [place for place in places if not places.intersection(place.parents)]
    closed = sorted(place for place in outermost if _closed(place) is not None)
    if not closed:
        return []
    steps = ["set -e", "mount --make-rprivate /"]
    for place in closed:
        aside = f"{directory}/aside{place}"
        steps += [f"mkdir -p '{aside}'", f"mount --bind '{place}' '{aside}'"]
    steps += [f"mount -t tmpfs -o mode=755 none '{_closed(closed[0])}'"]
    for place in closed:
        steps += [f"mkdir -p '{place}'", f"mount --move '{directory}/aside{place}' '{place}'"]
    return ["unshare", "-m", "sh", "-c", "; ".join((*steps, 'exec "$@"')), "sh"]


def _closed(place: Path) -> Path | None:
    """The first directory on the way that others may not enter."""
    way = (*reversed(place.parents), place)
    return next((path for path in way if not path.stat().st_mode & 0o001), None)
