"""Dumps that are read before their wrapping is undone."""

from __future__ import annotations

import io
import lzma
import os
import zipfile
from collections.abc import Callable

import pytest
from packing import kind_of, tar, v7_tar, zip_, zip_of

from cas.dump.source import Bytes
from cas.intake.inside import dump_inside
from cas.streams.random_access import Readable

DUMP = b"DUMP" + os.urandom(30_000) + bytes(range(256)) * 2000
TEXT = b"[    0.000000] Linux version 6.1.0\n" * 20


def inside(upload: bytes) -> Readable | None:
    return dump_inside(Bytes(upload), kind_of, io.BytesIO, 1 << 30)


def in_blocks(data: bytes) -> bytes:
    return lzma.compress(data[:7000]) + lzma.compress(data[7000:])


def zipped_with_64_bits(data: bytes) -> bytes:
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
        archive.open(zipfile.ZipInfo("vmcore"), "w", force_zip64=True) as member,
    ):
        member.write(data)
    return file.getvalue()


@pytest.mark.parametrize(
    "pack",
    [
        in_blocks,
        lambda data: in_blocks(tar({"crash/dmesg.txt": TEXT, "crash/vmcore": data})),
        lambda data: tar({"vmcore.xz": in_blocks(data), "vmcore-dmesg.txt": TEXT}),
        lambda data: v7_tar({"vmcore": data}),
        zip_(zipfile.ZIP_STORED),
        zipped_with_64_bits,
        lambda data: zip_of({"a.txt": TEXT, "vmcore.xz": in_blocks(data)}, zipfile.ZIP_STORED),
        lambda data: in_blocks(in_blocks(data)),
    ],
    ids=["xz", "tar.xz", "xz in tar", "v7 tar", "zip", "zip64", "xz in zip", "xz twice"],
)
def test_a_dump_is_read_at_any_place_of_its_wrapping(pack: Callable[[bytes], bytes]) -> None:
    dump = inside(pack(DUMP))
    assert dump
    assert dump.size == len(DUMP)
    assert dump.read(400_000, 300) == DUMP[400_000:400_300]
    assert dump.read(0, 10) == DUMP[:10]


@pytest.mark.parametrize(
    "upload",
    [
        lzma.compress(DUMP),
        zip_of({"vmcore": DUMP}),
        tar({"a/vmcore": DUMP, "b/vmcore": DUMP}),
        tar({"vmcore": DUMP, "more.tar.xz": in_blocks(DUMP)}),
        tar({"vmcore": DUMP, "vmcore2.gz": b"\x1f\x8b\x08" + bytes(600)}),
        tar({"readme.txt": TEXT}),
        tar({}),
        in_blocks(TEXT * 400),
        b"",
    ],
    ids=[
        "one block",
        "deflated",
        "two dumps",
        "packed beside",
        "unknown beside",
        "no dump",
        "empty",
        "text",
        "nothing",
    ],
)
def test_what_is_not_certain_waits_until_it_is_unpacked(upload: bytes) -> None:
    assert inside(upload) is None
