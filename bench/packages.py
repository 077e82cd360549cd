#!/usr/bin/env python3
"""Make many kernel-debuginfo packages with headers like those of a distribution's.

usage: bench/packages.py [--files 8000] [--first N] DIRECTORY COUNT

Each lists vmlinux, kernel modules' debug information, two `.build-id` links for each of them, and
the directories; with digests, sizes, modes, owners, classes and dependencies, and with right
digests of its own, so that rpm and createrepo_c read it without a complaint. Release and build-ids
differ from package to package. The payload is vmlinux alone: 2 MB of zeros, a hole on the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "catalogue"))

import rpm_writer
from rpm_writer import SENSE_EQUAL, Entry, Tag, header, lead, link, numbers, signature, texts

VMLINUX_BYTES = 2 << 20
DEBUG = "/usr/lib/debug"
SUBSYSTEMS = ("drivers/net", "drivers/scsi", "drivers/gpu/drm", "fs", "net/netfilter", "sound/soc")


@dataclass(frozen=True)
class Kernel:
    """What one package is about."""

    number: int

    @property
    def version(self) -> str:
        return "5.14.0"

    @property
    def package_release(self) -> str:
        return f"{self.number + 1}.{self.number % 90}.1.el9"

    @property
    def release(self) -> str:
        return f"{self.version}-{self.package_release}.x86_64"

    def hexadecimal(self, what: str, digits: int, count: int) -> list[str]:
        """Texts like build-ids, always the same for the same kernel."""
        text = hashlib.shake_128(f"{what} {self.number}".encode()).hexdigest(digits // 2 * count)
        return [text[at : at + digits] for at in range(0, digits * count, digits)]


@cache
def kmod_names(count: int) -> tuple[tuple[str, str], ...]:
    """Directory and name of the kernel modules, in order."""
    words = hashlib.shake_128(b"kmods").hexdigest(5 * count)
    names = []
    for number in range(count):
        part = SUBSYSTEMS[number % len(SUBSYSTEMS)]
        vendor = number // 6 % max(1, count // 24)
        word = words[number * 10 : number * 10 + 2 + number % 8]
        names.append((f"kernel/{part}/vendor{vendor:03}", f"{word}_{number:04}"))
    return tuple(sorted(names))


def entries(kernel: Kernel, files: int) -> list[Entry]:
    """The file list, in rpmbuild's order: links, then the kernel's tree."""
    kmods = kmod_names((files - 266) * 100 // 325)
    build_ids = kernel.hexadecimal("id", 40, len(kmods) + 1)
    digests = kernel.hexadecimal("digest", 64, len(kmods))
    tree = f"{DEBUG}/lib/modules/{kernel.release}/"
    found = list(links(kernel, kmods, build_ids))
    places = sorted({directory for directory, _ in kmods})
    found += [Entry(f"{DEBUG}/lib/modules/", kernel.release, 0o40755, 0)]
    found += directories(tree, places)
    for (directory, name), digest in zip(kmods, digests, strict=True):
        size = 100_000 + int(digest[:5], 16)
        found.append(Entry(f"{tree}{directory}/", f"{name}.ko.debug", 0o100644, size, "", digest))
    digest = vmlinux_digest()
    found.append(Entry(tree, "vmlinux", 0o100755, VMLINUX_BYTES, "", digest))
    return found


def links(
    kernel: Kernel, kmods: Sequence[tuple[str, str]], build_ids: Sequence[str]
) -> Iterator[Entry]:
    """The `.build-id` directories, and two links for vmlinux and for each kernel module."""
    targets = [f"lib/modules/{kernel.release}/{place}/{name}.ko" for place, name in kmods]
    targets.append(f"lib/modules/{kernel.release}/vmlinux")
    place = ""
    for build_id, target in sorted(zip(build_ids, targets, strict=True)):
        if build_id[:2] != place:
            place = build_id[:2]
            yield Entry(f"{DEBUG}/.build-id/", place, 0o40755, 0)
        directory = f"{DEBUG}/.build-id/{place}/"
        packed = "" if target.endswith("vmlinux") else ".xz"
        ending = "" if target.endswith("vmlinux") else ".debug"
        for name, to in (
            (build_id[2:], f"../../../../../{target}{packed}"),
            (f"{build_id[2:]}.debug", f"../../{target}{ending}"),
        ):
            yield link(directory + name, to)


def directories(tree: str, places: Iterable[str]) -> list[Entry]:
    """The directories that the package owns."""
    every = {part for place in places for part in parents(place)}
    split = [path.rpartition("/") for path in sorted(every)]
    return [Entry(f"{tree}{before}{slash}", name, 0o40755, 0) for before, slash, name in split]


def parents(place: str) -> list[str]:
    parts = place.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


@cache
def vmlinux_digest() -> str:
    return hashlib.sha256(bytes(VMLINUX_BYTES)).hexdigest()


def dependencies(kernel: Kernel) -> list[Tag]:
    version = f"{kernel.version}-{kernel.package_release}"
    provided = ["installonlypkg(kernel)", "kernel-debuginfo", "kernel-debuginfo(x86-64)"]
    required = ["kernel-debuginfo-common-x86_64", "rpmlib(CompressedFileNames)"]
    return [
        texts(1047, provided),
        numbers(1112, [0, SENSE_EQUAL, SENSE_EQUAL]),
        texts(1113, ["", version, version]),
        numbers(1048, [SENSE_EQUAL, 0x100000A]),
        texts(1049, required),
        texts(1050, [version, "3.0.4-1"]),
    ]


@cache
def constants(count: int) -> tuple[Tag, ...]:
    """The tags of the file list that are the same in every package."""
    return (
        *rpm_writer.constants(count),
        numbers(1140, [0] * count),
        texts(1142, ["", "directory", "ELF 64-bit LSB relocatable, x86-64, version 1 (SYSV)"]),
        numbers(1143, [0] * count),
        numbers(1144, [0] * count),
    )


def kind(file: Entry) -> int:
    """Its place in the list of classes."""
    if file.digest:
        return 2
    return 0 if file.link else 1


@cache
def payload(index: int) -> bytes:
    """A cpio archive, of the stripped kind, of vmlinux alone."""
    trailer = b"07070100000000" + b"0" * 24 + b"00000001" + b"0" * 48 + b"0000000b00000000"
    member = b"07070X%08x" % index
    return member + bytes(2) + bytes(VMLINUX_BYTES) + trailer + b"TRAILER!!!\0" + bytes(3)


def write(directory: Path, files: int, number: int) -> int:
    """Make one package; how many files it lists."""
    kernel = Kernel(number)
    listed = entries(kernel, files)
    content = payload(len(listed) - 1)
    digest = payload_digest(len(listed) - 1)
    tags = rpm_writer.description("kernel-debuginfo", kernel.version, kernel.package_release)
    tags += [numbers(1009, [sum(file.size for file in listed)]), texts(5092, [digest])]
    tags += [numbers(5093, [8]), texts(5097, [digest])]
    tags += [*rpm_writer.file_list(listed), *constants(len(listed))]
    tags.append(numbers(1141, [kind(file) for file in listed]))
    main = header([*tags, *dependencies(kernel)], 63)
    name = f"kernel-debuginfo-{kernel.version}-{kernel.package_release}"
    place = directory / f"{number // 1000:02}"
    place.mkdir(exist_ok=True)
    with (place / f"{name}.x86_64.rpm").open("wb") as file:
        file.write(lead(name) + signature(main, content) + main + content[:4096])
        file.seek(len(content) - 4096 - 4096, 1)
        file.write(content[-4096:])
    return len(listed)


@cache
def payload_digest(index: int) -> str:
    return hashlib.sha256(payload(index)).hexdigest()


def make(directory: Path, numbers: range, files: int = 8000) -> None:
    """Write the packages of these numbers below a directory, a thousand in each of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(2) as pool:
        for _ in pool.map(partial(write, directory, files), numbers, chunksize=50):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description="Make many kernel-debuginfo packages.")
    parser.add_argument("--files", type=int, default=8000, help="that each lists, about")
    parser.add_argument("--first", type=int, default=0, help="number of the first package")
    parser.add_argument("directory", type=Path)
    parser.add_argument("count", type=int)
    words = parser.parse_args()
    make(words.directory, range(words.first, words.first + words.count), words.files)


if __name__ == "__main__":
    main()
