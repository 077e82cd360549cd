"""Packages whose list of files is wrong: what the payload holds counts, or they are named."""

import gzip
import itertools
import json
import struct
from collections.abc import Sequence
from pathlib import Path

import deb_packages as dp
import kernel_packages as kp
import pytest
import rpm_writer as rw

from cas.catalogue.extraction.extract import extract_vmlinux
from cas.catalogue.packages import payload
from cas.catalogue.packages.rpm_files import read_file_list
from cas.errors import PackageError
from cas.model.kernel import Kernel, Match
from cas.progress import Silent
from cas.streams.cpio import cpio_members
from cas.streams.flow import Damaged, Flow
from cas.streams.layer import Payload

from installed import Site

MEMBER = f"/usr/lib/debug/lib/modules/{kp.RELEASE}/vmlinux"
VMLINUX = kp.vmlinux("one")
ZEROS = memoryview(bytes(1 << 20))
_FILESIZES, _LONGFILESIZES = 1028, 5008


def tags(*listed: rw.Entry) -> list[rw.Tag]:
    described = rw.description("kernel-debuginfo", "5.14.0", "427.el9")
    return [*described, *rw.file_list(listed), *rw.constants(len(listed))]


def written(path: Path, listed: Sequence[rw.Tag]) -> Path:
    archive = gzip.compress(rw.newc("." + MEMBER, VMLINUX) + rw.TRAILER)
    path.write_bytes(rw.package(listed, archive))
    return path


def without_sizes(path: Path) -> Path:
    listed = tags(rw.entry(MEMBER, len(VMLINUX)))
    return written(path, [tag for tag in listed if tag[0] != _FILESIZES])


def with_wrong_size(path: Path) -> Path:
    return written(path, tags(rw.entry(MEMBER, len(VMLINUX) + 100)))


def test_a_size_that_no_header_tells_is_the_payloads(site: Site) -> None:
    without_sizes(site.directory / "kernels" / "kernel-debuginfo-5.rpm")
    done = site.admin("-b")
    assert done.returncode == 0, done.stderr
    (kernel,) = json.loads(site.admin("kernels", "--json").stdout)["kernels"]
    assert kernel["size_bytes"] == len(VMLINUX)
    assert kernel["build_id"] == kp.build_id("one")


def test_a_size_that_the_payload_contradicts_is_told(site: Site) -> None:
    package = with_wrong_size(site.directory / "kernels" / "kernel-debuginfo-5.rpm")
    done = site.admin("-b")
    assert done.returncode == 3
    said = f"it has {len(VMLINUX):,} bytes, {len(VMLINUX) + 100:,} are listed"
    assert f"{package}: {MEMBER} is not what the header says: {said}" in done.stderr


def test_a_vmlinux_of_another_size_than_listed_is_not_extracted(tmp_path: Path) -> None:
    package = with_wrong_size(tmp_path / "kernel-debuginfo-5.rpm")
    size = len(VMLINUX) + 100
    kernel = Kernel(kp.RELEASE, "x86_64", package, MEMBER, kp.build_id("one"), size_bytes=size)
    with pytest.raises(PackageError, match=r"is damaged: it has [\d,]+ bytes, [\d,]+ are listed"):
        extract_vmlinux(Match(kernel, "build-id", ""), tmp_path / "debugs", Silent())


def test_content_that_no_header_lists_has_a_limit() -> None:
    one = [_claiming(0xFFFFFFFC), *[ZEROS] * 4095, ZEROS[:-4]]
    pieces = itertools.chain.from_iterable(itertools.repeat(one))
    with pytest.raises(Damaged, match=r"or than 16\.0 GiB"):
        list(cpio_members(Flow(pieces), Payload()))


def test_a_list_that_claims_more_than_a_disk_holds_lifts_no_limit(tmp_path: Path) -> None:
    package = tmp_path / "kernel-debuginfo-5.rpm"
    listed = [tag for tag in tags(rw.entry("/zeros")) if tag[0] != _FILESIZES]
    huge = (_LONGFILESIZES, 5, 1, struct.pack(">Q", 1 << 50))
    stripped = gzip.compress(rw.aligned(b"07070X00000000") + bytes(1 << 20))
    package.write_bytes(rw.package([*listed, huge], stripped))
    with (
        pytest.raises(PackageError, match=r"or than 16\.0 GiB"),
        payload.open_rpm_payload(package, read_file_list(package)) as members,
    ):
        list(members)


def test_a_vmlinux_that_md5sums_lack_is_found_in_the_payload(site: Site) -> None:
    files = dp.debuginfo("one", kmods=2)
    short = {path: data for path, data in files.items() if path != dp.VMLINUX}
    control = {"/control": dp.control(), "/md5sums": dp.md5sums(short)}
    package = dp.ar(
        dp.member("debian-binary", b"2.0\n"),
        dp.member("control.tar.gz", gzip.compress(dp.tar_of(control))),
        dp.member("data.tar.gz", gzip.compress(dp.tar_of(files))),
    )
    (site.directory / "kernels" / f"{dp.NAME}_{dp.VERSION}_amd64.deb").write_bytes(package)
    done = site.admin("-b")
    assert (done.returncode, done.stdout[:9]) == (0, "1 kernel "), done.stderr
    (kernel,) = json.loads(site.admin("kernels", "--json").stdout)["kernels"]
    assert (kernel["release"], kernel["build_id"]) == (dp.RELEASE, kp.build_id("one"))


def _claiming(size: int) -> bytes:
    """The head of a cpio member of this size; its content follows."""
    head = rw.newc("./zeros", b"")
    return head[:54] + b"%08x" % size + head[62:]
