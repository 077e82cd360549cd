"""Dumps as customers send them: wrapped, split, cut, mixed up, behind a URL."""

from __future__ import annotations

import functools
import gzip
import hashlib
import lzma
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from intake.packing import apport
from made_sites import SAID

from installed import FIXTURES, Site, needs

PACKED = FIXTURES / "a" / "vmcore.elf.xz"
CRASH = "BUG: kernel NULL pointer dereference, address: 0000000000000018"


@pytest.fixture
def drgn(site_a: Site) -> Site:
    """A site that runs few snippets, and through drgn, which is quicker."""
    site_a.settings["engine"] = "drgn"
    site_a.keep_snippets("sys", "traceback")
    return site_a


@pytest.fixture
def bare(site: Site) -> Site:
    """A site that knows no kernel: its jobs end when the dump is read."""
    site.settings["debugs"] = str(site.directory / "debugs")
    return site


@pytest.fixture
def parts(vmcore: Path, tmp_path: Path) -> list[Path]:
    """The dump in two parts, both of which hold pages."""
    found = [tmp_path / "part one", tmp_path / "part two"]
    argv = [needs("makedumpfile"), "-c", "-d", "31", "--split", "--splitblock-size", "4"]
    subprocess.run([*argv, vmcore, *found], check=True, capture_output=True)
    return found


def pack(directory: Path, *argv: str | Path) -> None:
    subprocess.run([needs(str(argv[0])), *argv[1:]], cwd=directory, check=True, capture_output=True)


@contextmanager
def served(directory: Path) -> Iterator[str]:
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_dump_is_found_below_many_wrappings_and_what_came_with_it_is_kept(
    bare: Site, tmp_path: Path
) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "vm core\n.xz").write_bytes(PACKED.read_bytes())
    (tmp_path / "a b" / "vmcore-dmesg.txt").write_text("[    0.000000] hello\n")
    pack(tmp_path, "tar", "cf", "one.tar", "a b")
    pack(tmp_path, "gzip", "-1", "one.tar")
    (tmp_path / "linux.crash").write_bytes(apport((tmp_path / "one.tar.gz").read_bytes()))
    pack(tmp_path, "7z", "a", "-mx0", "two.7z", "linux.crash")
    pack(tmp_path, "zip", "-1", "three", "two.7z")
    done = bare.cas("-i", "T-1", "-f", tmp_path / "three.zip")
    assert done.returncode == 6, done.stderr
    assert CRASH in done.stderr
    (sidecar,) = (bare.job("T-1") / "sidecars").iterdir()
    assert sidecar.read_text() == "[    0.000000] hello\n"


def test_the_kernel_is_known_before_the_dump_is_unpacked(finished: Site) -> None:
    said = (finished.directory / SAID).read_text()
    told, read = said.index("* Linux 6.1"), said.index("* Reading the dump")
    assert told < read
    assert said.count("* Linux 6.1") == 1


def test_a_cut_upload_gives_what_there_is_and_never_complete(drgn: Site, tmp_path: Path) -> None:
    cut = tmp_path / "vmcore.xz"
    cut.write_bytes(PACKED.read_bytes()[:2_000_000])
    done = drgn.cas("-i", "T-1", "-f", cut)
    assert done.returncode == 3
    result = drgn.result("T-1")
    assert result["verdict"] == "partial"
    assert result["offset"] == 2_000_000
    assert "the xz data of vmcore.xz is cut off" in result["reason"]
    assert "data ends at" in result["reason"]
    assert "salvage" in result["ladder"]
    assert "release and build-id" in result["recovered"]
    assert "sha256sum vmcore.xz" in result["customer_note"]
    wrapping, *inside = (lack["cause"] for lack in result["missing"])
    assert (wrapping, set(inside)) == ("wrapping", {"cut"})
    assert "changed by storage" not in result["customer_note"]


