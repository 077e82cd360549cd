"""Where the kernels of each distribution's packages are, and what tells their release."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import kernel_packages as kp
import pytest
import rpm_writer as rw

from cas.catalogue.packages.rpm import read_rpm
from cas.database.records import Package

DEBUG = "/usr/lib/debug"
ID = kp.build_id("vmlinux")
DIGEST = "5a" * 32


@dataclass(frozen=True)
class Layout:
    """A package as a distribution has it, and what is expected of it."""

    name: str
    release: str
    flavour: str
    vmlinux: str
    """Where it is; ``{}`` stands for the release."""
    arch: str = "x86_64"
    link: str | None = "relative"
    """How the ``.build-id`` link leads to it: ``relative``, ``absolute``, ``plain`` (to the
    kernel's own package) or not at all."""

    @property
    def path(self) -> str:
        return self.vmlinux.replace("{}", self.release)

    def links(self) -> list[rw.Entry]:
        base = f"{DEBUG}/.build-id/{ID[:2]}/{ID[2:]}"
        targets = {
            "relative": [(f"{base}.debug", "../.." + self.path.removeprefix(DEBUG))],
            "absolute": [(f"{base}.debug", self.path)],
            "plain": [(base, f"../../../../../lib/modules/{self.release}/vmlinux")],
            None: [],
        }
        return [rw.link(path, target) for path, target in targets[self.link]]

    def files(self) -> list[rw.Entry]:
        kmods = f"{DEBUG}/lib/modules/{self.release}/kernel/fs/"
        return [
            *self.links(),
            rw.Entry(kmods, "ext4", 0o40755),
            rw.entry(f"{kmods}ext4/ext4.ko.debug", 70_000),
            rw.entry(f"{kmods}xfs.ko.debug", 90_000),
            rw.entry(self.path, 1234, DIGEST),
        ]


MODULES, USR_MODULES = f"{DEBUG}/lib/modules/{{}}", f"{DEBUG}/usr/lib/modules/{{}}"
RED_HAT, MERGED = f"{MODULES}/vmlinux", f"{USR_MODULES}/vmlinux"
LAYOUTS = [
    Layout("kernel-debuginfo", "6.12.0-55.9.1.el10_0.x86_64", "", RED_HAT),
    Layout("kernel-debuginfo", "5.14.0-427.13.1.el9_4.x86_64", "", RED_HAT),
    Layout("kernel-debug-debuginfo", "5.14.0-427.el9.x86_64+debug", "debug", RED_HAT),
    Layout("kernel-rt-debuginfo", "5.14.0-427.el9.x86_64+rt", "rt", RED_HAT),
    Layout("kernel-64k-debuginfo", "5.14.0-427.el9.aarch64+64k", "64k", RED_HAT, "aarch64"),
    Layout(
        "kernel-64k-debug-debuginfo",
        "5.14.0-427.el9.aarch64+64k-debug",
        "64k-debug",
        RED_HAT,
        "aarch64",
    ),
    Layout("kernel-rt-64k-debuginfo", "6.12.0-55.el10.aarch64+rt-64k", "rt-64k", RED_HAT),
    Layout("kernel-zfcpdump-debuginfo", "4.18.0-80.el8.s390x", "zfcpdump", RED_HAT, "s390x"),
    Layout("kernel-rt-debuginfo", "4.18.0-513.rt7.295.el8.x86_64", "rt", RED_HAT),
    Layout("kernel-debuginfo", "3.10.0-1160.el7.x86_64", "", MERGED),
    Layout("kernel-debug-debuginfo", "3.10.0-1160.el7.x86_64.debug", "debug", MERGED),
    Layout("kernel-debuginfo", "2.6.32-754.el6.i686", "", RED_HAT, "i686"),
    Layout("kernel-PAE-debuginfo", "2.6.18-398.el5PAE", "PAE", RED_HAT, "i686", None),
    Layout("kernel-xen-debuginfo", "2.6.18-398.el5xen", "xen", RED_HAT, link=None),
    Layout("kernel-debuginfo", "2.6.9-100.ELlargesmp", "largesmp", RED_HAT, link=None),
    Layout("kernel-debuginfo", "2.6.9-100.ELhugemem", "hugemem", RED_HAT, "i686", None),
    Layout("kernel-kdump-debuginfo", "2.6.18-398.el5kdump", "kdump", RED_HAT, "ppc64", None),
    Layout("kernel-debuginfo", "6.10.3-200.fc40.x86_64", "", RED_HAT, link="plain"),
    Layout("kernel-debuginfo", "5.14.0-503.el9.x86_64", "", MERGED, link="absolute"),
    Layout(
        "kernel-default-debuginfo",
        "5.3.18-150300.59.106-default",
        "default",
        f"{DEBUG}/boot/vmlinux-{{}}.debug",
    ),
    Layout(
        "kernel-default-debuginfo",
        "6.4.0-150600.21-default",
        "default",
        f"{USR_MODULES}/vmlinux.debug",
    ),
    Layout("kernel-64kb-debuginfo", "6.4.0-150600.21-64kb", "64kb", f"{MODULES}/vmlinux.debug"),
    Layout("kernel-uek-debuginfo", "5.15.0-205.149.5.1.el8uek.x86_64", "uek", RED_HAT),
    Layout("kernel-uek-debug-debuginfo", "5.4.17-2136.el8uek.x86_64.debug", "uek-debug", RED_HAT),
    Layout("kernel-debuginfo", "5.10.230-223.885.amzn2.x86_64", "", RED_HAT),
    Layout("kernel-debuginfo", "6.1.115-126.197.amzn2023.aarch64", "", RED_HAT, "aarch64"),
    Layout(
        "kernel-debuginfo",
        "5.10.0-60.18.0.50.oe2203.aarch64",
        "",
        f"{MODULES}/vmlinux-5.10.0-60.18.0.50.oe2203.aarch64.debug",
        "aarch64",
    ),
    Layout("kernel-debuginfo", "6.6.57.1-1.azl3", "", f"{MODULES}/vmlinux-{{}}"),
    Layout("linux-esx-debuginfo", "6.1.10-1.ph5-esx", "esx", f"{MODULES}/vmlinux-{{}}", link=None),
    Layout("kernel-mshv-debuginfo", "6.6.57.1-1.azl3", "mshv", f"{MODULES}/vmlinux-{{}}"),
]


def written(layout: Layout, directory: Path, *, old: bool = False) -> Path:
    path = directory / "package.rpm"
    files = layout.files()
    tags = rw.description(layout.name, "1.0", "1", layout.arch)
    tags += rw.old_file_list(files) if old else rw.file_list(files)
    path.write_bytes(rw.package([*tags, *rw.constants(len(files))]))
    return path


def package_of(files: list[rw.Entry], directory: Path, *more: rw.Tag) -> Package:
    tags = rw.description("kernel-debuginfo", "5.14.0", "427.el9")
    path = directory / "package.rpm"
    path.write_bytes(rw.package([*tags, *more, *rw.file_list(files)]))
    return read_rpm(path)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.name} {layout.release}")
