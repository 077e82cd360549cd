"""Kernels and kmods that no package has, from debuginfod servers; one of them is Debian's."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import kernel_packages as kp
import pytest
from debuginfod_server import debuginfod
from debuginfod_sites import BODY, PATH, WORD, Watched, left_over, rules
from fetch.fetch_servers import Served, Web, web

from cas import elf
from cas.catalogue import Catalogue
from cas.catalogue.extraction import extract
from cas.catalogue.extraction.debuginfod import Debuginfod
from cas.catalogue.suppliers import Sought
from cas.database.store import Store
from cas.errors import DiskFull, KernelMismatch, KernelNotFound
from cas.model.kernel import KernelIdentity
from cas.progress import Silent
from cas.settings.rules import DebuginfodRules, PackageRules

from installed import FIXTURES, closed_port, needs

KERNEL_B, RELEASE_B = "bed5fd30e12cd8d93b7cebca1a352810446bd99e", "6.1.192-1.cas1.x86_64"
(RPM_B,) = (FIXTURES / "b").glob("*.rpm")
MakeDump = Callable[..., KernelIdentity]


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "debugs"


@pytest.fixture
def served(dump: MakeDump) -> KernelIdentity:
    """The dump of the kernel that the servers have."""
    return dump(build_id=kp.build_id(WORD))


def test_what_a_server_sends_is_verified_and_cached(
    server: Web, served: KernelIdentity, cache: Path, tmp_path: Path
) -> None:
    server.files[PATH] = Served(BODY)
    watched = Watched()
    match = Catalogue(Store(tmp_path / "cas.db"), debuginfod=rules(server)).find(
        served, cache=cache, progress=watched
    )
    assert (match.evidence, match.kernel.member) == ("build-id", None)
    assert match.kernel.source.read_bytes() == BODY
    assert server.address.removeprefix("http://") in match.detail
    assert watched.totals == [len(BODY)] and watched.done == len(BODY)
    assert extract.extract_vmlinux(match, cache, Silent()) == match.kernel.source


def test_the_next_run_needs_no_server(
    server: Web, served: KernelIdentity, cache: Path, tmp_path: Path
) -> None:
    server.files[PATH] = Served(BODY)
    first = Catalogue(Store(tmp_path / "cas.db"), debuginfod=rules(server)).find(
        served, cache=cache
    )
    again = Catalogue(Store(tmp_path / "cas.db")).find(served, cache=cache)
    assert again.kernel.source == first.kernel.source
    assert len(server.requests) == 1


def test_a_catalogued_kernel_is_not_asked_for(
    built: Callable[..., Catalogue], kernels: Path, server: Web, cache: Path, served: KernelIdentity
) -> None:
    files, links = kp.debuginfo(WORD)
    built(kp.Recipe(files, links))
    catalogue = Catalogue(Store(kernels.parent / "cas.db"), debuginfod=rules(server))
    assert catalogue.find(served, cache=cache).kernel.source.suffix == ".rpm"
    assert server.requests == []


def test_a_kernel_whose_package_is_gone_is_asked_for(
    built: Callable[..., Catalogue], kernels: Path, server: Web, cache: Path, served: KernelIdentity
) -> None:
    server.files[PATH] = Served(BODY)
    files, links = kp.debuginfo(WORD)
    built(kp.Recipe(files, links))
    for package in kernels.rglob("*.rpm"):
        package.unlink()
    catalogue = Catalogue(Store(kernels.parent / "cas.db"), debuginfod=rules(server))
    assert catalogue.find(served, cache=cache).kernel.source.is_relative_to(cache)


def test_a_kernel_whose_package_is_damaged_is_asked_for(
    built: Callable[..., Catalogue], kernels: Path, server: Web, cache: Path, served: KernelIdentity
) -> None:
    server.files[PATH] = Served(BODY)
    files, links = kp.debuginfo(WORD)
    built(kp.Recipe(dict.fromkeys(files, kp.vmlinux("other")), links))
    catalogue = Catalogue(Store(kernels.parent / "cas.db"), debuginfod=rules(server))
    match = catalogue.find(served, cache=cache)
    with pytest.raises(KernelMismatch):
        extract.extract_vmlinux(match, cache, Silent())
    watched = Watched()
    with ExitStack() as leases:
        sought = Sought(served, cache, watched)
        used, extracted = catalogue.extract(sought, match, (), leases)
    assert extracted.vmlinux.read_bytes() == BODY
    assert used.kernel.source == extracted.vmlinux
    (warning,) = watched.warned
    assert str(match.kernel.source) in warning


def test_a_damaged_package_without_another_says_which_servers_were_asked(
    built: Callable[..., Catalogue], kernels: Path, server: Web, cache: Path, served: KernelIdentity
) -> None:
    files, links = kp.debuginfo(WORD)
    built(kp.Recipe(dict.fromkeys(files, kp.vmlinux("other")), links))
    catalogue = Catalogue(Store(kernels.parent / "cas.db"), debuginfod=rules(server))
    match = catalogue.find(served, cache=cache)
    with (
        ExitStack() as leases,
        pytest.raises(KernelMismatch, match="asked debuginfod: 127") as told,
    ):
        catalogue.extract(Sought(served, cache, Silent()), match, (), leases)
    assert str(match.kernel.source) in str(told.value)


def test_where_signatures_are_required_no_server_is_asked(
    server: Web, served: KernelIdentity, cache: Path, tmp_path: Path
) -> None:
    server.files[PATH] = Served(BODY)
    packages = PackageRules(signatures="require", keys=tmp_path)
    catalogue = Catalogue(Store(tmp_path / "cas.db"), debuginfod=rules(server), packages=packages)
    with pytest.raises(KernelNotFound):
        catalogue.find(served, cache=cache)
    assert server.requests == []


def test_without_a_cache_nothing_is_asked(
    server: Web, served: KernelIdentity, tmp_path: Path
) -> None:
    server.files[PATH] = Served(BODY)
    with pytest.raises(KernelNotFound):
        Catalogue(Store(tmp_path / "cas.db"), debuginfod=rules(server)).find(served)
    assert server.requests == []


def test_a_dump_without_build_id_is_not_asked_for(
    server: Web, dump: MakeDump, cache: Path, tmp_path: Path
) -> None:
    catalogue = Catalogue(Store(tmp_path / "cas.db"), debuginfod=rules(server))
    with pytest.raises(KernelNotFound):
        catalogue.find(dump(banner=kp.banner()), cache=cache)
    assert server.requests == []


def test_servers_are_asked_in_their_order_until_one_has_it(
    served: KernelIdentity, cache: Path
) -> None:
    with web() as empty, web() as full, web() as never:
        full.files[PATH] = Served(BODY)
        watched = Watched()
        assert Debuginfod(rules(empty, full, never)).kernel(served, cache, watched)
        assert [len(one.requests) for one in (empty, full, never)] == [1, 1, 0]
        assert watched.warned == []  # a server need not have every kernel


def test_nothing_found_names_every_server_and_the_packages_to_get(
    served: KernelIdentity, cache: Path, tmp_path: Path
) -> None:
    gone = f"http://127.0.0.1:{closed_port()}"
    with web() as empty, web() as broken:
        broken.files[PATH] = lambda request: request.send(500, {"Content-Length": "0"})
        urls = (empty.address, broken.address, gone)
        catalogue = Catalogue(Store(tmp_path / "cas.db"), debuginfod=DebuginfodRules(urls))
        with pytest.raises(KernelNotFound) as caught:
            catalogue.find(served, cache=cache)
        with pytest.raises(KernelNotFound, match="asked debuginfod"):
            catalogue.find(served, cache=cache)
        assert [len(one.requests) for one in (empty, broken)] == [1, 1]
    text = str(caught.value)
    assert "there is no such file: 404" in text
    assert "the server says 500" in text
    assert f"{gone.removeprefix('http://')} cannot be reached: Connection refused" in text
    assert "kernel-debuginfo" in caught.value.hint


def test_a_full_disk_is_said_with_need_and_have(
    server: Web, served: KernelIdentity, cache: Path
) -> None:
    server.files[PATH] = Served(BODY, declared=1 << 55)
    asked = Debuginfod(rules(server, file_bytes=1 << 60))
    for _ in range(2):  # the second time in a run it is no other failure
        with pytest.raises(DiskFull, match=r"no room for vmlinux .* needs 32\.0 PiB, has"):
            asked.kernel(served, cache, Silent())
    assert left_over(cache) == []


def test_two_jobs_fetch_a_kernel_once(server: Web, served: KernelIdentity, cache: Path) -> None:
    server.files[PATH] = Served(BODY)
    found: list[object] = []
    jobs = [
        threading.Thread(
            target=lambda: found.append(Debuginfod(rules(server)).kernel(served, cache, Silent()))
        )
        for _ in range(4)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len(found) == 4 and None not in found
    assert len(server.requests) == 1


def test_a_server_that_is_down_is_not_tried_for_every_kmod(tmp_path: Path) -> None:
    asked = Debuginfod(DebuginfodRules((f"http://127.0.0.1:{closed_port()}",)))
    watched = Watched()
    for number in range(5):
        destination = tmp_path / f"{number}.ko.debug"
        assert asked.kmod("ext4", kp.build_id(str(number)), destination, watched) is None
    assert len(watched.warned) == 1


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's server, with the shipped RPM and a DEB of its kmods."""
    directory = tmp_path_factory.mktemp("debuginfod")
    packages, tree = directory / "packages", directory / "tree"
    packages.mkdir()
    (packages / RPM_B.name).symlink_to(RPM_B)
    (tree / "DEBIAN").mkdir(parents=True)
    subprocess.run([needs("bsdtar"), "-xf", RPM_B, "-C", tree, "*/cas_oops.ko*"], check=True)
    for kmod in tree.rglob("*.ko*"):  # the DEB's alone
        set_build_id(kmod, in_deb(elf.build_id(kmod) or ""))
    (tree / "DEBIAN" / "control").write_text(
        "Package: linux-image-test-dbg\nVersion: 1\nArchitecture: amd64\n"
        "Maintainer: nobody <nobody@localhost>\nDescription: kmods\n"
    )
    subprocess.run(
        [needs("dpkg-deb"), "-b", "-Zxz", tree, packages / "linux-image-test-dbg_1_amd64.deb"],
        check=True,
        capture_output=True,
    )
    with debuginfod(packages, directory) as url:
        yield url


