"""Intake: any usual wrapping, by content, into one vmcore; the upload is only read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from cas.errors import CasError, NotADump, UnpackError, UnsupportedFormat
from cas.intake import Storing
from cas.progress import Silent

DUMP = b"DUMP" + os.urandom(70_000) + bytes(3 << 20) + b"end"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd.compress,
}


def is_dump(head: bytes) -> bool:
    return head.startswith(b"DUMP")


def store(path: Path, directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    with Storing(path, directory, is_dump, Silent()) as storing:
        return storing.settled()


def tar(**members: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


@pytest.fixture
def upload(tmp_path: Path) -> Callable[[bytes, str], Path]:
    def write(data: bytes, name: str = "upload") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return tmp_path / "job"


@pytest.mark.parametrize("outer", [*PACKERS, None])
@pytest.mark.parametrize("inner", [*PACKERS, None])
def test_every_nesting_of_compressions_gives_the_dump(
    upload: Callable[..., Path], job: Path, inner: str | None, outer: str | None
) -> None:
    data = PACKERS[inner](DUMP) if inner else DUMP
    path = upload(PACKERS[outer](data) if outer else data)
    assert store(path, job).read_bytes() == DUMP


@pytest.mark.parametrize("kind", PACKERS)
def test_a_tar_in_any_compression_gives_the_dump(
    upload: Callable[..., Path], job: Path, kind: str
) -> None:
    data = tar(**{"var/crash/vmcore": DUMP, "var/crash/README": b"no"})
    assert store(upload(PACKERS[kind](data)), job).read_bytes() == DUMP


def test_the_upload_keeps_its_bytes_and_time(upload: Callable[..., Path], job: Path) -> None:
    path = upload(DUMP)
    os.utime(path, (1, 2))
    vmcore = store(path, job)
    assert (path.read_bytes(), path.stat().st_mtime) == (DUMP, 2)
    vmcore.write_bytes(b"changed")
    assert path.read_bytes() == DUMP


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("vmcore.12345", "vmcore.12345"),
        ("vmcore 'x'\n", "vmcore"),
        ("crash", "vmcore"),
        ("report.txt", "vmcore"),
        (os.fsdecode(b"vm\xff"), "vmcore"),
    ],
)
def test_the_copy_has_a_name_of_our_choice(
    upload: Callable[..., Path], job: Path, name: str, stored: str
) -> None:
    assert store(upload(DUMP, name), job).name == stored


def test_the_name_of_a_packed_dump_loses_its_suffixes(
    upload: Callable[..., Path], job: Path
) -> None:
    assert store(upload(gzip.compress(DUMP), "vmcore.1.tar.gz"), job).name == "vmcore.1"


@pytest.mark.parametrize("kind", [*PACKERS, None])
def test_zeros_become_holes(upload: Callable[..., Path], job: Path, kind: str | None) -> None:
    data = b"DUMP" + bytes(64 << 20)
    path = upload(b"")
    if kind:
        path.write_bytes(PACKERS[kind](data))
    else:
        with path.open("wb") as file:
            file.write(b"DUMP")
            file.truncate(len(data))
    vmcore = store(path, job)
    assert vmcore.stat().st_size == len(data)
    assert vmcore.stat().st_blocks * 512 < 4 << 20


@pytest.mark.parametrize("kind", PACKERS)
def test_a_cut_stream_is_an_error_and_leaves_nothing(
    upload: Callable[..., Path], job: Path, kind: str
) -> None:
    packed = PACKERS[kind](DUMP)
    with pytest.raises(UnpackError, match="damaged"):
        store(upload(packed[: len(packed) // 2]), job)
    assert list(job.iterdir()) == []


def test_trailing_garbage_does_not_hide_what_came_before(
    upload: Callable[..., Path], job: Path
) -> None:
    with pytest.raises(UnpackError, match="damaged"):
        store(upload(gzip.compress(DUMP) + b"garbage"), job)


def test_two_dumps_in_an_archive_are_told(upload: Callable[..., Path], job: Path) -> None:
    with pytest.raises(NotADump, match="2 kernel dumps: a, b"):
        store(upload(tar(a=DUMP, b=DUMP)), job)


def test_an_archive_without_a_dump_is_told(upload: Callable[..., Path], job: Path) -> None:
    with pytest.raises(NotADump, match="no kernel dump"):
        store(upload(tar(a=b"text")), job)


def test_sidecars_are_kept_under_safe_names(upload: Callable[..., Path], job: Path) -> None:
    data = tar(**{"../../vmcore-dmesg.txt": b"log", "vmcore": DUMP})
    store(upload(data), job)
    (sidecar,) = (job / "sidecars").iterdir()
    assert sidecar.read_bytes() == b"log"


@pytest.mark.parametrize("magic", [b"\x04\x22\x4d\x18", b"PK\x03\x04", b"7z\xbc\xaf\x27\x1c"])
def test_other_wrappings_are_recognised_by_name(
    upload: Callable[..., Path], job: Path, magic: bytes
) -> None:
    job.mkdir()
    path = upload(gzip.compress(magic + bytes(600)))
    with pytest.raises(UnsupportedFormat, match="does not unpack yet"):
        store(path, job)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.touch(), "is empty"),
    ],
)
def test_an_upload_that_is_no_file_is_told(
    tmp_path: Path, job: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "upload"
    make(path)
    with pytest.raises(CasError, match=reason):
        store(path, job)
