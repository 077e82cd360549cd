"""Packages that are broken, or made to break something: each is refused, with the reason."""

import gzip
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import kernel_packages as kp
import pytest
import rpm_writer as rw

from cas.catalogue import Catalogue
from cas.catalogue.building.build import build
from cas.catalogue.packages import package_kinds
from cas.errors import PackageError
from cas.progress import Silent
from cas.settings.rules import PackageRules

MEMBER = f"/usr/lib/debug/lib/modules/{kp.RELEASE}/vmlinux"
VMLINUX = kp.vmlinux("one", padding=20_000)
CPIO = rw.newc("." + MEMBER, VMLINUX) + rw.TRAILER
PACKED = gzip.compress(CPIO)
FILES = [rw.entry(MEMBER, len(VMLINUX)), rw.entry("/usr/lib/debug/x.ko.debug")]


def tags(files: list[rw.Entry] = FILES, compressor: str = "gzip") -> list[rw.Tag]:
    about = rw.description("kernel-debuginfo", "5.14.0", "427.el9")
    return [*about, rw.text(1125, compressor), *rw.file_list(files)]


def intact() -> bytes:
    return rw.package(tags(), PACKED)


def changed(number: int, change: Callable[[rw.Tag], rw.Tag]) -> bytes:
    """The package with one tag changed."""
    lying = [change(tag) if tag[0] == number else tag for tag in tags()]
    return rw.package(lying, PACKED)


def counted(tag: rw.Tag) -> rw.Tag:
    """With more items than there are."""
    return tag[0], tag[1], tag[2] + 1, tag[3]


def replaced(number: int, values: list[int], size: int) -> bytes:
    return changed(number, lambda tag: rw.numbers(number, values, size))


def intro(entries: int, store: int) -> bytes:
    """A file that ends where its header's counts are told."""
    content = intact()
    at = content.rindex(b"\x8e\xad\xe8\x01") + 8
    return content[:at] + struct.pack(">II", entries, store) + content[at + 8 :]


def offset(number: int, place: int) -> bytes:
    """The package with one tag's content elsewhere."""
    content = bytearray(intact())
    begin = content.rindex(b"\x8e\xad\xe8\x01") + 16
    while content[begin : begin + 4] != struct.pack(">I", number):
        begin += 16
    content[begin + 8 : begin + 12] = struct.pack(">I", place)
    end = len(content) - len(PACKED)
    return rw.resigned(bytes(content), rw.header_begin(content), end)


HUGE = {
    "a header of 4 GiB": intro(2, 0xFFFFFFFF),
    "a header of 4 G tags": intro(0xFFFFFFFF, 64),
    "a tag of 4 G items": changed(1117, lambda tag: (1117, tag[1], 0xFFFFFFFF, tag[3])),
    "a million names": rw.package(
        [*rw.description("kernel-debuginfo", "5.14.0", "1"), rw.texts(1027, ["/a.ko"] * 1_000_000)]
    ),
    "a number repeated 4 G times": changed(1116, lambda tag: (1116, 4, 0xFFFFFFFF, tag[3])),
}
CORRUPT = {
    "empty": (b"", "the file is empty"),
    "text": (b"This is the README of a mirror.\n" * 100, "does not begin like one"),
    "a lead alone": (intact()[:96], "ends inside the signature"),
    "another compression": (
        rw.package(tags(compressor="xz"), PACKED),
        "not compressed with xz, as the header says",
    ),
    "data behind the end": (intact() + b"x" * 1000, "1,000 bytes stand behind its end"),
    "two payloads": (intact() + PACKED, "bytes stand behind its end"),
    "one name too many": (changed(1117, counted), "file list is inconsistent"),
    "no directory of that number": (replaced(1116, [0, 7], 4), "file list is inconsistent"),
    "content outside the header": (offset(1028, 0xFFFFFFF0), "points outside the header"),
    "a name outside the header": (offset(1117, 0x7FFFFFFF), "points outside the header"),
    "a name that leads elsewhere": (
        rw.package(tags([rw.Entry("/usr/lib/debug/", "../../etc/passwd")]), b"\x1f\x8b"),
        "leads out of its directory",
    ),
    "a directory that leads elsewhere": (
        rw.package(tags([rw.entry("/usr/lib/debug/../../etc/vmlinux")]), b"\x1f\x8b"),
        "leads out of its directory",
    ),
    "a hundred kernels": (
        rw.package(
            tags([rw.entry(f"/usr/lib/debug/boot/vmlinux-5.{n}") for n in range(100)]), b"\x1f\x8b"
        ),
        "claims to hold 100 kernels",
    ),
    "kmods of a hundred kernels": (
        rw.package(tags([rw.entry(f"/lib/modules/5.{n}/a.ko") for n in range(100)]), b"\x1f\x8b"),
        "kernel modules of 100 kernels",
    ),
    "a file larger than any disk": (
        rw.package(
            [
                *tags(),
                (5008, 5, 2, struct.pack(">2Q", 1 << 62, 1)),
            ],
            PACKED,
        ),
        "no disk could hold",
    ),
} | {name: (content, "no intact RPM") for name, content in HUGE.items()}


