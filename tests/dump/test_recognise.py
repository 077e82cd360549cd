"""Everything that is no dump is named, with advice."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from writer import BANNER, Elf, Kdump, flattened, vmcoreinfo, written

from cas.dump import identify, is_dump, kind_of, recognise_file
from cas.errors import NotADump, UnsupportedFormat

FOREIGN = {
    b"\xed\x23\x8f\x61\x73\x01\x19\xa8": "LKCD",
    b"\xa8\x19\x01\x73\x61\x8f\x23\xfd": "s390 stand-alone",
    b"sadump\0\0": "sadump",
    b"\xd2\xbe\xd2\xbe": "VMware",
    b"\xd3\xbe\xd3\xbe": "VMware",
    b"LibvirtQemudSave": "libvirt",
    b"QEVM": "migration stream",
    b"LinuxGuestRecord": "Xen",
    b"Xen saved domain, xl format\n \0 \r": "Xen",
    b"\xff" * 8 + b"XENF": "Xen",
    b"\xed\xeb\x0f\xf0": "Xen",
    b"sadump\0\0" + bytes(144) + b"\1": "one disk of a set",
    b"sadump\0\0" + bytes(150): "one partition",
    bytes(4096) + b"sadump\0\0": "media backup",
    b"\xa8\x19\x01\x73\x61\x8f\x23\xfd" + bytes(71) + b"\3" + bytes(12) + b"\1": "volume 3",
    b"LibvirtQemudPart": "unfinished save",
    b"minidump FreeBSD/amd64": "FreeBSD",
    b"EMiL": "LiME",
    b"\x14\x20\x28\x01": "Hyper-V",
}
OTHER = {
    b"MDMP": "Windows minidump",
    b"PAGEDU64": "Windows crash dump",
    b"QFI\xfb" + bytes(59) + b"\2": "2 internal snapshots",
    b"QFI\xfb" + bytes(60): "qcow2 disk image, not",
    b"\x1f\x8b\x08": "gzip",
    b"BZh9": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x89LZO\0\r\n\x1a\n": "lzop",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"ProblemType: KernelCrash\nVmCore: base64\n": "apport",
    b"\x1f\x9d": "compress",
    b"070701": "cpio",
    bytes(257) + b"ustar": "tar",
    b"\xed\xab\xee\xdb": "RPM",
    "Grüße,\n".encode() * 99: "text",
    bytes(1000): "zeros",
    b"\x9b\xfe\x01\x02" * 9: "unknown kind",
}


@pytest.mark.parametrize(("magic", "name"), FOREIGN.items(), ids=FOREIGN.values())
def test_dump_that_nothing_here_opens_is_named(tmp_path: Path, magic: bytes, name: str) -> None:
    path = written(tmp_path, magic + bytes(5000))
    assert is_dump(magic + bytes(500))
    assert kind_of(magic + bytes(500)) == ("vmware" if name == "VMware" else "dump")
    for read in (recognise_file, identify):
        with pytest.raises(UnsupportedFormat, match=name) as caught:
            read(path)
        assert caught.value.hint


@pytest.mark.parametrize(("magic", "name"), OTHER.items(), ids=OTHER.values())
def test_file_that_is_no_dump_is_named(tmp_path: Path, magic: bytes, name: str) -> None:
    path = written(tmp_path, magic)
    assert not is_dump(magic)
    assert kind_of(magic) is None
    for read in (recognise_file, identify):
        with pytest.raises(NotADump, match=name) as caught:
            read(path)
        assert caught.value.hint


def test_empty_file_is_called_empty(tmp_path: Path) -> None:
    with pytest.raises(NotADump, match=r"vmcore is empty$"):
        identify(written(tmp_path, b""))


def test_directory_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(NotADump, match="is a directory"):
        identify(tmp_path)


def test_missing_file_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(NotADump, match="No such file"):
        identify(tmp_path / "absent")


def test_fifo_is_not_waited_for(tmp_path: Path) -> None:
    subprocess.run(["mkfifo", tmp_path / "fifo"], check=True)
    with pytest.raises(NotADump, match="not a regular file"):
        identify(tmp_path / "fifo")


def test_vmlinux_is_called_one(vmlinux: Path) -> None:
    with pytest.raises(NotADump, match="is a vmlinux, not a dump"):
        identify(vmlinux)


def test_program_is_called_one() -> None:
    with pytest.raises(NotADump, match=r"executable|shared object or program"):
        identify(Path("/bin/sh"))


@pytest.mark.parametrize("kind", [3, 6, 0x46494C45, 0x53494749])
def test_core_of_a_process_is_told_from_a_dump(tmp_path: Path, kind: int) -> None:
    path = written(tmp_path, Elf(notes=[("CORE", 1, bytes(336)), ("CORE", kind, b"x")]).build())
    with pytest.raises(NotADump, match="userland process") as caught:
        identify(path)
    assert "gdb" in caught.value.hint


@pytest.mark.parametrize(
    ("notes", "name"), [([("Xen", 2, b"x")], "Xen"), ([("CORE", 4, b"x")], "netdump")]
)
def test_elf_dump_of_another_kind_is_named(
    tmp_path: Path, notes: list[tuple[str, int, bytes]], name: str
) -> None:
    with pytest.raises(UnsupportedFormat, match=name):
        identify(written(tmp_path, Elf(notes=notes).build()))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (Elf().build(), "ELF"),
        (Kdump().build(), "KDUMP"),
        (b"DISKDUMP" + bytes(500), "KDUMP"),
        (flattened(b"x"), "flattened"),
    ],
    ids=["elf", "kdump", "diskdump", "flattened"],
)
def test_dump_is_recognised_by_its_beginning(tmp_path: Path, data: bytes, name: str) -> None:
    assert is_dump(data[:512])
    assert recognise_file(written(tmp_path, data)) == name


@pytest.mark.parametrize("machine", [(64, 136), (32, 124)])
def test_core_of_a_process_is_told_by_the_name_of_its_program(
    tmp_path: Path, machine: tuple[int, int]
) -> None:
    bits, size = machine
    info = (bytes(size - 96) + b"postgres").ljust(size, b"\0")
    path = written(tmp_path, Elf(notes=[("CORE", 3, info)], bits=bits).build())
    with pytest.raises(NotADump, match=r"a core of a userland process \(postgres\)"):
        identify(path)


@pytest.mark.parametrize(("osabi", "name"), [(9, "FreeBSD"), (255, "FreeBSD")])
def test_core_of_another_system_is_named(tmp_path: Path, osabi: int, name: str) -> None:
    data = bytearray(Elf(notes=[("", 0, b"")]).build())
    data[7] = osabi
    with pytest.raises(UnsupportedFormat, match=name):
        identify(written(tmp_path, bytes(data)))


def test_core_of_a_xen_domain_is_named_by_its_section(tmp_path: Path) -> None:
    names = b"\0.note.Xen\0.shstrtab\0"
    head = bytearray(Elf(notes=[]).build()[:64])
    struct.pack_into("<QQ", head, 32, 0, 64 + len(names))
    struct.pack_into("<HHHHH", head, 54, 0, 0, 64, 3, 2)
    rows = [(0,) * 10, (1, 7, 0, 0, 64, 0, 0, 0, 4, 0), (11, 3, 0, 0, 64, len(names), 0, 0, 1, 0)]
    table = b"".join(struct.pack("<IIQQQQIIQQ", *row) for row in rows)
    with pytest.raises(UnsupportedFormat, match="a core of a Xen domain"):
        identify(written(tmp_path, bytes(head) + names + table))


def test_raw_memory_is_told_by_vmcoreinfo_at_a_page(tmp_path: Path) -> None:
    data = b"\x9b" * 8192 + vmcoreinfo() + bytes(5000)
    with pytest.raises(UnsupportedFormat, match=r"looks like raw memory of Linux 6\.1\.0-test"):
        identify(written(tmp_path, data))


def test_file_with_a_banner_may_be_raw_memory(tmp_path: Path) -> None:
    data = b"\x9b" * 9000 + BANNER.encode() + b"\n\0"
    with pytest.raises(UnsupportedFormat, match=r"holds the banner of Linux 6\.1\.0-test"):
        identify(written(tmp_path, data))


@pytest.mark.parametrize("block", [4096, 65536])
def test_part_of_a_split_dump_is_told_by_its_beginning(block: int) -> None:
    pages = {number: bytes(block) for number in (1, 2)}
    part = Kdump(pages, split=(0, 2), block=block).build()
    assert kind_of(part[: 128 << 10]) == "part"
    assert kind_of(Kdump(pages, block=block).build()[: 128 << 10]) == "dump"


def test_vmware_snapshot_is_told_from_its_memory() -> None:
    assert kind_of(b"\xd2\xbe\xd2\xbe" + bytes(500)) == "vmware"


@pytest.mark.parametrize("head", [b"", b"K", b"KDUMP   ", b"\x7fELF", b"KDUMP   " + bytes(9000)])
def test_beginning_that_is_cut_is_no_part(head: bytes) -> None:
    assert kind_of(head) in (None, "dump")
