"""The shipped dumps in every format of makedumpfile, against what other programs say about them."""

from __future__ import annotations

import json
import lzma
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import drgn
import pytest
from drgn.helpers.linux.printk import get_dmesg
from writer import Elf, Kdump, vmcoreinfo, written

from cas import elf
from cas.dump import identify, recognise_file
from cas.model.dump import Dump

from installed import needs

Converted = Callable[..., Path]

FIXTURES = Path(__file__).parents[1] / "kernels" / "fixtures"
SHIPPED = [
    entry
    for entry in json.loads((FIXTURES / "fixtures.json").read_text())
    if entry["kind"] == "vmcore"
]
STAMP = re.compile(r"\[ *\d+\.\d{6}\] (?:\[ *[TC]\d+\] )?")
"""makedumpfile 1.7.6 adds who printed a line."""
FORMATS = {
    ("-c", "-d31"): ("KDUMP", "zlib", 31),
    ("-l", "-d31"): ("KDUMP", "lzo", 31),
    ("-d17",): ("KDUMP", None, 17),
    ("-c", "-d0"): ("KDUMP", "zlib", 0),
}


def test_shipped_dump_tells_its_identity(vmcore: Path, vmlinux: Path) -> None:
    dump = identify(vmcore)
    assert (dump.format, dump.arch, dump.is_whole) == ("ELF", "x86_64", True)
    assert (dump.build_id, dump.banner) == (elf.build_id(vmlinux), elf.linux_banner(vmlinux))
    assert dump.banner is not None
    assert dump.osrelease == dump.banner.split()[2]
    assert dump.panic_message == "BUG: kernel NULL pointer dereference, address: 0000000000000018"
    assert dump.remarks == ()


@pytest.mark.parametrize("entry", SHIPPED, ids=[entry["file"] for entry in SHIPPED])
def test_every_shipped_dump_tells_what_its_maker_noted(
    entry: dict[str, str], tmp_path: Path
) -> None:
    data = (FIXTURES / entry["file"]).read_bytes()
    path = written(tmp_path, lzma.decompress(data) if entry["file"].endswith(".xz") else data)
    dump = identify(path)
    facts = ("osrelease", "build_id", "arch", "banner")
    assert {fact: getattr(dump, fact) for fact in facts} == {fact: entry[fact] for fact in facts}
    assert (dump.is_whole, dump.remarks) == (True, ())
    assert dump.dmesg is not None
    assert str(dump.banner) in dump.dmesg.splitlines()[0] + dump.dmesg.splitlines()[1]
    assert dump.panic_message


def test_dmesg_is_what_makedumpfile_prints(vmcore: Path, converted: Converted) -> None:
    assert _texts(identify(vmcore).dmesg) == _texts(converted("--dump-dmesg").read_text())


def test_dmesg_is_what_drgn_prints(vmcore: Path, vmlinux: Path) -> None:
    kernel = drgn.Program()
    kernel.set_core_dump(vmcore)
    kernel.load_debug_info([vmlinux])
    assert _texts(identify(vmcore).dmesg) == _texts(get_dmesg(kernel).decode())


@pytest.mark.parametrize(("options", "facts"), FORMATS.items())
def test_every_kdump_tells_the_same(
    vmcore: Path,
    converted: Converted,
    options: tuple[str, ...],
    facts: tuple[str, str | None, int],
) -> None:
    dump = identify(converted(*options))
    assert (dump.format, dump.compression, dump.dump_level) == facts
    assert _words(dump) == _words(identify(vmcore))
    assert (dump.is_whole, dump.remarks) == (True, ())


@pytest.mark.parametrize(("option", "format"), [("-c", "flattened KDUMP"), ("-E", "flattened ELF")])
def test_flattened_dump_tells_the_same(
    vmcore: Path, tmp_path: Path, option: str, format: str
) -> None:
    path = tmp_path / "vmcore.flat"
    with path.open("wb") as file:
        argv = [needs("makedumpfile"), "-F", option, "-d31", vmcore]
        subprocess.run(argv, stdout=file, stderr=subprocess.DEVNULL, check=True)
    dump = identify(path)
    assert (dump.format, dump.is_whole, recognise_file(path)) == (format, True, "flattened")
    assert _words(dump) == _words(identify(vmcore))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("options", [None, ("-c", "-d31"), ("-l", "-d31")])
def test_cut_dump_is_never_called_whole(
    vmcore: Path,
    converted: Converted,
    tmp_path: Path,
    share: float,
    options: tuple[str, ...] | None,
) -> None:
    data = (converted(*options) if options else vmcore).read_bytes()
    path = written(tmp_path, data[: int(len(data) * share)])
    dump = identify(path)
    assert (dump.is_whole, dump.missing[0].offset) == (False, path.stat().st_size)
    assert "data ends at" in dump.missing[0].what


@pytest.mark.parametrize(
    "data", [Elf({0: bytes(4096)}).build(), Kdump(info=vmcoreinfo()).build()], ids=["elf", "kdump"]
)
def test_crash_reads_the_same_release(tmp_path: Path, data: bytes) -> None:
    path = written(tmp_path, data)
    argv = [needs("crash"), "--osrelease", path]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert said.strip() == identify(path).osrelease


def test_every_line_of_a_record_has_its_stamp(vmcore: Path) -> None:
    lines = (identify(vmcore).dmesg or "").splitlines()
    assert lines
    assert all(STAMP.match(line) for line in lines)


def _texts(dmesg: str | None) -> list[str]:
    """Lines without stamps: programs differ in how they begin the further lines of a record."""
    return [STAMP.sub("", line).lstrip() for line in (dmesg or "").splitlines()]


def _words(dump: Dump) -> tuple[str | None, ...]:
    return dump.dmesg, dump.banner, dump.build_id, dump.osrelease, dump.panic_message
