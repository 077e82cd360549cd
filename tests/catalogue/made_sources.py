"""Packages of kernel sources, as they lie beside a kernel's own package."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from catalogue import deb_packages as dp
from catalogue import rpm_writer as rw

from cas.catalogue.packages import rpm

TREE = "/usr/src/debug/kernel-6.1.192/linux-6.1.192-1.cas1.x86_64"
DEB_VERSION = dp.VERSION
TARBALL = "/usr/src/linux-source-6.1.tar.xz"


def origin_of(kernel: Path) -> rpm.Origin:
    """That of a kernel's package."""
    found = rpm.read_origin(kernel)
    assert found is not None
    return found


def common(
    origin: rpm.Origin,
    files: Mapping[str, bytes],
    *links: str,
    packed: Mapping[str, bytes] | None = None,
) -> bytes:
    """A package of debug sources from that run of rpmbuild.

    :param files: by their absolute paths
    :param links: paths that the header lists as symbolic links
    :param packed: what the payload has instead
    """
    version, _, release = origin.version.rpartition("-")
    name = f"kernel-debuginfo-common-{origin.arch}"
    own = {
        1006: rw.numbers(1006, [origin.build_time_s]),
        1007: rw.text(1007, origin.host),
        1044: rw.text(1044, origin.source),
    }
    tags = rw.description(name, version, release, origin.arch)
    entries = [
        rw.entry(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items()
    ]
    entries += [rw.link(path, "/etc/passwd") for path in links]
    payload = b"".join(rw.newc(f".{path}", data) for path, data in (packed or files).items())
    return rw.package(
        [own.get(tag[0], tag) for tag in tags]
        + rw.file_list(entries)
        + [rw.text(1125, "gzip"), *rw.constants(len(entries))],
        gzip.compress(payload + rw.TRAILER),
    )


def common_name(origin: rpm.Origin) -> str:
    """The file's, as a distribution calls it."""
    return f"kernel-debuginfo-common-{origin.arch}-{origin.version}.{origin.arch}.rpm"


def in_tree(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same below the tree that debug information names, with what every kernel has."""
    return {f"{TREE}/{path}": data for path, data in ({"init/main.c": b"\n"} | files).items()}


def tarball(files: Mapping[str, bytes], *links: str) -> bytes:
    """``linux-source-6.1.tar.xz`` with these files below its only directory."""
    top = "linux-source-6.1"
    entries = [dp.entry(f"{top}/{path}", data) for path, data in files.items()]
    entries += [
        dp.entry(f"{top}/{path}", type=tarfile.SYMTYPE, linkname="/etc/passwd") for path in links
    ]
    return lzma.compress(dp.tar(entries))


def linux_source(packed: bytes, version: str = DEB_VERSION, promised: bytes | None = None) -> bytes:
    """A package ``linux-source-6.1``.

    :param packed: content of `TARBALL`
    :param promised: of which the md5 is listed instead
    """
    control = {
        "/control": dp.control("linux-source-6.1", "all", version),
        "/md5sums": dp.md5sums({TARBALL: packed if promised is None else promised}),
    }
    return dp.ar(
        dp.member("debian-binary", b"2.0\n"),
        dp.member("control.tar.gz", gzip.compress(dp.tar_of(control))),
        dp.member("data.tar.xz", lzma.compress(dp.tar_of({TARBALL: packed}))),
    )


def built_together(
    directory: Path, kernel: Mapping[str, bytes], files: Mapping[str, bytes]
) -> Path:
    """A kernel's debuginfo and its sources, made by one run of rpmbuild; the former's path."""
    top = directory / ".rpmbuild"
    for path, content in {**kernel, **files}.items():
        target = top / "tree" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    listed, common = ("\n".join(paths) for paths in (kernel, files))
    spec = top / "kernel.spec"
    spec.write_text(f"""
Name: kernel
Version: 5.14.0
Release: 427.el9
Summary: A small kernel
License: GPL-2.0-only
AutoReqProv: no
%global debug_package %{{nil}}
%global _build_id_links none
%global __os_install_post %{{nil}}
%description
For tests.
%package debuginfo
Summary: Debug information
%description debuginfo
For tests.
%package debuginfo-common-x86_64
Summary: Sources
%description debuginfo-common-x86_64
For tests.
%install
mkdir -p %{{buildroot}}
cp -a {top}/tree/. %{{buildroot}}/
%files debuginfo
{listed}
%files debuginfo-common-x86_64
{common}
""")
    macros = (
        f"_topdir {top}",
        f"_rpmdir {directory}",
        "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
        "_binary_payload w6.xzdio",
    )
    defines = [word for macro in macros for word in ("--define", macro)]
    subprocess.run(
        ["rpmbuild", "-bb", "--quiet", "--target", "x86_64", *defines, spec],
        check=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "HOME": str(top), "LC_ALL": "C"},
    )
    return directory / "kernel-debuginfo-5.14.0-427.el9.x86_64.rpm"
