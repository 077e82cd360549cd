"""``debuginfod`` in cas.conf: jobs whose kernel nobody catalogued."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from debuginfod_server import debuginfod
from fetch.fetch_servers import Served, web

from installed import FIXTURES, Site, needs

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
    site.keep_snippets("sys")
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
        assert "there is no such file: 404" in done.stderr
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


@pytest.mark.long
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
    warnings = [line for line in done.stderr.splitlines() if line.startswith("!")]
    assert any(f"{RPM.name} is no intact RPM" in warning for warning in warnings)
    result = empty.result("T-1")
    assert Path(result["kernel"]["vmlinux"]).is_relative_to(empty.settings["debugs"])
    frames = result["answer"]["backtrace"]  # the kmod is the server's too
    assert any(frame["kmod"] == "cas_oops" and frame["line"] for frame in frames)


@pytest.mark.long
def test_a_useless_file_is_not_kept_and_its_server_not_asked_again_before_the_cache_is_cleaned(
    empty: Site, vmlinux_b: Path, tmp_path: Path
) -> None:
    path, stripped = f"/buildid/{BUILD_ID}/debuginfo", tmp_path / "stripped"
    subprocess.run([needs("strip"), "-g", "-o", stripped, vmlinux_b], check=True)
    with web() as server:
        empty.settings["debuginfod"] = server.address
        server.files[path] = Served(stripped.read_bytes())
        done = empty.cas("-i", "T-1", "-f", VMCORE)
        assert done.returncode == 6
        assert "what it sends has no debug information" in done.stderr
        assert list((tmp_path / "debugs" / BUILD_ID).glob("vmlinux")) == []
        server.files[path] = Served(vmlinux_b.read_bytes())
        again = empty.cas("-i", "T-1")
        assert again.returncode == 6
        assert "it is asked again a day later, or after cas-admin cache clean" in again.stderr
        assert len(server.requests) == 1
        assert empty.admin("cache", "verify").returncode == 0
        assert empty.admin("cache", "clean").returncode == 0
        done = empty.cas("-i", "T-1")
        assert done.returncode == 0, done.stderr
        vmlinux = Path(empty.result("T-1")["kernel"]["vmlinux"])
        as_an_older_version_did(stripped, vmlinux)
        verified = empty.admin("cache", "verify")
        assert verified.returncode == 4
        assert f"{vmlinux}: its vmlinux has no debug information" in verified.stdout
        done = empty.cas("-i", "T-2", "-f", VMCORE)
        assert done.returncode == 0, done.stderr
        assert f"{vmlinux} has no debug information: it is sought anew" in done.stderr


def as_an_older_version_did(file: Path, vmlinux: Path) -> None:
    """Keep a useless file as if it were a good one."""
    vmlinux.unlink()
    shutil.copy(file, vmlinux)
    (vmlinux.parent / "digests.json").unlink()
    record = vmlinux.parent / "kernel.json"
    facts = json.loads(record.read_text()) | {"size_bytes": vmlinux.stat().st_size}
    record.unlink()
    record.write_text(json.dumps(facts))


def test_no_request_leaves_unless_a_server_is_configured(empty: Site, vmcore: Path) -> None:
    with web() as server:
        empty.environment["DEBUGINFOD_URLS"] = server.address
        done = empty.cas("-i", "T-1", "-f", vmcore)
        assert done.returncode == 6
        assert "asked debuginfod" not in done.stderr
        assert server.requests == []
