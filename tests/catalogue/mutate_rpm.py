#!/usr/bin/env python3
"""Change an RPM's header at random, and read it in both ways that CAS has.

usage: tests/catalogue/mutate_rpm.py [COUNT [SEED]]

Most of the changed headers have right digests, as a liar would give them. Whatever a header says,
reading it gives a package or a PackageError that names the file, within seconds. The first seed
with any other outcome is printed with its traceback.
"""

import random
import sys
import tempfile
from pathlib import Path

import kernel_packages as kp
import rpm_writer as rw

from cas.catalogue.packages import payload
from cas.catalogue.packages.rpm import read_rpm
from cas.errors import PackageError

LIES = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x05", b"/../", b"\0..\0")


def package() -> bytes:
    """A small one, with all that is looked for in a header."""
    tree = f"/usr/lib/debug/lib/modules/{kp.RELEASE}"
    names = [f"/usr/src/debug/file{number}.c" for number in range(100)]
    names += [f"{tree}/vmlinux", *(f"{tree}/kernel/{number}.ko.debug" for number in range(50))]
    links = kp.build_id_links(kp.build_id("one"), kp.RELEASE)
    files = [rw.link(path, target) for path, target in links.items()]
    files += [rw.entry(name, 100, "5a" * 32) for name in names]
    tags = rw.description("kernel-debuginfo", "5.14.0", "427.el9")
    return rw.package([*tags, *rw.file_list(files), *rw.constants(len(files))], b"payload")


def mutant(original: bytes, end: int, seed: int) -> bytes:
    """The file with a few places of its header changed."""
    chance = random.Random(seed)  # noqa: S311
    content = bytearray(original)
    signed = chance.random() < 0.9
    begin = rw.header_begin(original) if signed else 0
    places = chance.choice([range(begin, end), range(begin, min(begin + 600, end))])
    for at in chance.choices(places, k=chance.randint(1, 8)):
        lie = chance.choice(LIES) if chance.random() < 0.7 else chance.randbytes(1)
        content[at : at + len(lie)] = lie
    return rw.resigned(bytes(content), begin, end) if signed else bytes(content)


def try_to_read(path: Path) -> int:
    """How many of the two readers refuse the file."""
    refused = 0
    for read in (read_rpm, payload.rpm_listing):
        try:
            read(path)
        except PackageError as error:
            assert str(path) in str(error)
            refused += 1
    return refused


def main() -> None:
    count, seed = map(int, [*sys.argv[1:], *("10000", "0")[len(sys.argv) - 1 :]])
    original = package()
    end = len(original) - len(b"payload")
    refused = 0
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch, "mutant.rpm")
        for number in range(seed, seed + count):
            target.write_bytes(mutant(original, end, number))
            try:
                refused += try_to_read(target)
            except Exception:
                print(f"seed {number}", file=sys.stderr)
                raise
    print(f"{count} mutants, {refused} of {2 * count} readings refused")


if __name__ == "__main__":
    main()