def in_deb(build_id: str) -> str:
    return build_id[::-1]


def set_build_id(path: Path, build_id: str) -> None:
    old, data = elf.build_id(path), path.read_bytes()
    assert old
    path.chmod(0o600)
    path.write_bytes(data.replace(bytes.fromhex(old), bytes.fromhex(build_id)))


def test_debians_server_gives_the_vmlinux_of_an_rpm(
    debian: str, dump: MakeDump, cache: Path
) -> None:
    crashed = replace(dump(build_id=KERNEL_B), osrelease=RELEASE_B)
    match = Debuginfod(DebuginfodRules((debian,))).kernel(crashed, cache, Silent())
    assert match is not None
    assert elf.build_id(match.kernel.source) == KERNEL_B
    assert (elf.linux_banner(match.kernel.source) or "").startswith(f"Linux version {RELEASE_B} ")
    record = json.loads((cache / KERNEL_B / "kernel.json").read_text())
    assert record["source"] == str(match.kernel.source)


def test_debians_server_gives_kmods_of_rpm_and_deb(debian: str, tmp_path: Path) -> None:
    subprocess.run([needs("bsdtar"), "-xf", RPM_B, "-C", tmp_path, "*/cas_oops.ko*"], check=True)
    (kmod,) = tmp_path.rglob("*.ko*")
    build_id = elf.build_id(kmod)
    assert build_id
    server = Debuginfod(DebuginfodRules((debian,)))
    for wanted in (build_id, in_deb(build_id)):
        destination = tmp_path / wanted
        assert server.kmod("cas_oops", wanted, destination, Silent()) == destination
        assert elf.build_id(destination) == wanted
    assert server.kmod("cas_oops", "0" * 40, tmp_path / "none", Silent()) is None
    assert not (tmp_path / "none").exists()
