"""``debuginfod`` in cas.conf: jobs whose kernel nobody catalogued."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from debuginfod_server import debuginfod
from intake.fetch_servers import web

from installed import FIXTURES, Site

VMCORE = FIXTURES / "b" / "vmcore.kdump"
(RPM,) = (FIXTURES / "b").glob("*.rpm")
BUILD_ID = "bed5fd30e12cd8d93b7cebca1a352810446bd99e"


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's debuginfod, with the kernel of the dump."""
    with debuginfod(FIXTURES / "b", tmp_path_factory.mktemp("debuginfod")) as url:
        yield url


@pytest.fixture
def empty(site: Site) -> Site:
    """A site without packages, and with a cache of its own."""
    site.settings |= {"debugs": str(site.directory / "debugs"), "engine": "drgn"}
    return site


def test_a_waiting_job_names_the_servers_and_one_that_has_the_kernel_finishes_it(
    empty: Site, debian: str
) -> None:
    packed = empty.directory / "vmcore.gz"  # its kernel is sought while it is unpacked, and after
    packed.write_bytes(gzip.compress(VMCORE.read_bytes(), 1))
    with web() as nobody:
        empty.settings["debuginfod"] = nobody.address
        done = empty.cas("-i", "T-1", "-f", packed)
        assert done.returncode == 6
        assert "asked debuginfod: 127.0.0.1:" in done.stderr
        assert "it has no such build-id (404" in done.stderr
        assert "kernel-debuginfo" in done.stderr
        assert [path for path, _ in nobody.requests] == [f"/buildid/{BUILD_ID}/debuginfo"]
    empty.settings["debuginfod"] = debian
    done = empty.admin("resume")
    assert done.returncode == 0, done.stderr
    assert f"Asking {debian.removeprefix('http://')} for the vmlinux" in done.stderr
    result = empty.result("T-1")
    assert (result["verdict"], result["evidence"]) == ("complete", "build-id")
    assert result["kernel"]["build_id"] == BUILD_ID
    assert result["answer"]["panic_task"]["comm"].startswith("kworker")
    del empty.settings["debuginfod"]
    again = empty.cas("-i", "T-2", "-f", VMCORE)  # from the cache
    assert again.returncode == 0, again.stderr
    assert empty.result("T-2")["kernel"]["build_id"] == BUILD_ID


def test_a_package_that_was_damaged_since_is_replaced_by_what_a_server_has(
    empty: Site, debian: str
) -> None:
    package = Path(empty.settings["kernels"]) / RPM.name
    shutil.copy(RPM, package)
    assert empty.admin("-b").returncode == 0
    os.truncate(package, package.stat().st_size // 2)
    empty.settings["debuginfod"] = debian
    done = empty.cas("-i", "T-1", "-f", VMCORE)
    assert done.returncode == 0, done.stderr
    warning = next(line for line in done.stderr.splitlines() if line.startswith("!"))
    assert f"{RPM.name} is no intact RPM" in warning
    result = empty.result("T-1")
    assert Path(result["kernel"]["vmlinux"]).is_relative_to(empty.settings["debugs"])
    frames = result["answer"]["backtrace"]  # the kmod is the server's too
    assert any(frame["kmod"] == "cas_oops" and frame["line"] for frame in frames)


def test_no_request_leaves_unless_a_server_is_configured(empty: Site, vmcore: Path) -> None:
    with web() as server:
        empty.environment["DEBUGINFOD_URLS"] = server.address
        done = empty.cas("-i", "T-1", "-f", vmcore)
        assert done.returncode == 6
        assert "asked debuginfod" not in done.stderr
        assert server.requests == []
