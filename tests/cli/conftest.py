"""Jobs on the shipped dump that came to their end once, for the tests that only look at them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from upgrade.moving import replace_in, replace_in_rows, reseal

from installed import FIXTURES, Site

Make = Callable[[str, Callable[[Path], object]], Path]
VMCORE = FIXTURES / "a" / "vmcore.elf.xz"


def site_at(directory: Path, debugs: Path) -> Site:
    """A site of the shipped kernel, on which drgn does everything."""
    return Site(
        directory,
        {
            "kernels": str(FIXTURES / "a"),
            "workDirectory": str(directory / "cores"),
            "debugs": str(debugs),
            "database": str(directory / "cas.db"),
            "engine": "drgn",
        },
    )


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
    shared: Path,
    made: Make,
    catalogued: Callable[[Site, str], Site],
) -> Site:
    """A site with the job T-1, run through drgn, with modules: a copy of the one that ran."""

    def analyse(path: Path) -> None:
        path.mkdir()
        done = catalogued(site_at(path, shared / "debugs"), "a").cas(
            "-i", "T-1", "-f", VMCORE, "-m"
        )
        assert done.returncode == 0, done.stderr

    before = made("finished", analyse)
    directory = tmp_path_factory.mktemp("site")
    shutil.copytree(before, directory, symlinks=True, dirs_exist_ok=True)
    site = site_at(directory, shared / "debugs")
    made_at = str(before.with_name(".finished.part"))
    replace_in(site.jobs, made_at, str(directory))
    replace_in_rows(directory / "cas.db", made_at, str(directory))
    reseal(site.job("T-1"))
    return site
