"""Uploads for the tests of intake: a dump in every wrapping, made by the real programs."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import lz4.block
import py7zr
import zstandard

from cas.intake import Intake, Storing
from cas.model.dump import Stored
from cas.progress import Silent
from cas.settings.rules import IntakeLimits

from installed import needs

DUMP = b"DUMP" + os.urandom(300_000) + bytes(3 << 20) + os.urandom(100_000) + b"end"
SMALL = IntakeLimits(reserve_bytes=1 << 20)
Pack = Callable[[bytes], bytes]


def kind_of(head: bytes) -> str | None:
    kinds = {b"DUMP": "dump", b"PART": "part", b"VMSS": "vmware"}
    return kinds.get(head[:4])


def intake(member: str | None = None, **limits: int) -> Intake:
    return Intake(IntakeLimits(**{"reserve_bytes": 1 << 20, **limits}), kind_of, member)


def store(path: Path | list[Path], directory: Path, how: Intake | None = None) -> Stored:
    directory.mkdir(exist_ok=True)
    paths = path if isinstance(path, list) else [path]
    with Storing(paths, directory, how or intake(), Silent()) as storing:
        return storing.settled()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def through(*argv: str) -> Pack:
    """What a program makes of its standard input."""

    def pack(data: bytes) -> bytes:
        words = [needs(argv[0]), *argv[1:]]
        return subprocess.run(words, input=data, capture_output=True, check=True).stdout

    return pack


def tar(members: Mapping[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    options = {"encoding": "utf-8", "errors": "surrogateescape"}
    with tarfile.open(fileobj=file, mode="w", format=form, **options) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def v7_tar(members: Mapping[str, bytes]) -> bytes:
    """Without the magic that POSIX brought."""
    packed = bytearray(tar(members, tarfile.USTAR_FORMAT))
    at = 0
    for data in members.values():
        packed[at + 257 : at + 345] = bytes(88)
        packed[at + 148 : at + 156] = b" " * 8
        total = sum(packed[at : at + 512])
        packed[at + 148 : at + 156] = b"%06o\0 " % total
        at += 512 + len(data) + -len(data) % 512
    return bytes(packed)


def sparse_tar(form: str) -> Pack:
    """GNU tar's own sparse files."""

    def pack(data: bytes) -> bytes:
        options = ["--sparse", f"--format={form.partition('-')[0]}"]
        if "-" in form:
            options.append(f"--sparse-version={form.partition('-')[2]}")
        return _from_file(
            data, lambda path: [needs("tar"), *options, "-cf-", "-C", path.parent, path.name]
        )

    return pack


def _from_file(data: bytes, argv: Callable[[Path], list[str | Path]]) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "vmcore"
        with path.open("wb") as file:
            for at in range(0, len(data), 4096):
                block = data[at : at + 4096]
                file.seek(len(block), 1) if not any(block) else file.write(block)
            file.truncate(len(data))
        return subprocess.run(argv(path), capture_output=True, check=True).stdout


def cpio(form: str) -> Pack:
    def pack(data: bytes) -> bytes:
        def argv(path: Path) -> list[str | Path]:
            command = f"cd {path.parent} && echo vmcore | {needs('cpio')} -o -H {form}"
            return ["sh", "-c", command]

        return _from_file(data, argv)

    return pack


def zip_(method: int = zipfile.ZIP_DEFLATED) -> Pack:
    return lambda data: zip_of({"vmcore": data}, method)


