"""Dumps that nothing is wrong with: whatever is called damaged here is a false alarm.

Real ones come from the shipped fixtures through makedumpfile, at the levels and in the formats it
has; it leaves out what an earlier filter left out already. Debian's makedumpfile takes ``-p`` and
``-z`` and compresses nothing: snappy and zstd pages are those of the synthetic dumps.
"""

from __future__ import annotations

import lzma
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from dump.writer import Elf, Kdump, flattened, info_note, vmcoreinfo
from fuzz.seeds import COMPRESSORS, FIXTURES, INFO, MEMORY, SEEDS, contents, kdump, pages

from cas.dump import identify, reassemble
from cas.errors import CasError

from installed import needs

LEVELS = (0, 1, 2, 3, 4, 8, 16, 17, 21, 30, 31)
FORMATS = ("-c", "-l", "-E", "")
_BOTH = (("x86_64", "<", 62), ("aarch64", "<", 183), ("riscv64", "<", 243), ("ppc64le", "<", 21))
_MORE = (("s390x", ">", 22), ("ppc64", ">", 21), ("loongarch64", "<", 258), ("ia64", "<", 50))
_SMALL = (("i686", "<", 3), ("armv7l", "<", 40))


def alarms(path: Path) -> list[str]:
    """What is said to be wrong with a dump that is whole."""
    try:
        dump = identify(path)
    except CasError as error:
        return [f"{error} at {error.offset}"]
    return [f"{lost.what} at {lost.offset}" for lost in dump.missing]


def synthetic() -> Iterator[tuple[str, bytes]]:
    """Dumps of every architecture, format, version and compression, by name."""
    for name, seed in SEEDS.items():
        if not (seed.is_part or seed.is_large):
            yield name, seed.data
    yield from _architectures()
    for version, (packing, size) in product(range(1, 7), product(COMPRESSORS, (4096, 65536))):
        what = f"kdump-v{version}-{packing}-{size}"
        yield what, kdump(MEMORY, INFO, packing, version=version, block=size).build()
    data = kdump(*contents("arm64"), "zstd", machine="aarch64").build()
    for step, shuffle in product((512, 4096, 1 << 16), (None, 1)):
        yield f"flat-{step}-{shuffle}", flattened(data, step, seed=shuffle)


def _architectures() -> Iterator[tuple[str, bytes]]:
    memory = {0x1000: b"Linux" * 100, 0x100000: MEMORY[0x100000]}
    for bits, table in ((64, (*_BOTH, *_MORE)), (32, _SMALL)):
        for arch, order, number in table:
            small = Elf(memory, [info_note()], order, bits, number)
            yield f"elf-{arch}", small.build()
            yield f"elf-empty-{arch}", replace(small, memory={}).build()
            yield f"elf-many-{arch}", replace(small, many=True).build()
            packed = Kdump(pages(memory), vmcoreinfo(), machine=arch, bits=bits, order=order)
            yield f"kdump-{arch}", packed.build()
            yield f"flat-{arch}", flattened(packed.build(), 700, seed=number)


def sources(directory: Path) -> Iterator[Path]:
    """The shipped dumps, unpacked: as QEMU and makedumpfile wrote them."""
    for path in sorted(FIXTURES.glob("*/vmcore.*")):
        data = path.read_bytes()
        target = directory / f"{path.parent.name}-{path.stem}"
        target.write_bytes(lzma.decompress(data) if path.suffix == ".xz" else data)
        yield target


def converted(source: Path, target: Path, levels: Sequence[int] = LEVELS) -> Iterator[str]:
    """One x86_64 dump in all formats and levels: each in `target` in turn, and its name."""
    makedumpfile = needs("makedumpfile")
    is_elf = source.read_bytes()[:4] == b"\x7fELF"  # makedumpfile -E reads no KDUMP
    formats = FORMATS if is_elf else [form for form in FORMATS if form != "-E"]
    for form, level, flat in product(formats, levels, ("", "-F")):
        options = [option for option in (flat, form, f"-d{level}") if option]
        target.unlink(missing_ok=True)
        if flat:
            with target.open("wb") as file:
                _run([makedumpfile, *options, source], stdout=file)
        else:
            _run([makedumpfile, *options, source, target])
        yield " ".join(options)


def rejoined(source: Path, directory: Path) -> Iterator[tuple[str, Path]]:
    """Split sets put together again: by makedumpfile, and by our own reader in the wrong order."""
    makedumpfile = needs("makedumpfile")
    for form, count in product(("-c", "-l", ""), (2, 3, 5)):
        parts = [directory / f"part{number}" for number in range(count)]
        options = [option for option in (form, "--split", "-d31") if option]
        _run([makedumpfile, *options, source, *parts])
        theirs, ours = directory / "theirs", directory / "ours"
        _run([makedumpfile, "--reassemble", *parts, theirs])
        yield f"{form} in {count} parts, joined by makedumpfile", theirs
        lost = reassemble(parts[::-1], ours)
        if lost:
            raise AssertionError(f"{form} in {count} parts: {lost}")
        yield f"{form} in {count} parts, joined by cas", ours
        for path in (*parts, theirs, ours):
            path.unlink()


def everything(
    scratch: Path, files: Sequence[Path], convert: Sequence[Path]
) -> Iterator[tuple[str, list[str]]]:
    """Every dump that is whole, with what is said against it.

    :param files: more dumps, looked at as they are
    :param convert: more x86_64 dumps for makedumpfile
    """
    target = scratch / "target"
    for name, data in synthetic():
        target.write_bytes(data)
        yield name, alarms(target)
    shipped = list(sources(scratch))
    for path in (*shipped, *files):
        yield path.name, alarms(path)
    for path in (*(path for path in shipped if "arm64" not in path.name), *convert):
        for name in converted(path, target):
            yield f"{path.name} by makedumpfile {name}", alarms(target)
        for name, joined in rejoined(path, scratch):
            yield f"{path.name} split with {name}", alarms(joined)


def _run(argv: list[str | Path], **how: object) -> None:
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **how}
    done = subprocess.run(argv, check=False, **streams)
    if done.returncode:
        raise RuntimeError(f"{argv}: {done.stderr.decode(errors='replace')}")