@pytest.mark.long
def test_a_wrong_checksum_of_the_wrapping_is_remembered_while_the_job_waits(
    bare: Site, shared: Path, tmp_path: Path
) -> None:
    spoilt = bytearray(gzip.compress((FIXTURES / "b" / "vmcore.kdump").read_bytes(), 1))
    spoilt[-8] ^= 0xFF  # of the CRC-32, see RFC 1952
    upload = tmp_path / "vmcore.gz"
    upload.write_bytes(spoilt)
    assert bare.cas("-i", "T-1", "-f", upload).returncode == 6
    upload.unlink()
    bare.keep_snippets("sys")
    bare.settings |= {"debugs": str(shared / "debugs"), "kernels": str(FIXTURES / "b")}
    bare.settings["engine"] = "drgn"
    assert bare.admin("-b").returncode == 0
    result = bare.result("T-1")
    assert result["verdict"] == "partial"
    assert "vmcore.gz" in result["reason"]


@pytest.mark.long
def test_the_parts_of_a_split_dump_are_joined(bare: Site, parts: list[Path]) -> None:
    done = bare.cas("-i", "T-1", "-f", parts[1], "-f", parts[0])
    assert done.returncode == 6, done.stderr
    assert bare.result("T-1")["missing"] == []
    assert CRASH in done.stderr
    assert [path.name for path in (bare.job("T-1") / "vmcore").iterdir()] == ["vmcore"]


def test_the_parts_of_a_split_dump_may_come_in_an_archive(
    bare: Site, parts: list[Path], tmp_path: Path
) -> None:
    pack(tmp_path, "tar", "czf", "set.tgz", *(part.name for part in parts))
    done = bare.cas("-i", "T-1", "-f", tmp_path / "set.tgz")
    assert done.returncode == 6, done.stderr
    assert bare.result("T-1")["missing"] == []
    done = bare.admin("check")
    assert done.returncode == 0, done.stdout


@pytest.mark.long
def test_one_part_of_a_split_dump_asks_for_the_others(drgn: Site, parts: list[Path]) -> None:
    done = drgn.cas("-i", "T-1", "-f", parts[0])
    assert done.returncode == 3
    assert "one part of a split dump" in drgn.result("T-1")["reason"]


@pytest.mark.long
def test_a_part_that_is_given_twice_is_not_the_whole_set(drgn: Site, parts: list[Path]) -> None:
    again = Path(shutil.copy(parts[0], drgn.directory / "part one again"))
    done = drgn.cas("-i", "T-1", "-f", parts[0], "-f", again)
    assert done.returncode == 3
    result = drgn.result("T-1")
    assert "is the same part as" in result["reason"]
    assert "no part has page frames" in result["reason"]
    assert {"twice", "part"} <= {missing["cause"] for missing in result["missing"]}
    # the mark of an incomplete dump is ours: nobody is to look for free space
    assert "marked the dump as incomplete" not in done.stderr + result["reason"]
    report = (drgn.job("T-1") / "report.txt").read_text()
    assert "ask for the other parts of the dump: it lacks the page frames" in " ".join(
        report.split()
    )


def test_one_of_several_dumps_is_taken_by_its_name(
    bare: Site, vmcore: Path, converted: Callable[..., Path], tmp_path: Path
) -> None:
    both = tmp_path / "both"
    both.mkdir()
    for name, path in (("first", vmcore), ("second", converted("-c", "-d", "31"))):
        (both / name).symlink_to(path)
    pack(tmp_path, "tar", "chf", "both.tar", "both")
    done = bare.cas("-i", "T-1", "-f", tmp_path / "both.tar")
    assert done.returncode == 4
    assert "both/first" in done.stderr
    assert "both/second" in done.stderr
    assert "--member" in done.stderr
    done = bare.cas("-i", "T-2", "-f", tmp_path / "both.tar", "--member", "second")
    assert done.returncode == 6, done.stderr
    assert bare.result("T-2")["dump"]["format"] == "KDUMP"


