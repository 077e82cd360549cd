"""Sizes that headers claim: no debugger is given a dump that would make it take all memory."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from writer import identified, written

from cas import elf
from cas.choices import Cause
from cas.dump import identify, require_modest
from cas.dump.claims import Overclaimed

from installed import FIXTURES, Site

GIB = 1 << 30
KDUMP = (FIXTURES / "b" / "vmcore.kdump").read_bytes()
SUB_HEADER = struct.Struct("<qiiQQQQQQQQQQQ")
BLOCK = 4096
ENDS = {"VMCOREINFO": 5, "notes": 7, "erase info": 9}
"""Where in the sub-header the offset stands; the size follows."""


def kdump_claiming(what: str, size: int) -> bytes:
    data, fields = bytearray(KDUMP), list(SUB_HEADER.unpack_from(KDUMP, BLOCK))
    fields[ENDS[what] + 1] = size
    SUB_HEADER.pack_into(data, BLOCK, *fields)
    return bytes(data)


def kdump_with_bitmaps(blocks: int) -> bytes:
    data = bytearray(KDUMP)
    struct.pack_into("<I", data, 436, blocks)
    return bytes(data)


def elf_claiming(core: bytes, size: int) -> bytes:
    """An ELF core whose notes are at the end of the file, of any size."""
    data, read = bytearray(core), elf.reader(core)
    header = elf.header(read)
    for number, segment in enumerate(elf.segments(read, header)):
        if segment.type == elf.PT_NOTE:
            row = header.phoff + number * header.phentsize
            struct.pack_into("<Q", data, row + 8, len(core))
            struct.pack_into("<QQ", data, row + 32, size, size)
            return bytes(data) + core[segment.offset : segment.offset + segment.filesz]
    raise AssertionError


@pytest.mark.parametrize("what", ENDS)
def test_a_kdump_that_claims_gigabytes_is_damaged(tmp_path: Path, what: str) -> None:
    dump = identified(tmp_path, kdump_claiming(what, 8 * GIB))
    (claim,) = [lack for lack in dump.missing if lack.cause is Cause.CLAIM]
    assert claim.what == f"claims 8.0 GiB of {what}, and no kernel has more than 32.0 MiB"
    with pytest.raises(
        Overclaimed, match=f"no debugger is given this dump: it claims 8.0 GiB of {what}"
    ):
        require_modest(dump)


def test_so_is_one_with_bitmaps_for_more_pages_than_any_machine_has(tmp_path: Path) -> None:
    dump = identified(tmp_path, kdump_with_bitmaps(1 + (4 * GIB) // BLOCK))
    assert Cause.CLAIM in {lack.cause for lack in dump.missing}


def test_so_is_an_elf_core(tmp_path: Path, vmcore: Path) -> None:
    dump = identified(tmp_path, elf_claiming(vmcore.read_bytes(), 8 * GIB))
    assert dump.missing[0].what.startswith("claims 8.0 GiB of notes")
    assert dump.osrelease == "6.1.192-1.cas1.x86_64"


def test_so_is_an_elf_core_with_more_headers_than_memory(tmp_path: Path, vmcore: Path) -> None:
    core = bytearray(vmcore.read_bytes())
    struct.pack_into("<Q", core, 40, len(core))
    struct.pack_into("<HHH", core, 56, 0xFFFF, 64, 1)
    dump = identified(
        tmp_path, bytes(core) + bytes(44) + struct.pack("<I", 200_000_000) + bytes(16)
    )
    with pytest.raises(Overclaimed, match="200000000 program headers"):
        require_modest(dump)


@pytest.mark.parametrize(
    "make", [lambda: KDUMP, lambda: kdump_claiming("notes", 30 << 20)], ids=["usual", "many CPUs"]
)
def test_what_a_large_machine_has_is_no_claim(tmp_path: Path, make: Callable[[], bytes]) -> None:
    require_modest(identify(written(tmp_path, make())))


def test_such_a_dump_is_read_without_a_debugger(site_a: Site, tmp_path: Path, vmcore: Path) -> None:
    upload = written(tmp_path, elf_claiming(vmcore.read_bytes(), GIB // 4))
    with upload.open("r+b") as file:
        file.truncate(vmcore.stat().st_size + GIB // 4)
    done = site_a.cas("-i", "T-1", "-f", upload)
    assert done.returncode == 4, done.stderr
    assert "no debugger is given this dump: it claims 256.0 MiB of notes" in done.stderr
    result = site_a.result("T-1")
    assert (result["verdict"], result["engine"], result["stage"]) == (
        "failed",
        "salvage",
        "identified",
    )
    assert (
        (site_a.job("T-1") / "log").read_text().startswith("[    0.000000] Linux version 6.1.192")
    )
    assert result["missing"][0]["cause"] == "claim"
    again = site_a.cas("debug", "T-1", "--engine", "drgn", "-c", "sys")
    assert again.returncode == 4
    assert "no debugger is given this dump" in again.stderr
