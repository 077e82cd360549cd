"""Intake: a dump in every wrapping, and wrappings in one another, give the same bytes."""

from __future__ import annotations

import bz2
import functools
import gzip
import itertools
import os
from pathlib import Path

import pytest
from packing import (
    ARCHIVES,
    COMPRESSIONS,
    VARIANTS,
    names,
    rar,
    seven_zip_of,
    store,
    tar,
    zip_of,
)

from cas.errors import NotADump, UnsupportedFormat

from installed import few_of

ALL = COMPRESSIONS | VARIANTS | ARCHIVES
DUMP = b"DUMP" + os.urandom(50_000) + bytes(3 << 20) + os.urandom(10_000) + b"end"
SHORT = DUMP[:40_000]
_FAST = ["gzip", "xz", "zstd", "lz4", "lzop", "bzip2", "tar-gnu", "zip-deflate", "cpio-newc"]
FAST = {name: ALL[name] for name in _FAST}
NAMES = [
    b"a name with blanks",
    b'it\'s "quoted"',
    b"new\nline",
    b"invalid \xff utf-8",
    b"--checkpoint-action=exec=sh",
    b"-f",
    b"../../../../etc/vmcore",
    b"/etc/vmcore",
    b"C:\\vmcore",
    b"\x1b]0;title\x07",
]
IN_SEVEN_ZIPS = (b"new\nline", b"invalid \xff utf-8", b"../../../../etc/vmcore")
"""Each takes a program of its own, which reads all in the same way: the others are `long`."""
SEVEN_ZIPS = ("7z-ppmd", "7z-bzip2", "7z-copy")
"""How that program has packed makes no difference to us."""


@functools.cache
def packed(name: str, data: bytes) -> bytes:
    return ALL[name](data)


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", few_of(ALL, [name for name in ALL if name not in SEVEN_ZIPS]))
def test_every_wrapping_gives_the_dump(tmp_path: Path, name: str) -> None:
    stored = store(put(tmp_path / "upload", ALL[name](DUMP)), tmp_path / "job")
    assert stored.vmcore.read_bytes() == DUMP
    assert (stored.missing, stored.remarks) == ((), ())
    assert names(tmp_path / "job") == ["vmcore"]
    assert names(tmp_path / "job" / "vmcore") == [stored.vmcore.name]


@pytest.mark.parametrize(("outer", "inner"), list(itertools.product(FAST, FAST)))
def test_wrappings_nest_in_any_order(tmp_path: Path, outer: str, inner: str) -> None:
    upload = put(tmp_path / "upload", FAST[outer](packed(inner, SHORT)))
    stored = store(upload, tmp_path / "job")
    assert stored.vmcore.read_bytes() == SHORT
    assert stored.missing == ()


@pytest.mark.parametrize(
    "names",
    [
        ("7z", "gzip"),
        ("gzip", "7z"),
        ("rar", "tar-gnu"),
        ("xz", "rar"),
        ("zip-deflate", "7z", "tar-sparse-1.0"),
        ("gzip",) * 12,
        ("tar-gnu", "zip-deflate", "cpio-odc", "tar-pax", "zstd", "lzop", "bzip2", "xz"),
        ("zip-deflate64", "tar-v7", "lz4"),
        ("apport", "gzip"),
        ("xz", "tar-gnu", "apport", "lzop"),
        ("7z", "apport-one-line", "apport"),
    ],
    ids="-in-".join,
)
def test_deeper_nestings(tmp_path: Path, names: tuple[str, ...]) -> None:
    data = SHORT
    for name in names:
        data = ALL[name](data)
    assert store(put(tmp_path / "upload", data), tmp_path / "job").vmcore.read_bytes() == SHORT


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(
            kind,
            name,
            marks=[pytest.mark.long] if kind == "7z" and name not in IN_SEVEN_ZIPS else [],
            id=f"{kind}-{name!r}",
        )
        for kind in ("tar", "zip", "7z")
        for name in NAMES
    ],
)
def test_names_in_archives_are_not_obeyed(tmp_path: Path, name: bytes, kind: str) -> None:
    pack = {"tar": tar, "zip": zip_of, "7z": seven_zip_of}[kind]
    text = os.fsdecode(name)
    if kind != "tar":
        text = name.decode("utf-8", "replace")
    if kind == "7z":
        text = text.removeprefix("/").replace("../", "")  # py7zr packs no others
    stored = store(put(tmp_path / "upload", pack({text: SHORT})), tmp_path / "job")
    assert stored.vmcore.parent == tmp_path / "job" / "vmcore"
    assert stored.vmcore.name in ("vmcore", "upload")
    assert stored.vmcore.read_bytes() == SHORT
    assert names(tmp_path) == ["job", "upload"]


