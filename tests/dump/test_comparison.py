"""The same pages of the shipped dumps, read by every program that reads the format."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cramjam
import drgn
import lzallright
import pytest
import zstandard
from opening import image_of, pages_of
from writer import Kdump

from cas.dump import identify

from installed import few_of, needs

Converted = Callable[..., Path]
Made = Callable[[str, Callable[[Path], object]], Path]
FRAMES = 200
MAKEDUMPFILE = {
    "elf-d0": ("-E", "-d0"),
    "elf-d31": ("-E", "-d31"),
    "zlib-d0": ("-c", "-d0"),
    "zlib-d1": ("-c", "-d1"),
    "zlib-d31": ("-c", "-d31"),
    "lzo-d16": ("-l", "-d16"),
    "lzo-d31": ("-l", "-d31"),
    "plain-d0": ("-d0",),
    "plain-d31": ("-d31",),
    "flat-zlib-d31": ("-F", "-c", "-d31"),
    "flat-elf-d17": ("-F", "-E", "-d17"),
    "flat-lzo-d0": ("-F", "-l", "-d0"),
}
WRITER: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "lzo": (2, lambda data: bytes(lzallright.LZOCompressor().compress(data))),
    "snappy": (4, lambda data: bytes(cramjam.snappy.compress_raw(data))),
    "zstd": (0x20, lambda data: zstandard.ZstdCompressor().compress(data)),
}
OFTEN = {"elf-d31", "zlib-d31", "lzo-d31", "plain-d31", "flat-zlib-d31", "flat-elf-d17", *WRITER}
"""Each format and each compression; other levels of what is left out only now and then."""
CRASH_WORDS = re.compile(r"^ *[0-9a-f]+: +([0-9a-f]{16})(?: +([0-9a-f]{16}))?", re.MULTILINE)


@pytest.fixture(scope="session")
def shaped(vmcore: Path, made: Made) -> Callable[[str], Path]:
    """The shipped dump in any of `MAKEDUMPFILE` and `WRITER`, by name."""

    def by_makedumpfile(path: Path, options: tuple[str, ...]) -> None:
        argv: list[str | Path] = [needs("makedumpfile"), *options, vmcore]
        with path.open("wb") as file:
            target = file if "-F" in options else None
            argv += [] if target else [path]
            path.unlink() if target is None else None
            subprocess.run(argv, stdout=target or subprocess.DEVNULL, check=True)

    def by_writer(path: Path, name: str) -> None:
        flag, compress = WRITER[name]
        dump = identify(vmcore)
        info = "".join(f"{key}={value}\n" for key, value in dump.vmcoreinfo.items()).encode()
        kdump = Kdump(held(vmcore), info, compress, flag, flag, release=str(dump.osrelease))
        path.write_bytes(kdump.build())

    def shape(name: str) -> Path:
        if name in WRITER:
            return made(f"shaped-{name}", lambda path: by_writer(path, name))
        return made(f"shaped-{name}", lambda path: by_makedumpfile(path, MAKEDUMPFILE[name]))

    return shape


held = lru_cache(pages_of)


def frames(path: Path, seed: str) -> list[int]:
    """Some page frames that the dump holds, and that are not zeros."""
    return sorted(random.Random(seed).sample(sorted(held(path)), FRAMES))  # noqa: S311


@pytest.mark.parametrize("name", few_of((*MAKEDUMPFILE, *WRITER), OFTEN))
def test_drgn_reads_the_same_pages(shaped: Callable[[str], Path], name: str) -> None:
    path = shaped(name)
    program = drgn.Program()
    program.set_core_dump(path)
    with image_of(path) as image:
        for frame in frames(path, name):
            ours = image.memory.read(4096 * frame, 4096)
            assert ours == program.read(4096 * frame, 4096, physical=True), hex(frame)


@pytest.mark.parametrize("name", [*MAKEDUMPFILE, *WRITER])
def test_every_shape_has_the_same_pages_and_is_whole(
    shaped: Callable[[str], Path], vmcore: Path, name: str
) -> None:
    path = shaped(name)
    # -E keeps short runs of pages that -d would exclude
    assert held(path).items() <= held(vmcore).items()
    dump, shipped = identify(path), identify(vmcore)
    assert (dump.missing, dump.remarks) == ((), ())
    assert (dump.dmesg, dump.banner, dump.build_id) == (
        shipped.dmesg,
        shipped.banner,
        shipped.build_id,
    )


@pytest.mark.parametrize("name", ["elf-d31", "zlib-d31", "lzo-d31", "zlib-d0", "plain-d31"])
def test_crash_tells_the_same_release(shaped: Callable[[str], Path], name: str) -> None:
    path = shaped(name)
    done = subprocess.run(
        [needs("crash"), "--osrelease", path], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == identify(path).osrelease


@pytest.mark.parametrize("name", few_of(("elf-d31", "lzo-d31"), {"lzo-d31"}))
def test_crash_reads_the_same_words(
    shaped: Callable[[str], Path], vmlinux: Path, name: str, tmp_path: Path
) -> None:
    path = shaped(name)
    chosen = frames(path, name)[::10]
    commands = "".join(f"rd -p -64 {4096 * frame:x} 512\n" for frame in chosen) + "exit\n"
    done = subprocess.run(
        [needs("crash"), "--minimal", "--no_crashrc", "-s", vmlinux, path],
        input=commands,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    words = [word for pair in CRASH_WORDS.findall(done.stdout) for word in pair if word]
    with image_of(path) as image:
        memory = b"".join(image.memory.read(4096 * frame, 4096) for frame in chosen)
    assert b"".join(int(word, 16).to_bytes(8, "little") for word in words) == memory


@pytest.mark.parametrize("name", ["elf-d0", "zlib-d31", "lzo-d16"])
def test_makedumpfile_reads_the_same_log(
    shaped: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    path = shaped(name)
    log = tmp_path / "log"
    argv = [needs("makedumpfile"), "--dump-dmesg", path, log]
    subprocess.run(argv, check=True, capture_output=True)
    ours = str(identify(path).dmesg)
    theirs = log.read_text()
    assert [_text(line) for line in ours.splitlines()] == [
        _text(line) for line in theirs.splitlines()
    ]


def _text(line: str) -> str:
    """A line without its stamp: makedumpfile stamps only the first line of a record, and since
    1.7.6 adds who printed it."""
    return re.sub(r"^\[ *\d+\.\d{6}\] (?:\[ *[TC]\d+\] )?", "", line).strip()
