"""The right kernel for each dump: two builds of a release, other formats and architectures."""

from __future__ import annotations

import json
import lzma
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cas.database.store import Store

from installed import FIXTURES, Site, needs


def described(kind: str, arch: str) -> list[Mapping[str, Any]]:
    every = json.loads((FIXTURES / "fixtures.json").read_text())
    return [fact for fact in every if fact["kind"] == kind and fact["arch"] == arch]


@pytest.fixture
def every_kernel(site: Site, catalogued: Callable[[Site, str], Site]) -> Site:
    """A site that knows all shipped kernels, two of which have the same release."""
    site.settings["engine"] = "drgn"
    site.keep_snippets("sys")
    assert len(Store(catalogued(site, ".").settings["database"]).kernels.listed()) == 3
    return site


@pytest.fixture
def without_build_id(tmp_path: Path) -> Callable[[Mapping[str, Any]], Path]:
    """A dump as kernels before 5.9 leave it: its VMCOREINFO has no BUILD-ID line."""

    def write(fact: Mapping[str, Any]) -> Path:
        data = (FIXTURES / fact["file"]).read_bytes()
        if fact["file"].endswith(".xz"):
            data = lzma.decompress(data)
        path = tmp_path / "old"
        path.write_bytes(data.replace(b"\nBUILD-ID=", b"\nNO-SUCH-="))
        return path

    return write


@pytest.mark.parametrize("fact", described("vmcore", "x86_64"), ids=lambda fact: fact["file"])
def test_of_two_builds_of_one_release_the_dumps_own_is_taken_by_build_id(
    finished_of: Callable[[str], Site], fact: Mapping[str, Any]
) -> None:
    result = finished_of(Path(fact["file"]).parent.name).result("T-1")
    assert result["kernel"]["build_id"] == fact["build_id"]
    assert result["evidence"] == "build-id"
    assert result["answer"]["panic_task"]["comm"].startswith("kworker")


def test_without_a_build_id_the_banner_tells_them_apart(
    every_kernel: Site, without_build_id: Callable[[Mapping[str, Any]], Path]
) -> None:
    """The other build is told apart in the same way in test_deb_kernels.py."""
    (fact,) = (fact for fact in described("vmcore", "x86_64") if fact["file"].startswith("b/"))
    done = every_kernel.cas("-i", "T-1", "-f", without_build_id(fact))
    assert done.returncode == 0, done.stderr
    result = every_kernel.result("T-1")
    assert result["dump"]["build_id"] is None
    assert result["kernel"]["build_id"] == fact["build_id"]
    assert result["evidence"] == "banner"


def test_another_builds_package_alone_is_not_taken(
    site: Site, catalogued: Callable[[Site, str], Site], vmcore: Path
) -> None:
    site.settings["debugs"] = str(site.directory / "debugs")
    done = catalogued(site, "b").cas("-i", "T-1", "-f", vmcore)
    assert done.returncode == 6
    assert "no debuginfo for" in done.stderr


def test_an_aarch64_dump_is_analysed_on_any_machine(finished_of: Callable[[str], Site]) -> None:
    result = finished_of("arm64").result("T-1")
    assert (result["dump"]["arch"], result["engine"]) == ("aarch64", "drgn")
    assert "cas_oops" in {frame["kmod"] for frame in result["answer"]["backtrace"]}
    where = result["finding"]["where"]
    assert where.startswith("cas_balance [cas_oops] at drivers/cas/cas_oops.c:63, inlined in")
    assert result["finding"]["signature"]


@pytest.mark.long
@pytest.mark.parametrize("options", [("-l", "-d", "31"), ("-d", "0")])
def test_makedumpfiles_formats_give_the_same_answer(
    site_a: Site, converted: Callable[..., Path], options: tuple[str, ...]
) -> None:
    site_a.settings["engine"] = "drgn"
    site_a.keep_snippets("sys")
    done = site_a.cas("-i", "T-1", "-f", converted(*options))
    assert done.returncode == 0, done.stderr
    result = site_a.result("T-1")
    assert result["dump"]["format"] == "KDUMP"
    assert any(frame["kmod"] == "cas_oops" for frame in result["answer"]["backtrace"])


@pytest.mark.long
def test_a_flattened_dump_is_read_as_it_is(site_a: Site, vmcore: Path, tmp_path: Path) -> None:
    site_a.settings["engine"] = "drgn"
    site_a.keep_snippets("sys")
    flat = tmp_path / "flat"
    with flat.open("wb") as file:
        argv = [needs("makedumpfile"), "-c", "-d", "31", "-F", vmcore]
        subprocess.run(argv, stdout=file, stderr=subprocess.DEVNULL, check=True)
    done = site_a.cas("-i", "T-1", "-f", flat)
    assert done.returncode == 0, done.stderr
    result = site_a.result("T-1")
    assert result["dump"]["format"] == "flattened KDUMP"
    assert any(frame["kmod"] == "cas_oops" for frame in result["answer"]["backtrace"])


@pytest.mark.long
def test_a_cut_dump_is_never_called_complete(site_a: Site, vmcore: Path) -> None:
    """Of which most is there; test_any_dump.py and test_complete.py cut more off."""
    cut = site_a.directory / "cut"
    data = vmcore.read_bytes()
    cut.write_bytes(data[: int(len(data) * 0.9)])
    site_a.keep_snippets("sys")
    done = site_a.cas("-i", "T-1", "-f", cut, "--engine", "drgn")
    assert done.returncode == 3, done.stderr
    result = site_a.result("T-1")
    assert result["verdict"] == "partial"
    assert "data ends at" in result["reason"]