def zip_of(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def streamed_zip(data: bytes) -> bytes:
    """Sizes and checksum behind the data, as when zip writes into a pipe."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise OSError

    file = Pipe()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vmcore", data)
    return file.getvalue()


def zip64(data: bytes) -> bytes:
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("vmcore", "w", force_zip64=True) as member,
    ):
        member.write(data)
    return file.getvalue()


def with_7z(*options: str, suffix: str = "7z") -> Pack:
    def pack(data: bytes) -> bytes:
        def argv(path: Path) -> list[str | Path]:
            archive = path.with_name(f"packed.{suffix}")
            command = (
                f"{needs('7z')} a -bd {' '.join(options)} {archive} {path} >&2 && cat {archive}"
            )
            return ["sh", "-c", command]

        return _from_file(data, argv)

    return pack


def seven_zip_of(members: Mapping[str, bytes], **how: object) -> bytes:
    file = io.BytesIO()
    with py7zr.SevenZipFile(file, "w", **how) as archive:  # type: ignore[arg-type]
        for name, data in members.items():
            archive.writef(io.BytesIO(data), name)
    return file.getvalue()


def rar(data: bytes, name: str = "vmcore") -> bytes:
    """RAR 5 without compression, which no free program writes (RAR 5.0 archive format)."""
    main = _rar_block(b"\x01\x00\x00")
    encoded = name.encode()
    fields = _vint(0) + _vint(len(data)) + _vint(0o100644)
    fields += _vint(0) + _vint(1) + _vint(len(encoded)) + encoded
    file = _rar_block(b"\x02" + _vint(2) + _vint(len(data)) + fields)
    return b"Rar!\x1a\x07\x01\x00" + main + file + data + _rar_block(b"\x05\x00\x00")


def _vint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def _rar_block(body: bytes) -> bytes:
    sized = _vint(len(body)) + body
    return struct.pack("<I", zlib.crc32(sized)) + sized


def old_lz4(data: bytes) -> bytes:
    out = b"\x02\x21\x4c\x18"
    for at in range(0, len(data), 8 << 20):
        block = lz4.block.compress(data[at : at + (8 << 20)], store_size=False)
        out += len(block).to_bytes(4, "little") + block
    return out


def skippable(data: bytes) -> bytes:
    return b"\x50\x2a\x4d\x18\x05\0\0\0hello" + zstandard.compress(data)


def apport(data: bytes, *, is_one_line: bool = False, **fields: str) -> bytes:
    """A report as Ubuntu's apport writes it of a dump, with more fields of text.

    It encodes what its compressor gives for each block of 1 MiB, header and trailer for themselves.
    """
    texts = {"ProblemType": "KernelCrash", "DistroRelease": "Ubuntu 24.04", **fields}
    head = "".join(f"{key}: {_folded(value)}\n" for key, value in texts.items()).encode()
    packed = gzip.compress(data)
    if is_one_line:
        return head + b"VmCore: base64\n " + base64.b64encode(packed) + b"\n"
    pieces = [packed[:10], *(packed[at : at + 50_000] for at in range(10, len(packed), 50_000))]
    lines = b"".join(b" " + base64.b64encode(piece) + b"\n" for piece in pieces)
    return head + b"VmCore: base64\n" + lines + b"Zulu: the last field\n"


def _folded(text: str) -> str:
    return "\n" + "\n".join(f" {line}" for line in text.split("\n")) if "\n" in text else text


def halves(pack: Pack, padding: bytes = b"") -> Pack:
    """Two packed pieces, one behind the other."""

    def joined(data: bytes) -> bytes:
        middle = len(data) // 2
        return pack(data[:middle]) + padding + pack(data[middle:])

    return joined


COMPRESSIONS: dict[str, Pack] = {
    "gzip": gzip.compress,
    "bzip2": lambda data: bz2.compress(data, 1),
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstd": zstandard.compress,
    "lz4": through("lz4", "-q", "-c"),
    "old-lz4": old_lz4,
    "lzop": through("lzop", "-c"),
    "compress": through("compress", "-f", "-c"),
}
VARIANTS: dict[str, Pack] = {
    "gzip-name": lambda data: _from_file(data, lambda path: [needs("gzip"), "-c", path]),
    "gzip-members": halves(gzip.compress),
    "bzip2-streams": halves(bz2.compress),
    "xz-streams": halves(lzma.compress),
    "xz-padded-streams": halves(lzma.compress, bytes(8)),
    "xz-blocks": through("xz", "-c", "-T2", "--block-size=300KiB"),
    "xz-blocks-streams": halves(through("xz", "-c", "-T2", "--block-size=300KiB"), bytes(4)),
    "xz-x86-filter": through("xz", "-c", "--x86", "--lzma2"),
    "xz-no-check": through("xz", "-c", "-C", "none"),
    "lzma-program": through("xz", "-c", "--format=lzma"),
    "zstd-frames": halves(zstandard.compress),
    "zstd-long": through("zstd", "-q", "-c", "--long=27", "--check"),
    "zstd-skippable": skippable,
    "lz4-frames": halves(through("lz4", "-q", "-c")),
    "lz4-legacy": through("lz4", "-q", "-c", "-l"),
    "lz4-linked": through("lz4", "-q", "-c", "-BD", "-9"),
    "lzop-1": through("lzop", "-c", "-1"),
    "lzop-9": through("lzop", "-c", "-9"),
    "lzop-no-checksum": through("lzop", "-c", "-F"),
    "lzop-crc": through("lzop", "-c", "--crc32"),
    "lzop-members": halves(through("lzop", "-c")),
    "compress-12": through("compress", "-f", "-c", "-b", "12"),
}
ARCHIVES: dict[str, Pack] = {
    "tar-gnu": lambda data: tar({"vmcore": data}),
    "tar-pax": lambda data: tar({"é" * 120 + "/vmcore": data}, tarfile.PAX_FORMAT),
    "tar-ustar": lambda data: tar({"vmcore": data}, tarfile.USTAR_FORMAT),
    "tar-v7": lambda data: v7_tar({"vmcore": data}),
    "tar-long-name": lambda data: tar({"n" * 300: data}),
    "tar-sparse-gnu": sparse_tar("gnu"),
    "tar-sparse-0.0": sparse_tar("pax-0.0"),
    "tar-sparse-0.1": sparse_tar("pax-0.1"),
    "tar-sparse-1.0": sparse_tar("pax-1.0"),
    "tar-of-bsdtar": lambda data: _from_file(
        data, lambda path: [needs("bsdtar"), "-cf-", "-C", path.parent, path.name]
    ),
    "cpio-newc": cpio("newc"),
    "cpio-crc": cpio("crc"),
    "cpio-odc": cpio("odc"),
    "cpio-bin": cpio("bin"),
    "zip-stored": zip_(zipfile.ZIP_STORED),
    "zip-deflate": zip_(),
    "zip-bzip2": zip_(zipfile.ZIP_BZIP2),
    "zip-lzma": zip_(zipfile.ZIP_LZMA),
    "zip-deflate64": with_7z("-tzip", "-mm=Deflate64", suffix="zip"),
    "zip-streamed": streamed_zip,
    "zip64": zip64,
    "apport": apport,
    "apport-one-line": lambda data: apport(data, is_one_line=True),
    "7z": with_7z(),
    "7z-bzip2": with_7z("-m0=bzip2"),
    "7z-ppmd": with_7z("-m0=ppmd"),
    "7z-copy": with_7z("-mx=0"),
    "rar": lambda data: rar(data) if needs("bsdtar") else b"",
}
ALL_STREAMS = {
    **COMPRESSIONS,
    **VARIANTS,
    **ARCHIVES,
    "zstd-check": through("zstd", "-q", "-c", "--check"),
}
