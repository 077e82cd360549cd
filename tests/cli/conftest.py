"""A finished job on the shipped dump, for the tests that only look at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from installed import FIXTURES, Site


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Site:
    """A site with the job T-1, run through drgn, with modules."""
    directory = tmp_path_factory.mktemp("site")
    site = Site(
        directory,
        {
            "kernels": str(FIXTURES / "a"),
            "workDirectory": str(directory / "cores"),
            "debugs": str(shared / "debugs"),
            "database": str(directory / "cas.db"),
            "engine": "drgn",
        },
    )
    assert site.admin("-b").returncode == 0
    done = site.cas("-i", "T-1", "-f", FIXTURES / "a" / "vmcore.elf.xz", "-m")
    assert done.returncode == 0, done.stderr
    return site
