"""DEB packages of small kernels: whole ones made by dpkg-deb, odd ones byte by byte."""

import bz2
import gzip
import hashlib
import io
import lzma
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import zstandard
from catalogue import kernel_packages as kp

RELEASE = "6.1.0-56-cloud-amd64"
NAME = f"linux-image-{RELEASE}-dbg"
VERSION = "6.1.192-2"
VMLINUX = f"/usr/lib/debug/boot/vmlinux-{RELEASE}"
KMOD = f"/usr/lib/debug/lib/modules/{RELEASE}/kernel/fs/ext4/ext4.ko"

PACKED = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".bz2": bz2.compress,
    ".lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
}


def debuginfo(word: str, release: str = RELEASE, kmods: int = 1) -> dict[str, bytes]:
    """A kernel's files in Debian's layout."""
    directory = f"/usr/lib/debug/lib/modules/{release}/kernel/fs"
    files = {
        f"/usr/lib/debug/boot/System.map-{release}": b"0 t\n" * 400,
        f"/usr/lib/debug/boot/vmlinux-{release}": kp.vmlinux(word, release),
    }
    if kmods:
        files[f"{directory}/ext4/ext4.ko"] = kp.elf(kp.build_id("ext4"))
    return files | {f"{directory}/k{n}.ko": kp.elf(kp.build_id(str(n))) for n in range(1, kmods)}


def control(name: str = NAME, arch: str = "amd64", version: str = VERSION) -> bytes:
    return (
        f"Package: {name}\nSource: linux\nVersion: {version}\nArchitecture: {arch}\n"
        "Maintainer: A Tester <tester@example.org>\nDescription: for tests\n Version: no\n"
    ).encode()


def md5sums(files: Mapping[str, bytes]) -> bytes:
    return b"".join(
        b"%s  %s\n"
        % (hashlib.md5(data, usedforsecurity=False).hexdigest().encode(), path[1:].encode())
        for path, data in files.items()
    )


def build(directory: Path, files: Mapping[str, bytes], packed: str = "gzip") -> Path:
    """The package as dpkg-deb makes it, below the directory."""
    tree = directory / ".tree"
    whole = {f"/DEBIAN{path}": data for path, data in control_files(files).items()}
    for path, content in (whole | dict(files)).items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    package = directory / f"{NAME}_{VERSION}_amd64.deb"
    argv = ["dpkg-deb", "--root-owner-group", f"-Z{packed}", "-z1", "--build", tree, package]
    subprocess.run(argv, check=True, capture_output=True)
    shutil.rmtree(tree)
    return package


def control_files(files: Mapping[str, bytes], *, listed: bool = True) -> dict[str, bytes]:
    return {"/control": control()} | ({"/md5sums": md5sums(files)} if listed else {})


def entry(path: str, content: bytes = b"", **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    """A tar member; facts are attributes of `tarfile.TarInfo`."""
    info = tarfile.TarInfo("." + path if path.startswith("/") else path)
    info.size = len(content)
    for name, value in facts.items():
        setattr(info, name, value)
    return info, content


def tar(
    entries: Iterable[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.GNU_FORMAT
) -> bytes:
    """A tar archive, whatever its members claim."""
    file = io.BytesIO()
    for info, content in entries:
        file.write(info.tobuf(format, "utf-8", "surrogateescape"))
        file.write(content + bytes(-len(content) % 512))
    return file.getvalue() + bytes(10240)


def tar_of(files: Mapping[str, bytes]) -> bytes:
    return tar(entry(path, content) for path, content in files.items())


def member(name: str, content: bytes, size: int | None = None) -> bytes:
    """An ar member, whatever its size claims."""
    claimed = len(content) if size is None else size
    head = f"{name:16}{1700000000:<12}{0:<6}{0:<6}{'100644':8}{claimed:<10}`\n".encode()
    return head + content + b"\n"[: len(content) % 2]


def ar(*members: bytes) -> bytes:
    return b"!<arch>\n" + b"".join(members)


def package(
    files: Mapping[str, bytes],
    packed: str = ".gz",
    *,
    listed: bool = True,
    data: bytes | None = None,
) -> bytes:
    """A package made by hand.

    :param data: the data archive before compression, in place of that of the files
    """
    pack = PACKED[packed]
    return ar(
        member("debian-binary", b"2.0\n"),
        member("control.tar.gz", gzip.compress(tar_of(control_files(files, listed=listed)))),
        member(f"data.tar{packed}", pack(tar_of(files) if data is None else data)),
    )