@pytest.mark.parametrize("name", [name for name in NAMES if b"/" not in name], ids=repr)
def test_names_of_uploads_do_not_matter(tmp_path: Path, name: bytes) -> None:
    seven_zip = [seven_zip_of_one] if name in IN_SEVEN_ZIPS else []
    for number, pack in enumerate((gzip.compress, bz2.compress, ALL["xz-blocks"], *seven_zip)):
        upload = put(tmp_path / os.fsdecode(name), pack(SHORT))
        stored = store(upload, tmp_path / str(number))
        assert stored.vmcore.read_bytes() == SHORT


def seven_zip_of_one(data: bytes) -> bytes:
    return seven_zip_of({"vmcore": data})


@pytest.mark.parametrize("kind", ["zip", "7z", "7z-names"])
def test_encryption_is_said(tmp_path: Path, kind: str) -> None:
    if kind == "zip":
        data = bytearray(zip_of({"vmcore": SHORT}))
        data[6] |= 1
    else:
        how = {"password": "x", "header_encryption": kind == "7z-names"}
        data = bytearray(seven_zip_of({"vmcore": SHORT}, **how))
    with pytest.raises(UnsupportedFormat, match="is encrypted"):
        store(put(tmp_path / "upload", bytes(data)), tmp_path / "job")


def test_a_dump_beside_an_encrypted_file_is_taken(tmp_path: Path) -> None:
    data = bytearray(zip_of({"secret": b"x" * 10, "vmcore": SHORT}))
    data[6] |= 1
    stored = store(put(tmp_path / "upload", bytes(data)), tmp_path / "job")
    assert stored.vmcore.read_bytes() == SHORT
    assert "secret" in stored.remarks[0]


def test_rar_without_a_tool_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnsupportedFormat, match="libarchive-tools"):
        store(put(tmp_path / "upload", rar(SHORT)), tmp_path / "job")


@pytest.mark.parametrize("name", ["bzip2", "compress", "xz-blocks"])
def test_a_wheel_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    upload = put(tmp_path / "upload", ALL[name](DUMP))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert store(upload, tmp_path / "job").vmcore.read_bytes() == DUMP


def test_a_broken_quick_program_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = put(tmp_path / "upload", bz2.compress(DUMP))
    program = put(tmp_path / "lbzip2", b"#!/bin/sh\nprintf DUMP\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert store(upload, tmp_path / "job").vmcore.read_bytes() == DUMP


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd"])
def test_zeros_become_holes(tmp_path: Path, name: str) -> None:
    data = b"DUMP" + bytes(16 << 20)
    stored = store(put(tmp_path / "upload", ALL[name](data)), tmp_path / "job")
    assert stored.vmcore.stat().st_size == len(data)
    assert stored.vmcore.stat().st_blocks * 512 < 1 << 20


def test_what_is_packed_alone_is_stored_whatever_it_is(tmp_path: Path) -> None:
    upload = put(tmp_path / "upload", gzip.compress(b"\xd0\xbe\xd0\xbe something else"))
    assert store(upload, tmp_path / "job").vmcore.read_bytes().startswith(b"\xd0\xbe")


def test_an_archive_without_a_dump_names_what_is_in_it(tmp_path: Path) -> None:
    upload = put(tmp_path / "upload", tar({"readme": b"text", "\x1b[31m": b"more"}))
    with pytest.raises(NotADump, match=r"no kernel dump; in it: readme, \\x1b\[31m"):
        store(upload, tmp_path / "job")
    assert names(tmp_path / "job") == []
