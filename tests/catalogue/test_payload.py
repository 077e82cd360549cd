import bz2
import gzip
import lzma
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import kernel_packages as kp
import pytest
import zstandard

from cas.catalogue.packages import payload
from cas.catalogue.packages.rpm_files import Header, read_header
from cas.errors import PackageError
from cas.streams.cpio import cpio_members
from cas.streams.flow import Damaged, Flow
from cas.streams.layer import Payload
from cas.streams.member import SizedMember
from cas.streams.unpacked import unpacked

CONTENT = b"".join(random.Random(7).randbytes(1000) * 500 for _ in range(3))  # noqa: S311
VMLINUX = f"/usr/lib/debug/lib/modules/{kp.RELEASE}/vmlinux"


def members(path: Path, header: Header | None = None) -> dict[str, bytes]:
    found = {}
    with payload.open_rpm_payload(path, header or read_header(path)) as stream:
        for member in stream:
            found[member.path] = b"".join(member.flow.rest())
            assert len(found[member.path]) == member.size_bytes
    return found


@pytest.mark.parametrize(
    "kind", ["w6.gzdio", "w6.bzdio", "w6.xzdio", "w6.lzdio", "w3.zstdio", "w.ufdio"]
)
def test_every_compression_of_rpm_is_read(kind: str, tmp_path: Path) -> None:
    files, links = kp.debuginfo("one", kmods={"x.ko.debug": CONTENT})
    found = members(kp.build(kp.Recipe(files, links, payload=kind), tmp_path))
    assert found == files  # and nothing of the links


@pytest.mark.parametrize(
    "compress",
    [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress, bytes],
)
def test_streams_one_after_the_other_are_one(compress: Callable[[bytes], bytes]) -> None:
    packed = compress(CONTENT) + compress(CONTENT[:5000])
    assert b"".join(unpacked(Flow([packed]), Payload())) == CONTENT + CONTENT[:5000]


@pytest.mark.parametrize(
    "compress",
    [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress],
)
def test_a_stream_cut_short_is_damaged(compress: Callable[[bytes], bytes]) -> None:
    packed = compress(CONTENT)
    with pytest.raises(Damaged):
        list(unpacked(Flow([packed[: len(packed) // 2]]), Payload()))


@pytest.mark.parametrize("kind", ["w6.gzdio", "w6.bzdio", "w6.xzdio", "w3.zstdio", "w.ufdio"])
def test_a_damaged_payload_is_an_error_that_names_the_package(kind: str, tmp_path: Path) -> None:
    files, links = kp.debuginfo("one", kmods={"x.ko.debug": CONTENT})
    package = kp.build(kp.Recipe(files, links, payload=kind), tmp_path)
    original, intact = package.read_bytes(), read_header(package)
    start = intact.payload_offset
    chance = random.Random(3)  # noqa: S311
    failures = 0
    for _ in range(30):
        content = bytearray(original)
        for at in chance.choices(range(start, len(content)), k=4):
            content[at] ^= chance.randrange(1, 256)
        package.write_bytes(
            content[: chance.choice([len(content), chance.randrange(start, len(content))])]
        )
        try:
            members(package, intact)
        except PackageError as error:
            assert f"{package}: the payload is damaged" in str(error)
            failures += 1
    assert failures > 10


def newc(name: str, size: int, content: bytes) -> bytes:
    fields = [1, 0o100644, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return padded(padded(head) + content)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def stream(*pieces: bytes, listed: Sequence[tuple[str, int]] = ()) -> Iterator[SizedMember]:
    return cpio_members(Flow(pieces), Payload(), listed)


TRAILER = newc("TRAILER!!!", 0, b"")


def test_a_member_that_is_not_read_is_skipped() -> None:
    archive = newc("./a", 5, b"aaaaa") + newc("./b", 3, b"bbb") + TRAILER
    pieces = [archive[at : at + 7] for at in range(0, len(archive), 7)]
    found = [
        (member.path, b"".join(member.flow.rest()))
        for member in stream(*pieces)
        if member.path == "/b"
    ]
    assert found == [("/b", b"bbb")]


def test_the_stripped_format_takes_names_and_sizes_from_the_header() -> None:
    archive = (
        padded(b"07070X00000001") + padded(b"bbb") + padded(b"07070X00000000") + padded(b"aaaaaa")
    )
    members = stream(archive + TRAILER, listed=[("/a", 6), ("/b", 3)])
    found = [(member.path, b"".join(member.flow.rest())) for member in members]
    assert found == [("/b", b"bbb"), ("/a", b"aaaaaa")]


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"07070",
        b"garbage, and enough of it to be a header" * 10,
        b"070701" + b"+0000001" * 13,
        b"070701" + b"ffffffff" * 13,
        newc("./a", 0xFFFFFFFF, b"short"),
        newc("./a", 3, b"abc"),
        b"07070X00000005",
        b"07070X-0000001",
        b"07070Xffffffff",
    ],
)
def test_an_archive_that_lies_is_damaged(archive: bytes) -> None:
    with pytest.raises(Damaged):
        for member in stream(archive, listed=[("/a", 1)]):
            member.flow.drain()


def test_content_that_the_header_does_not_list_is_not_read() -> None:
    archive = newc("./a", 5, b"aaaaa") + newc("./b", 1 << 30, b"")
    with pytest.raises(Damaged, match="more content than is listed"):
        list(cpio_members(Flow([archive]), Payload(5)))


def test_memory_stays_small_whatever_the_payload_becomes(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zst"
    zeros = tmp_path / "zeros"
    with zeros.open("wb") as file:
        file.truncate(1 << 30)
    subprocess.run(["zstd", "-q", "-1", zeros, "-o", bomb], check=True)
    script = (
        "import sys; from cas.streams.flow import Flow; from cas.streams.layer import Payload\n"
        "from cas.streams.unpacked import unpacked\n"
        "pieces = iter(lambda: file.read(1 << 18), b''); file = open(sys.argv[1], 'rb')\n"
        "size = sum(map(len, unpacked(Flow(pieces), Payload())))\n"
        # not ru_maxrss, which a child inherits from the process that forked it
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(size, peak.split()[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, bomb], capture_output=True, text=True, check=True
    )
    size, peak_kib = map(int, done.stdout.split())
    assert size == 1 << 30
    assert peak_kib < 150 << 10
