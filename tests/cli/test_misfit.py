"""Dumps that say of themselves what is not so, and vmlinux files that need a second look."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from installed import FIXTURES, Site, few_of, needs

ID_A = "81561b88fc316209f6d1adc62e3e31a14f1760c3"
ID_B = "bed5fd30e12cd8d93b7cebca1a352810446bd99e"
NODE = "cas-a"


def mislabelled(vmcore: Path, path: Path) -> Path:
    """The dump of kernel A with the build-id of B in its note; its memory is A's."""
    data = vmcore.read_bytes()
    assert data.index(ID_A.encode()) < 1 << 16
    path.write_bytes(data.replace(ID_A.encode(), ID_B.encode(), 1))
    return path


def without_distance(vmcore: Path, path: Path) -> Path:
    """The dump of a kernel that KASLR moved, and whose note does not say how far."""
    data = vmcore.read_bytes()
    path.write_bytes(re.sub(rb"\nKERNELOFFSET=", b"\nKERNEL_OFFSET", data, count=1))
    return path


@pytest.fixture
def site_b(site: Site, catalogued: Callable[[Site, str], Site]) -> Site:
    """A site that knows only kernel B, where drgn does everything."""
    site.settings["engine"] = "drgn"
    site.keep_snippets("sys")
    return catalogued(site, "b")


def test_a_note_of_another_kernel_does_not_make_it_the_dumps(
    site_b: Site, vmcore: Path, shared: Path, tmp_path: Path
) -> None:
    """It waits for the one that its memory names, and then is analysed with that."""
    site_b.settings["debugs"] = str(tmp_path / "debugs")
    done = site_b.cas("-i", "T-1", "-f", mislabelled(vmcore, tmp_path / "dump"))
    assert done.returncode == 6, done.stderr
    result = site_b.result("T-1")
    assert result["reason"].startswith(
        "the kernel does not fit: linux_banner is '' in memory, and should be 'Linux version 6.1"
    )
    assert f"no debuginfo for 6.1.192-1.cas1.x86_64 (x86_64), build-id {ID_A}" in result["reason"]
    assert (result["answer"], result["dump"]["build_id"]) == (None, ID_A)
    assert not any(section["engine"] == "drgn" for section in result["sections"])
    kernels = tmp_path / "kernels"
    for part in ("a", "b"):
        (kernels / part).mkdir()
        shutil.copy(next((FIXTURES / part).glob("*.rpm")), kernels / part)
    site_b.settings |= {"kernels": str(kernels), "debugs": str(shared / "debugs")}
    done = site_b.admin("-b")
    assert f"complete {site_b.job('T-1')}\n" in done.stdout, done.stderr
    result = site_b.result("T-1")
    assert result["kernel"]["build_id"] == ID_A
    assert result["answer"]["panic_task"]["comm"].startswith("kworker")
    remark = f"VMCOREINFO in memory names build-id {ID_A}, in the dump's headers {ID_B}"
    assert any(text.startswith(remark) for text in result["remarks"])


@pytest.mark.long
def test_a_kernel_that_nobody_has_may_be_another_by_the_dumps_memory(
    site_a: Site, vmcore: Path, tmp_path: Path
) -> None:
    site_a.settings["engine"] = "drgn"
    site_a.keep_snippets("sys")
    dump = mislabelled(vmcore, tmp_path / "dump")
    done = site_a.cas("-i", "T-1", "-f", dump)
    assert done.returncode == 0, done.stderr
    result = site_a.result("T-1")
    assert (result["kernel"]["build_id"], result["dump"]["build_id"]) == (ID_A, ID_A)
    remark = f"VMCOREINFO in memory names build-id {ID_A}, in the dump's headers {ID_B}"
    assert any(text.startswith(remark) for text in result["remarks"])
    debug = site_a.cas("debug", "T-1", "--engine", "drgn", "-c", "sys")
    assert (debug.returncode, "NODENAME: cas-guest" in debug.stdout) == (0, True), debug.stderr


@pytest.mark.parametrize("engine", few_of(("drgn", "crash"), {"drgn"}))
def test_a_kernel_that_was_moved_is_found_by_its_text(
    site_a: Site, vmcore: Path, indexed: Path, tmp_path: Path, engine: str
) -> None:
    """By drgn, and then by crash too."""
    site_a.settings["engine"] = "drgn"
    site_a.keep_snippets("sys")
    done = site_a.cas("-i", "T-1", "-f", without_distance(vmcore, tmp_path / "dump"))
    assert done.returncode == 0, done.stderr
    result = site_a.result("T-1")
    assert any("do not say how far the kernel was moved: by 0x" in one for one in result["remarks"])
    assert result["answer"]["uptime_s"] < 3600
    assert {kmod["name"] for kmod in result["answer"]["kmods"]} >= {"cas_oops", "cas_stuck"}
    if engine == "crash":
        needs("crash")
        debug = site_a.cas("debug", "T-1", "--kernel", indexed, "--engine", engine, "-c", "sys")
        assert "NODENAME: cas-guest" in debug.stdout, debug.stderr


def test_a_vmlinux_with_nothing_but_debug_information_is_enough(
    site: Site, vmcore: Path, vmlinux: Path, tmp_path: Path
) -> None:
    """SUSE's packages have no other; its per-CPU variables do not move with the kernel."""
    release = tmp_path / "kernels" / "6.1.192-1.cas1.x86_64"
    release.mkdir()
    argv = [needs("objcopy"), "--only-keep-debug", vmlinux, release / "vmlinux.debug"]
    subprocess.run(argv, check=True)
    site.settings |= {"engine": "drgn", "debugs": str(tmp_path / "debugs")}
    site.keep_snippets("sys")
    assert site.admin("-b").returncode == 0
    done = site.cas("-i", "T-1", "-f", vmcore)
    assert done.returncode == 0, done.stderr
    answer = site.result("T-1")["answer"]
    assert answer["panic_task"]["cpu"] == 1
    assert any(frame["function"] == "oops_end" for frame in answer["backtrace"])


def test_of_a_kernel_that_does_not_fit_nothing_is_told(
    site: Site, vmcore: Path, vmlinux_b: Path, tmp_path: Path
) -> None:
    """Kernel B under the build-id of A: of the headers, of memory, and of the vmlinux."""
    data = vmlinux_b.read_bytes()
    other = tmp_path / "kernels" / "vmlinux"
    other.write_bytes(data.replace(bytes.fromhex(ID_B), bytes.fromhex(ID_A)))
    site.settings |= {"engine": "drgn", "debugs": str(tmp_path / "debugs")}
    site.keep_snippets("sys")
    assert site.admin("-b").returncode == 0
    done = site.cas("-i", "T-1", "-f", vmcore)
    assert done.returncode == 4
    misfit = "the kernel does not fit: linux_banner is '' in memory, and should be 'Linux version 6"
    assert misfit in done.stderr
    result = site.result("T-1")
    assert (result["verdict"], result["answer"]) == ("failed", None)
    assert result["reason"].startswith(misfit)
    assert {section["engine"] for section in result["sections"]} == {"salvage"}
    refused = site.cas("debug", "T-1", "--engine", "drgn", "-c", "sys")
    assert refused.returncode == 4
    assert misfit in refused.stderr
    assert "cas debug --kernel FILE --force" in refused.stderr