@pytest.mark.parametrize("kind", CORRUPT)
def test_a_corrupt_header_is_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    content, reason = CORRUPT[kind]
    path = tmp_path / "kernel-debuginfo-1.rpm"
    path.write_bytes(content)
    with pytest.raises(PackageError) as caught:
        package_kinds.read_package(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


def test_a_package_that_is_not_corrupt_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "kernel-debuginfo-1.rpm"
    path.write_bytes(intact())
    assert package_kinds.read_package(path).kernels[0].release == kp.RELEASE
    assert content_of(path) == VMLINUX


@pytest.mark.parametrize("tenths", range(10))
def test_a_cut_package_is_refused_with_the_reason(tenths: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.rpm"
    path.write_bytes(intact()[: len(intact()) * tenths // 10])
    with pytest.raises(PackageError, match=r"cut\.rpm is no intact RPM: the file (is|ends)"):
        package_kinds.read_package(path)


def test_each_corrupt_package_is_recorded_and_the_others_are_catalogued(
    catalogue: Catalogue, kernels: Path
) -> None:
    contents = [intact(), *(content for content, _ in CORRUPT.values())]
    for number, content in enumerate(contents):
        (kernels / f"kernel-debuginfo-{number}.rpm").write_bytes(content)
    summary = build(catalogue.store, kernels, PackageRules(kp.FILTER), Silent())
    assert (summary.kernels, summary.added) == (1, len(contents))
    reasons = {path.name: reason for path, reason in catalogue.store.packages.bad()}
    assert dict(summary.bad) == {kernels / name: reason for name, reason in reasons.items()}
    for number, (_, reason) in enumerate(CORRUPT.values(), start=1):
        assert reason in reasons[f"kernel-debuginfo-{number}.rpm"]


def content_of(path: Path) -> bytes:
    """The vmlinux, read as an extraction reads it."""
    listing = package_kinds.listing(path)
    with listing.opened(lambda _: None) as members:
        for member in members:
            if member.path == MEMBER:
                return b"".join(member.flow.rest())
    raise AssertionError("the payload has no vmlinux")


PAYLOADS = {
    "zeros without end": (
        lambda: gzip.compress(bytes(64 << 20)),
        "no header where one is due, at byte 0",
    ),
    "a member of zeros before it": (
        lambda: gzip.compress(rw.newc("./zeros", bytes(64 << 20)) + CPIO),
        "more content than is listed",
    ),
    "a vmlinux larger than listed": (
        lambda: gzip.compress(rw.newc("." + MEMBER, VMLINUX + bytes(8 << 20)) + rw.TRAILER),
        "more content than is listed",
    ),
    "an archive that ends early": (
        lambda: gzip.compress(CPIO[:10_000]),
        "it is cut off, at byte 10,000",
    ),
    "a stream that ends early": (lambda: PACKED[:-40], "it is cut off"),
    "noise": (lambda: b"\x1f\x8b" + b"noise" * 1000, "the payload is damaged"),
}


@pytest.mark.parametrize("kind", PAYLOADS)
def test_a_corrupt_payload_is_refused_when_it_is_unpacked(kind: str, tmp_path: Path) -> None:
    pack, reason = PAYLOADS[kind]
    path = tmp_path / "kernel-debuginfo-1.rpm"
    path.write_bytes(rw.package(tags(), pack()))
    with pytest.raises(PackageError) as caught:
        content_of(path)
    assert f"{path}: the payload is damaged" in str(caught.value)
    assert reason in str(caught.value)


def test_a_header_that_claims_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    for number, content in enumerate(HUGE.values()):
        (tmp_path / f"{number}.rpm").write_bytes(content)
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from cas.catalogue.packages import payload, rpm\n"
        "from cas.errors import PackageError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))\n"
        "for path in Path(sys.argv[1]).iterdir():\n"
        "    for read in (rpm.read_rpm, payload.rpm_listing):\n"
        "        try: read(path)\n"
        "        except PackageError as error: print(error)\n"
    )
    argv = [sys.executable, "-c", script, tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 2 * len(HUGE)
