"""Kernels in Debian packages: catalogued, told apart, and used for a whole job."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue import deb_packages, made_sources

from installed import FIXTURES, Site

RELEASE = "6.1.192-1.cas1.x86_64"
BUILD_ID = "81561b88fc316209f6d1adc62e3e31a14f1760c3"
"""Of the shipped kernel `a`; that of `b` has the same release."""


LINUX_SOURCE = f"linux-source-6.1_{deb_packages.VERSION}_all.deb"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, deb: Path, shared: Path) -> Site:
    """A site with two builds of one release: `a` as a DEB, `b` as an RPM."""
    directory = tmp_path_factory.mktemp("both")
    kernels = directory / "kernels"
    (kernels / "a").mkdir(parents=True)
    (kernels / "a" / deb.name).symlink_to(deb)
    source = {"drivers/cas/cas_oops.c": (FIXTURES.parent / "modules" / "cas_oops.c").read_bytes()}
    (kernels / "a" / LINUX_SOURCE).write_bytes(
        made_sources.linux_source(made_sources.tarball(source))
    )
    (kernels / "b").symlink_to(FIXTURES / "b")
    site = Site(
        directory,
        {
            "kernels": str(kernels),
            "workDirectory": str(directory / "cores"),
            "debugs": str(directory / "debugs"),
            "database": str(directory / "cas.db"),
            "engine": "drgn",
        },
    )
    site.keep_snippets("sys")
    done = site.admin("-b")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 kernels in the catalogue")
    return site


@pytest.mark.long
def test_of_two_builds_of_one_release_the_debs_is_taken_by_build_id(
    both: Site, vmcore: Path
) -> None:
    done = both.cas("-i", "T-1", "-f", vmcore, "-m")
    assert done.returncode == 0, done.stderr
    result = both.result("T-1")
    assert (result["kernel"]["build_id"], result["evidence"]) == (BUILD_ID, "build-id")
    assert result["kernel"]["member"] == f"/usr/lib/debug/boot/vmlinux-{RELEASE}"
    inside = [frame for frame in result["answer"]["backtrace"] if frame["kmod"] == "cas_oops"]
    assert inside
    assert all(frame["line"] for frame in inside)
    found = {path.name.partition(".")[0] for path in (both.job("T-1") / "usr").rglob("*.ko*")}
    loaded = {kmod["name"] for kmod in result["answer"]["kmods"]}
    assert {name.replace("-", "_") for name in found} == loaded


@pytest.mark.long
def test_the_source_around_the_fault_is_shown_from_linux_source(both: Site, vmcore: Path) -> None:
    done = both.cas("-i", "T-4", "-f", vmcore)
    assert done.returncode == 0, done.stderr
    source = both.result("T-4")["fault"]["source"]
    assert source["line"] == 63
    assert source["lines"][63 - source["first"]] == "\treturn READ_ONCE(entry->account->balance);"
    text = (both.job("T-4") / "report.txt").read_text()
    assert "=>     63          return READ_ONCE(entry->account->balance);" in text
    assert f"{LINUX_SOURCE}: /usr/src/linux-source-6.1.tar.xz: /linux-source-6.1/drivers" in text


@pytest.mark.long
def test_without_a_build_id_the_debs_banner_tells_them_apart(
    both: Site, vmcore: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.write_bytes(vmcore.read_bytes().replace(b"\nBUILD-ID=", b"\nNO-SUCH-="))
    done = both.cas("-i", "T-2", "-f", old)
    assert done.returncode == 0, done.stderr
    result = both.result("T-2")
    assert result["dump"]["build_id"] is None
    assert (result["kernel"]["build_id"], result["evidence"]) == (BUILD_ID, "banner")


def put(site: Site, name: str, content: bytes) -> Path:
    path = Path(site.settings["kernels"]) / name / f"linux-image-{name}-dbg_1_amd64.deb"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_build_reads_what_changed_forgets_what_is_gone_and_names_what_is_damaged(
    site: Site,
) -> None:
    one, two = (f"6.1.0-{number}-amd64" for number in (1, 2))
    packages = {
        name: deb_packages.package(deb_packages.debuginfo(name, name)) for name in (one, two)
    }
    for name, content in packages.items():
        put(site, name, content)
    Path(site.settings["kernels"], one, "loop").symlink_to(site.settings["kernels"])
    first = site.admin("-b")
    assert (first.returncode, first.stdout[:9]) == (0, "2 kernels"), first.stderr
    assert "2 read, 0 unchanged" in first.stdout
    put(site, one, packages[one][: len(packages[one]) // 2])
    put(site, two, packages[two]).unlink()
    second = site.admin("-b")
    assert second.returncode != 0
    assert "is no intact DEB: the file ends inside data.tar.gz" in second.stdout + second.stderr
    assert "1 gone" in second.stdout
    assert site.admin("-b").returncode != 0
    put(site, one, packages[one])
    last = site.admin("-b")
    assert (last.returncode, last.stdout[:8]) == (0, "1 kernel"), last.stderr


def test_a_plain_vmlinux_below_kernels_is_catalogued(site: Site, vmlinux: Path) -> None:
    place = Path(site.settings["kernels"], "usr/lib/debug/lib/modules", RELEASE)
    place.mkdir(parents=True)
    (place / "vmlinux").symlink_to(vmlinux)
    done = site.admin("-b")
    assert (done.returncode, done.stdout[:8]) == (0, "1 kernel"), done.stderr
    assert f"{BUILD_ID}  {place / 'vmlinux'}" in site.admin("kernels").stdout