def test_the_halves_of_a_vmware_snapshot_are_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "vm.vmss").write_bytes(b"\xd2\xbe\xd2\xbe\x08\0\0\0" + bytes(8192))
    (tmp_path / "vm.vmem").write_bytes(bytes(1 << 20))
    pack(tmp_path, "zip", "vm.zip", "vm.vmss", "vm.vmem")
    done = site.cas("-i", "T-1", "-f", tmp_path / "vm.zip")
    assert done.returncode == 4
    assert "vmss2core" in done.stderr
    assert "vm.vmss" in done.stderr
    assert "vm.vmem" in done.stderr


@pytest.mark.parametrize("names", [("vm.vmss", "vm.vmem"), ("vm.vmem", "vm.vmss")])
def test_both_halves_of_a_vmware_snapshot_may_be_given(
    site: Site, tmp_path: Path, names: tuple[str, str]
) -> None:
    (tmp_path / "vm.vmss").write_bytes(b"\xd2\xbe\xd2\xbe\x08\0\0\0" + bytes(8192))
    (tmp_path / "vm.vmem").write_bytes(bytes(1 << 20))
    done = site.cas("-i", "T-1", *(word for name in names for word in ("-f", tmp_path / name)))
    assert done.returncode == 4
    assert "make one dump of them: vmss2core -N6 vm.vmss vm.vmem" in done.stderr
    assert not site.jobs.exists()


def test_a_bomb_is_refused_with_its_limit(site: Site, tmp_path: Path) -> None:
    site.settings["unpackLimit"] = "8M"
    with lzma.open(tmp_path / "bomb.xz", "wb", preset=0) as bomb:
        bomb.write(b"\x7fELF\2\1\1" + bytes(9) + b"\4\0" + bytes(16 << 20))
    done = site.cas("-i", "T-1", "-f", tmp_path / "bomb.xz")
    assert done.returncode == 5
    assert "unpackLimit" in site.result("T-1")["limits_hit"]
    assert sum(path.stat().st_size for path in site.job("T-1").iterdir()) < 1 << 20


def test_a_url_is_fetched_checked_and_not_kept(bare: Site, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    data = PACKED.read_bytes()
    (shelf / "vmcore.xz").write_bytes(data)
    (shelf / "vmcore.xz.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  vmcore.xz\n")
    bare.settings["privateAddresses"] = "yes"
    with served(shelf) as url:
        done = bare.cas("-i", "T-1", "-f", f"{url}/vmcore.xz")
    assert done.returncode == 6, done.stderr
    assert not (bare.job("T-1") / "download").exists()
    assert bare.result("T-1")["upload"] == f"{url}/vmcore.xz"


def test_a_url_into_a_private_network_is_refused(site: Site, tmp_path: Path) -> None:
    with served(tmp_path) as url:
        done = site.cas("-i", "T-1", "-f", f"{url}/vmcore")
    assert done.returncode == 5
    assert "privateAddresses" in done.stderr


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://host/vmcore"])
def test_other_schemes_are_no_way_in(site: Site, url: str) -> None:
    done = site.cas("-i", "T-1", "-f", url)
    assert done.returncode == 2
    assert "use http, https, ftp, sftp, s3, gs, az or a file" in done.stderr
    assert not site.jobs.exists()


def test_a_local_file_may_be_called_like_a_scheme(site: Site) -> None:
    (site.directory / "httpd.core").write_text("Dear support,\n")
    done = site.cas("-i", "T-1", "-f", "httpd.core")
    assert done.returncode == 4
    assert "httpd.core is a text, neither a dump nor a kernel log" in done.stderr


def test_a_dump_without_its_kernel_tells_what_it_can(waiting: Site) -> None:
    result = waiting.result("T-1")
    assert (result["verdict"], result["engine"]) == ("waiting", "salvage")
    assert {section["name"] for section in result["sections"]} == {"log", "sys", "registers"}
    assert CRASH in (waiting.job("T-1") / "log").read_text()
