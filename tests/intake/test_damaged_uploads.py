"""Intake: damaged wrappings give what can be saved, and say what is missing."""

from __future__ import annotations

import functools
import gzip
import lzma
import os
from pathlib import Path

import pytest
from packing import ALL_STREAMS, ARCHIVES, COMPRESSIONS, DUMP, names, store, tar, zip_of

from cas.errors import UnpackError

from installed import few_of

WITH_CHECKSUM = ["gzip", "xz", "lzop", "lz4", "zstd-check", "bzip2"]
SLOW = ("zip-lzma", "zip-bzip2", "lzma")
"""To pack and to unpack. What they share with others is read by the same code: they are `long`."""
NOISE = b"DUMP" + os.urandom(2 << 20)
UNCUT = ("old-lz4", "7z", "tar-sparse")
"""An old lz4 block is unpacked whole or not (8 MiB); the list of a 7z stands at its end."""
CUTS = {
    name: pack for name, pack in (COMPRESSIONS | ARCHIVES).items() if not name.startswith(UNCUT)
}


@functools.cache
def packed_noise(name: str) -> bytes:
    return ALL_STREAMS[name](NOISE)


@functools.cache
def packed_dump(name: str) -> bytes:
    return ALL_STREAMS[name](DUMP)


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", few_of(CUTS, CUTS.keys() - {*SLOW}))
def test_a_cut_wrapping_gives_what_is_there(tmp_path: Path, name: str) -> None:
    packed = packed_noise(name)
    cut = packed[: len(packed) * 3 // 4]
    stored = store(put(tmp_path / "upload", cut), tmp_path / "job")
    data = stored.vmcore.read_bytes()
    assert NOISE.startswith(data)
    assert len(data) > len(NOISE) // 4
    if name == "compress":  # the format has no end
        return
    assert stored.missing
    assert "were unpacked" in stored.missing[0].what
    assert stored.missing[0].offset is None or stored.missing[0].offset <= len(cut)


@pytest.mark.parametrize("name", ["7z", "7z-copy"])
def test_a_cut_7z_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnpackError, match="damaged"):
        store(put(tmp_path / "upload", packed_noise(name)[:-40]), tmp_path / "job")


def test_a_damaged_7z_gives_what_comes_out(tmp_path: Path) -> None:
    packed = bytearray(ARCHIVES["7z-bzip2"](NOISE))
    packed[len(packed) * 3 // 4] ^= 1
    stored = store(put(tmp_path / "upload", bytes(packed)), tmp_path / "job")
    assert stored.missing
    assert NOISE.startswith(stored.vmcore.read_bytes())


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd", "lz4", "lzop", "bzip2"])
def test_the_offset_of_a_cut_is_the_uploads_end(tmp_path: Path, name: str) -> None:
    packed = packed_noise(name)
    cut = packed[: len(packed) * 3 // 4]
    (missing,) = store(put(tmp_path / "upload", cut), tmp_path / "job").missing
    assert missing.offset == len(cut)


@pytest.mark.parametrize("name", [name for name in COMPRESSIONS if name != "compress"])
def test_a_wrapping_cut_at_its_beginning_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnpackError, match=r"cut off|damaged"):
        store(put(tmp_path / "upload", packed_noise(name)[:14]), tmp_path / "job")
    assert names(tmp_path / "job") == []


@pytest.mark.parametrize(
    "name", ["gzip", "bzip2", "xz", "zstd-check", "lz4", "lzop", "zip-deflate"]
)
@pytest.mark.parametrize("where", [0.3, 0.6, 0.9])
def test_a_flipped_bit_is_noticed(tmp_path: Path, name: str, where: float) -> None:
    packed = bytearray(packed_noise(name))
    packed[int(len(packed) * where)] ^= 0x10
    stored = store(put(tmp_path / "upload", bytes(packed)), tmp_path / "job")
    assert stored.missing


@pytest.mark.parametrize(
    "name", ["gzip", "xz", "zstd", "lz4", "lzop", "bzip2", "xz-blocks", "lzma"]
)
@pytest.mark.parametrize(
    "trailing", few_of((b"garbage", bytes(1000), b"\x1f", os.urandom(70_000)), {b"garbage"})
)
def test_bytes_behind_the_end_are_remarked_upon(tmp_path: Path, name: str, trailing: bytes) -> None:
    stored = store(put(tmp_path / "upload", packed_dump(name) + trailing), tmp_path / "job")
    assert stored.vmcore.read_bytes() == DUMP
    assert stored.missing == ()
    if not (name.startswith("xz") and not any(trailing)):  # xz allows padding
        assert f"{len(trailing)} byte" in stored.remarks[0]


def test_a_wrong_gzip_checksum_loses_no_byte(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(DUMP))
    packed[-5] ^= 1
    stored = store(put(tmp_path / "upload", bytes(packed)), tmp_path / "job")
    assert stored.vmcore.read_bytes() == DUMP
    assert "checksum" in stored.missing[0].what


def test_a_wrong_zip_checksum_loses_no_byte(tmp_path: Path) -> None:
    packed = bytearray(zip_of({"vmcore": DUMP}))
    packed[14] ^= 1
    stored = store(put(tmp_path / "upload", bytes(packed)), tmp_path / "job")
    assert stored.vmcore.read_bytes() == DUMP
    assert "checksum" in stored.missing[0].what


def test_a_checksum_around_an_archive_counts(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(tar({"vmcore": DUMP})))
    packed[-5] ^= 1
    stored = store(put(tmp_path / "upload", bytes(packed)), tmp_path / "job")
    assert stored.vmcore.read_bytes() == DUMP
    assert "checksum" in stored.missing[0].what


def test_damage_beside_the_dump_is_only_a_remark(tmp_path: Path) -> None:
    members = {"broken.txt": lzma.compress(NOISE[4:], preset=0)[:5000], "vmcore": DUMP}
    stored = store(put(tmp_path / "upload", tar(members)), tmp_path / "job")
    assert stored.vmcore.read_bytes() == DUMP
    assert stored.missing == ()
    assert "broken.txt" in stored.remarks[0]


def test_damage_is_told_once_where_it_is(tmp_path: Path) -> None:
    packed = gzip.compress(tar({"vmcore.xz": lzma.compress(NOISE, preset=0)}), 1)
    stored = store(put(tmp_path / "upload", packed[: len(packed) // 2]), tmp_path / "job")
    (missing,) = stored.missing
    assert "gzip data" in missing.what
    assert missing.offset == len(packed) // 2
