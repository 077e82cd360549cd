"""Sites whose job was run once, at one place, and is needed at another."""

from __future__ import annotations

import shutil
from pathlib import Path

from upgrade.moving import replace_in, replace_in_rows, reseal

from installed import FIXTURES, Site

DUMPS = {
    "a": FIXTURES / "a" / "vmcore.elf.xz",
    "b": FIXTURES / "b" / "vmcore.kdump",
    "arm64": FIXTURES / "arm64" / "vmcore.elf.xz",
}
SAID = "said"
"""Beside the jobs: what the command that made the job wrote to stderr."""


def site_at(directory: Path, **settings: str | Path) -> Site:
    """A site on which drgn does everything."""
    usual = {
        "kernels": directory / "kernels",
        "workDirectory": directory / "cores",
        "debugs": directory / "debugs",
        "database": directory / "cas.db",
        "engine": "drgn",
    }
    return Site(directory, {key: str(value) for key, value in (usual | settings).items()})


def run(site: Site, part: str, *words: str, status: int = 0) -> None:
    """Run the job T-1 on a shipped dump."""
    done = site.cas("-i", "T-1", "-f", DUMPS[part], *words)
    assert done.returncode == status, done.stderr
    (site.directory / SAID).write_text(done.stderr)


def move(directory: Path, old: Path, new: Path) -> None:
    """Have a site that was made at one place fit another: its paths and seals."""
    replace_in(directory / "cores", str(old), str(new))
    replace_in_rows(directory / "cas.db", str(old), str(new))
    for record in (directory / "cores").glob("*/*/job.json"):
        reseal(record.parent)


def copy_made(before: Path, directory: Path) -> None:
    """Copy a site that the fixture `made` has made."""
    shutil.copytree(before, directory, symlinks=True, dirs_exist_ok=True)
    move(directory, before.with_name(f".{before.name}.part"), directory)
