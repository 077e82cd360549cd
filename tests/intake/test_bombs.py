"""Intake: small uploads that become large ones end at the budget, in little memory."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import multiprocessing
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ready_commands
import zstandard
from packing import names, seven_zip_of, tar, zip_of
from store_once import tell

from installed import few_of

BUDGET = 8 << 20
OVERRUN = 64 << 20
PEAK = 400 << 20
ADDRESS_SPACE = 3 << 30
ZEROS = 80 << 20


def repeated(compressor: Any, total: int = ZEROS) -> bytes:
    """A dump of zeros, packed without holding it."""
    packed = [compressor.compress(b"DUMP")]
    packed += [compressor.compress(bytes(1 << 20)) for _ in range(total >> 20)]
    return b"".join((*packed, compressor.flush()))


def gzip_of_zeros() -> bytes:
    return repeated(zlib.compressobj(9, zlib.DEFLATED, 31))


def twice() -> bytes:
    return gzip.compress(gzip_of_zeros())


def members_of_a_tar() -> bytes:
    return gzip.compress(tar({f"{number}.bin": bytes(1 << 20) for number in range(20)}), 1)


def sparse_tar_of_terabytes() -> bytes:
    info = tarfile.TarInfo("vmcore")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    record = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    record[386:410] = b"%011o\0%011o\0" % (0, 512)
    record[483:495] = b"\x80\0\0\0" + (1 << 44).to_bytes(8, "big")
    record[148:156] = b" " * 8
    record[148:156] = b"%06o\0 " % sum(record)
    return bytes(record) + b"DUMP".ljust(512, b"\0") + bytes(1024)


def zip_of_zeros(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, archive.open("vmcore", "w") as member:
        member.write(b"DUMP")
        for _ in range(80):
            member.write(bytes(1 << 20))
    return file.getvalue()


def overlapping_zip() -> bytes:
    """One packed file, and a directory that names it many times."""
    good = zip_of({"vmcore": b"DUMP" + bytes(4 << 20)})
    at, end = good.index(b"PK\x01\x02"), good.index(b"PK\x05\x06")
    entries = good[at:end] * 1000
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1000, 1000, len(entries), at, 0)
    return good[:at] + entries + tail


def many_members(pack: Callable[..., bytes]) -> bytes:
    return pack({f"{number}": b"" if pack is tar else b"x" for number in range(10_500)})


def million_in_the_directory() -> bytes:
    good = zip_of({"notes": b"x"})
    at, end = good.index(b"PK\x01\x02"), good.index(b"PK\x05\x06")
    return good[:at] + good[at:end] * 1_000_000 + good[end:]


def gzip_quine() -> bytes:
    """So deep that it might as well hold itself."""
    data = b"DUMP"
    for _ in range(40):
        data = gzip.compress(data)
    return data


def zip_nest() -> bytes:
    data = zip_of({"vmcore": b"DUMP"})
    for _ in range(40):
        data = zip_of({"next.zip": data}, zipfile.ZIP_STORED)
    return data


def pax_of_gigabytes() -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = b"x", 1 << 32
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20))


def wide_xz() -> bytes:
    """A dictionary of 1.5 GiB."""
    packed = bytearray(lzma.compress(b"DUMP" + os.urandom(1000)))
    header = bytearray(packed[12:24])
    header[4] = 39
    packed[12:24] = header[:8] + zlib.crc32(header[:8]).to_bytes(4, "little")
    return bytes(packed)


def wide_zstd() -> bytes:
    """A window of 2 GiB."""
    return b"\x28\xb5\x2f\xfd\x00\xa8" + struct.pack("<I", 1 << 3 | 1)[:3] + b"D"


def long_cpio_name() -> bytes:
    header = b"070701" + b"%08X" % 0 * 11 + b"%08X" % 0xFFFFFFF0 + b"%08X" % 0
    return gzip.compress(header + bytes(64 << 20))


def seven_zip_of_many() -> bytes:
    return seven_zip_of({"vmcore": b"DUMP" + bytes(16 << 20)})


def sidecars() -> bytes:
    return gzip.compress(tar({f"{number}.log": bytes(1 << 20) for number in range(20)}), 1)


BOMBS: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "gzip": (gzip_of_zeros, "unpackLimit"),
    "gzip twice": (twice, "unpackLimit"),
    "bzip2": (lambda: repeated(bz2.BZ2Compressor()), "unpackLimit"),
    "xz": (lambda: repeated(lzma.LZMACompressor(preset=0)), "unpackLimit"),
    "xz of 4 MiB blocks": (lambda: lzma.compress(b"DUMP" + bytes(4 << 20)) * 20, "unpackLimit"),
    "zstd": (lambda: repeated(zstandard.ZstdCompressor().compressobj()), "unpackLimit"),
    "gzip of members": (lambda: gzip.compress(b"DUMP" + bytes(1 << 20)) * 80, "unpackLimit"),
    "tar of files": (members_of_a_tar, "unpackLimit"),
    "sparse tar": (sparse_tar_of_terabytes, "unpackLimit"),
    "zip deflate": (lambda: zip_of_zeros(zipfile.ZIP_DEFLATED), "unpackLimit"),
    "zip bzip2": (lambda: zip_of_zeros(zipfile.ZIP_BZIP2), "unpackLimit"),
    "zip lzma": (lambda: zip_of_zeros(zipfile.ZIP_LZMA), "unpackLimit"),
    "7z": (seven_zip_of_many, "unpackLimit"),
    "sidecar files": (sidecars, "unpackLimit"),
    "many in a tar": (lambda: many_members(tar), "memberLimit"),
    "many in a zip": (lambda: many_members(zip_of), "memberLimit"),
    "gzip in gzip": (gzip_quine, "depthLimit"),
    "zip in zip": (zip_nest, "depthLimit"),
    "zip that overlaps": (overlapping_zip, None),
    "zip directory of a million": (million_in_the_directory, None),
    "pax header of 4 GiB": (pax_of_gigabytes, None),
    "xz dictionary": (wide_xz, None),
    "zstd window": (wide_zstd, None),
    "cpio name": (long_cpio_name, None),
}


SLOW = ("zip lzma", "zip bzip2", "xz", "gzip twice", "bzip2")
"""What stops them is in the default run too, with another compression: they are `long`."""


@pytest.mark.parametrize("name", few_of(BOMBS, BOMBS.keys() - {*SLOW}))
def test_a_bomb_ends_at_its_limit(tmp_path: Path, name: str) -> None:
    make, limit = BOMBS[name]
    upload, job = tmp_path / "upload", tmp_path / "job"
    upload.write_bytes(make())
    job.mkdir()
    ended = stored_in_a_fork(upload, job)
    assert ended["peak"] <= PEAK
    if limit:
        assert (ended["error"], ended["limit"]) == ("LimitExceeded", limit)
    if ended["error"]:
        assert ended["unpacked"] <= BUDGET + OVERRUN
        assert names(job) == []
    else:
        assert ended["size"] <= BUDGET


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(gzip.compress, marks=pytest.mark.long, id="gzip"),
        pytest.param(zstandard.compress, id="zstd"),
    ],
)
def test_an_honest_dump_of_zeros_passes_in_little_memory(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    """A slice of ``bench/unpack.py --zeros 64``."""
    upload, job = tmp_path / "upload", tmp_path / "job"
    upload.write_bytes(pack(b"DUMP") + pack(bytes(64 << 20)) * 16)
    job.mkdir()
    ended = stored_by_a_program(upload, job, 1 << 40)
    assert (ended["error"], ended["size"], ended["missing"]) == (None, (1 << 30) + 4, 0)
    assert ended["peak"] <= 150 << 20


def stored_in_a_fork(upload: Path, job: Path) -> dict[str, Any]:
    """The peak begins with the memory of the process that is forked, some 100 MiB."""
    told, telling = multiprocessing.Pipe(duplex=False)
    with told:
        with telling:
            process = ready_commands.fork(tell, telling, upload, job, BUDGET, ADDRESS_SPACE)
        ended: dict[str, Any] = told.recv()
    process.join()
    return ended


def stored_by_a_program(upload: Path, job: Path, budget: int) -> dict[str, Any]:
    script = Path(__file__).with_name("store_once.py")
    words = [sys.executable, script, upload, job, str(budget)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    ended: dict[str, Any] = json.loads(done.stdout)
    return ended
