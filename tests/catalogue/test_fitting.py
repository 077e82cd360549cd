"""Which kernel of the cache may have written a log, by the sizes of its functions."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path

from catalogue.kernel_packages import build_id

from cas.catalogue.cache.fitting import MOST, compare

WANTED = {"do_exit": {0x100}, "vfs_read": {0x200}, "schedule": {0x80}, "panic": {0x40}}
FITTING = {name: min(sizes) for name, sizes in WANTED.items()}


def linked(sizes: Mapping[str, int]) -> bytes:
    """An ELF file whose functions lie one behind the other."""
    names, rows, address = b"\0", bytes(24), 0x1000
    for name, size in {**sizes, "_etext": 0}.items():
        rows += struct.pack("<IBBHQQ", len(names), 2, 0, 1, address, size)
        names, address = names + name.encode() + b"\0", address + size
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, 64, 0, 64, 0, 0, 64, 3, 2
    )
    at = 64 + 3 * 64
    table = bytes(64)
    table += struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, at, len(rows), 2, 0, 8, 24)
    table += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, at + len(rows), len(names), 0, 0, 1, 0)
    return head + table + rows + names


def cached(cache: Path, name: str, sizes: Mapping[str, int]) -> Path:
    path = cache / build_id(name) / "vmlinux"
    path.parent.mkdir(parents=True)
    path.write_bytes(linked(sizes))
    return path


def without(*names: str) -> dict[str, int]:
    return {name: size for name, size in FITTING.items() if name not in names}


def test_kernels_fit_in_which_enough_functions_and_none_of_another_size_are(tmp_path: Path) -> None:
    three = cached(tmp_path, "three", without("panic"))
    four = cached(tmp_path, "four", FITTING)
    cached(tmp_path, "two", without("panic", "schedule"))
    cached(tmp_path, "other", {**FITTING, "panic": 0x48})
    found = compare(tmp_path, WANTED)
    assert [(fit.vmlinux, fit.functions) for fit in found.fits] == [(four, 4), (three, 3)]
    assert (found.compared, found.left) == (4, 0)


def test_a_file_that_is_no_kernel_or_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    four = cached(tmp_path, "four", FITTING)
    cached(tmp_path, "spoilt", FITTING).write_bytes(b"no ELF file")
    assert [fit.vmlinux for fit in compare(tmp_path, WANTED).fits] == [four]


def test_of_too_many_those_that_were_used_last_are_compared_and_the_rest_is_told(
    tmp_path: Path,
) -> None:
    for number in range(MOST + 1):
        path = cached(tmp_path, str(number), FITTING)
        for each in (path, path.parent):
            os.utime(each, (number, number))
    found = compare(tmp_path, WANTED)
    assert (found.compared, found.left) == (MOST, 1)
    assert tmp_path / build_id("0") / "vmlinux" not in {fit.vmlinux for fit in found.fits}