def test_a_distributions_kernel_is_known(layout: Layout, tmp_path: Path) -> None:
    found = read_rpm(written(layout, tmp_path))
    (kernel,) = found.kernels
    assert (kernel.release, kernel.flavour) == (layout.release, layout.flavour)
    assert kernel.build_id == (ID if layout.link else None)
    assert (kernel.member, kernel.size_bytes) == (layout.path, 1234)
    assert (found.name, found.arch) == (layout.name, layout.arch)
    assert found.kmods == {layout.release: 2}


def test_rpm_accepts_what_the_writer_wrote(tmp_path: Path) -> None:
    path = written(LAYOUTS[0], tmp_path)
    done = subprocess.run(["rpm", "-qpl", path], capture_output=True, text=True, check=True)
    assert LAYOUTS[0].path in done.stdout.splitlines()
    assert done.stderr == ""


def test_the_whole_paths_of_rpm_3_are_read(tmp_path: Path) -> None:
    layout = Layout("kernel-debuginfo", "2.4.21-4.EL", "", f"{DEBUG}/boot/vmlinux-{{}}.debug")
    found = read_rpm(written(layout, tmp_path, old=True))
    (kernel,) = found.kernels
    assert (kernel.release, kernel.build_id, kernel.member) == (layout.release, ID, layout.path)
    assert kernel.digest is None
    assert found.kmods == {layout.release: 2}


def test_version_and_digest_are_the_headers(tmp_path: Path) -> None:
    files = [rw.entry(f"{DEBUG}/lib/modules/5.14.0/vmlinux", 5, DIGEST)]
    found = package_of(files, tmp_path, rw.numbers(1003, [2]))
    assert found.version == "2:5.14.0-427.el9"
    assert found.kernels[0].digest == f"sha256:{DIGEST}"


def test_a_package_of_kmods_alone_tells_whose_they_are(tmp_path: Path) -> None:
    tree = f"{DEBUG}/usr/lib/modules/6.4.0-150600.21-default/kernel/fs"
    names = ("btrfs.ko.debug", "nfs/nfs.ko.zst.debug", "xfs.ko-6.4.0-150600.21.x86_64.debug")
    found = package_of([rw.entry(f"{tree}/{name}") for name in (*names, "README")], tmp_path)
    assert found.kernels == ()
    assert found.kmods == {"6.4.0-150600.21-default": 3}


def test_kmods_of_several_kernels_are_told_apart(tmp_path: Path) -> None:
    tree = f"{DEBUG}/lib/modules"
    paths = (f"{tree}/2.6.18-8.el5/a.ko.debug", f"{tree}/2.6.18-8.el5PAE/a.ko.debug")
    found = package_of([rw.entry(path) for path in (*paths, f"{tree}/b.ko.debug")], tmp_path)
    assert found.kmods == {"2.6.18-8.el5": 1, "2.6.18-8.el5PAE": 1}
