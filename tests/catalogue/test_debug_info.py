"""Whether a file has the debug information that a debugger needs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import kernel_packages as kp
import pytest

from cas.catalogue.packages.debug_info import flaw
from cas.errors import NotADump

from installed import needs

WHOLE = kp.vmlinux("one")
DAMAGED = "has debug information that is damaged"
UNIT = b"\x09\0\0\0\x05\0\x01\x08"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (WHOLE, None),
        (WHOLE[:-1], "is cut short"),
        (WHOLE[: len(WHOLE) // 2].ljust(len(WHOLE), b"\0"), "has no debug information"),
        (kp.elf(kp.build_id("one"), kp.banner()), "has no debug information"),
        (WHOLE.replace(UNIT, bytes(8)), DAMAGED),
        (WHOLE.replace(UNIT, b"\x0a" + UNIT[1:]), DAMAGED),
        (WHOLE.replace(UNIT, UNIT[:4] + b"\x06" + UNIT[5:]), DAMAGED),
    ],
)
def test_what_a_debugger_cannot_use_is_seen(
    tmp_path: Path, content: bytes, expected: str | None
) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(content)
    assert flaw(path) == expected


def test_a_kernel_of_which_a_part_is_zeros_is_no_good(vmlinux_b: Path, tmp_path: Path) -> None:
    assert flaw(vmlinux_b) is None
    path = tmp_path / "vmlinux"
    data = bytearray(vmlinux_b.read_bytes())
    begin, end = len(data) // 2, len(data) // 2 + (4 << 20)
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    assert flaw(path) == DAMAGED
    subprocess.run([needs("strip"), "-g", "-o", path, vmlinux_b], check=True)
    assert flaw(path) == "has no debug information"


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "vmlinux")
    with pytest.raises(NotADump, match="no regular file"):
        flaw(tmp_path / "vmlinux")
