"""Jobs that came to their end, or wait, once for all tests that only go on from there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from catalogue import deb_packages
from made_sites import copy_made, move, run, site_at

from installed import FIXTURES, Site, needs

Make = Callable[[str, Callable[[Path], object]], Path]
Know = Callable[[Site, str], Site]


@pytest.fixture(scope="session")
def put_finished(shared: Path, made: Make, catalogued: Know) -> Callable[[Path], Site]:
    """``put_finished(directory)``: a site of its own with the job of `finished`."""

    def analyse(path: Path) -> None:
        path.mkdir()
        run(catalogued(site_at(path, debugs=shared / "debugs"), "a"), "a", "-m")

    def put(directory: Path) -> Site:
        copy_made(made("finished", analyse), directory)
        return site_at(directory, kernels=FIXTURES / "a", debugs=shared / "debugs")

    return put


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, put_finished: Callable[[Path], Site]
) -> Site:
    """A site with the job T-1, run through drgn, with modules."""
    return put_finished(tmp_path_factory.mktemp("site"))


@pytest.fixture
def own_finished(tmp_path: Path, put_finished: Callable[[Path], Site]) -> Site:
    """The same for one test, which may change it."""
    return put_finished(tmp_path)


@pytest.fixture
def finished_of(
    tmp_path: Path, shared: Path, made: Make, catalogued: Know
) -> Callable[[str], Site]:
    """``finished_of("arm64")``: a site of all shipped kernels, with the job T-1 on that dump.

    The job and the database are everybody's: to be looked at only.
    """

    def analyse(part: str, path: Path) -> None:
        path.mkdir()
        engine = "auto" if part == "arm64" else "drgn"  # for which nobody has a crash
        run(catalogued(site_at(path, debugs=shared / "debugs", engine=engine), "."), part)
        move(path, path, path.with_name(f"finished-{part}"))

    def site(part: str) -> Site:
        path = made(f"finished-{part}", partial(analyse, part))
        (tmp_path / "cores").symlink_to(path / "cores")
        return site_at(
            tmp_path, kernels=FIXTURES, debugs=shared / "debugs", database=path / "cas.db"
        )

    return site


@pytest.fixture(scope="session")
def put_waiting(made: Make) -> Callable[[Site, str], Site]:
    """``put_waiting(site, "a")``: the job T-1 on a shipped dump whose kernel nobody has.

    The site has no kernels, and a cache of its own.
    """

    def wait(part: str, path: Path) -> None:
        (path / "kernels").mkdir(parents=True)
        run(site_at(path), part, status=6)

    def put(site: Site, part: str) -> Site:
        copy_made(made(f"waiting-{part}", partial(wait, part)), site.directory)
        own = site_at(site.directory)
        site.settings |= own.settings
        return site

    return put


@pytest.fixture
def waiting(site: Site, put_waiting: Callable[[Site, str], Site]) -> Site:
    """A site with the job T-1, whose kernel nobody has."""
    return put_waiting(site, "a")


@pytest.fixture(scope="session")
def deb(made: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped kernel with its kmods, in Debian's layout."""
    needs("dpkg-deb")
    release = "6.1.192-1.cas1.x86_64"

    def pack(path: Path) -> None:
        tree = tmp_path_factory.mktemp("deb")
        (package,) = (FIXTURES / "a").glob("*.rpm")
        subprocess.run([needs("bsdtar"), "-xf", package, "-C", tree], check=True)
        kmods = tree.rglob("*.ko.debug")
        files = {f"/{kmod.relative_to(tree)}".removesuffix(".debug"): kmod for kmod in kmods}
        (vmlinux,) = tree.rglob("vmlinux")
        files[f"/usr/lib/debug/boot/vmlinux-{release}"] = vmlinux
        contents = {name: file.read_bytes() for name, file in files.items()}
        deb_packages.build(tree, contents, "zstd").rename(path)

    return made("linux-image-cas1-dbg_6.1.192-1_amd64.deb", pack)
